using System.Buffers.Binary;
using EdgeMesh.Dns.Messages;

namespace EdgeMesh.Tunnel.Discovery;

/// <summary>
/// Reads what <see cref="DnsMessage"/> writes, where it lies and without an allocation: anybody on the LAN can send any number
/// of messages. Names are followed through their compression. Whatever exceeds a bound makes the rest of the message unreadable.
/// </summary>
internal ref struct DnsMessageReader
{
    private const int MaxRecords = 64;

    private readonly ReadOnlySpan<byte> _bytes;
    private readonly ReadOnlySpan<byte> _service;
    private RecordReader _records;
    private ReadOnlySpan<byte> _strings;
    private int _textsLeft = MaxRecords;

    private DnsMessageReader(ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> service, RecordReader records, bool isResponse, bool isAsked)
    {
        _bytes = bytes;
        _service = service;
        _records = records;
        IsResponse = isResponse;
        IsAsked = isAsked;
    }

    internal bool IsResponse { get; }

    /// <summary>Whether PTR (or anything) of the service is asked for.</summary>
    internal bool IsAsked { get; }

    /// <summary>A record could not be read: what follows it is lost.</summary>
    internal bool IsMalformed { get; private set; }

    /// <param name="service">A whole name, as <see cref="WireName.FromText"/> makes it.</param>
    /// <returns>False: it is malformed, or beyond its bounds.</returns>
    internal static bool TryOpen(ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> service, out DnsMessageReader message)
    {
        message = default;
        if (bytes.Length > DnsMessage.MaxLength || !DnsHeader.TryRead(bytes, out var header))
            return false;
        // No other operation than a query, and nothing cut short.
        if (header.Opcode != 0 || header.IsTruncated || header.Questions > MaxRecords || header.Answers + header.Authorities + header.Additionals > MaxRecords)
            return false;

        Span<byte> name = stackalloc byte[DnsLimits.MaxName];
        var isAsked = false;
        var at = DnsLimits.HeaderSize;
        for (var i = 0; i < header.Questions; i++)
        {
            if (!WireName.TryRead(bytes, ref at, name, out var length) || bytes.Length - at < 4)
                return false;
            isAsked |= (RecordType)BinaryPrimitives.ReadUInt16BigEndian(bytes[at..]) is RecordType.Ptr or RecordType.Any
                && WireName.EqualsIgnoringCase(name[..length], service);
            at += 4;
        }

        if (!RecordReader.TryOpen(bytes, out var records))
            return false;
        message = new DnsMessageReader(bytes, service, records, header.IsResponse, isAsked);
        return true;
    }

    /// <summary>The next string of a TXT record of the service or of a name below it.</summary>
    internal bool TryNextText(out ReadOnlySpan<byte> text)
    {
        text = default;
        while (_strings.IsEmpty)
        {
            if (!_records.TryNext())
            {
                IsMalformed |= _records.IsMalformed;
                return false;
            }

            var record = _records.Current;
            if (record.Type == RecordType.Txt && IsOfService(record.Start))
                _strings = record.Data;
        }

        var length = _strings[0];
        if (_strings.Length - 1 < length || _textsLeft-- == 0)
        {
            _strings = default;
            _records = default;
            IsMalformed = true;
            return false;
        }

        text = _strings.Slice(1, length);
        _strings = _strings[(1 + length)..];
        return true;
    }

    private readonly bool IsOfService(int at)
    {
        Span<byte> name = stackalloc byte[DnsLimits.MaxName];
        return WireName.TryRead(_bytes, ref at, name, out var length) && WireName.IsWithin(name[..length], _service);
    }
}
