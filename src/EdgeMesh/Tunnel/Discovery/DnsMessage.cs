using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text;
using EdgeMesh.Dns.Messages;

namespace EdgeMesh.Tunnel.Discovery;

/// <summary>
/// The little of DNS that libp2p's mDNS needs: questions for PTR, answers PTR and TXT. Names are read with their compression and
/// written without. Whatever exceeds a bound makes the whole message unreadable.
/// </summary>
internal sealed record DnsMessage
{
    /// <summary>As much as fits a frame of Ethernet jumbo size (RFC 6762, 17).</summary>
    internal const int MaxLength = 9000;

    private const int MaxRecords = 64;
    private const int MaxText = 255;
    private const ushort AuthoritativeAnswer = DnsHeader.ResponseFlag | DnsHeader.AuthoritativeFlag;
    private const uint TimeToLive = 120;

    internal bool IsResponse { get; init; }

    /// <summary>Names for which PTR (or anything) is asked.</summary>
    internal ImmutableArray<string> Questions { get; init; } = [];

    internal ImmutableArray<(string Name, string Target)> Pointers { get; init; } = [];

    /// <summary>One entry per string of a TXT record.</summary>
    internal ImmutableArray<(string Name, string Text)> Texts { get; init; } = [];

    /// <summary>The message in bytes. Strings of one name share a TXT record. What does not fit is left out.</summary>
    internal byte[] Encode()
    {
        var buffer = new byte[MaxLength];
        var writer = new MessageWriter(buffer);
        writer.Begin(0, IsResponse ? AuthoritativeAnswer : (ushort)0);
        foreach (var question in Questions)
            writer.WriteQuestion([.. Name(question), 0, (byte)RecordType.Ptr, 0, (byte)DnsLimits.ClassInternet]);
        foreach (var (name, target) in Pointers)
        {
            writer.BeginRecord(Name(name), RecordType.Ptr, TimeToLive);
            writer.PutData(Name(target));
            _ = writer.EndRecord(Section.Answer);
        }

        foreach (var text in Texts.GroupBy(t => t.Name, StringComparer.Ordinal))
        {
            writer.BeginRecord(Name(text.Key), RecordType.Txt, TimeToLive);
            foreach (var (_, value) in text)
            {
                var bytes = Encoding.ASCII.GetBytes(value, 0, Math.Min(value.Length, MaxText));
                writer.PutByte((byte)bytes.Length);
                writer.PutData(bytes);
            }

            _ = writer.EndRecord(Section.Additional);
        }

        return buffer[..writer.Finish()];
    }

    /// <summary>Reads a message; null if it is malformed or beyond its bounds.</summary>
    internal static DnsMessage? Decode(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > MaxLength || !DnsHeader.TryRead(bytes, out var header))
            return null;
        // No other operation than a query, and nothing cut short.
        if (header.Opcode != 0 || header.IsTruncated || header.Questions > MaxRecords || header.Answers + header.Authorities + header.Additionals > MaxRecords)
            return null;

        var questions = ImmutableArray.CreateBuilder<string>();
        var pointers = ImmutableArray.CreateBuilder<(string, string)>();
        var texts = ImmutableArray.CreateBuilder<(string, string)>();
        var at = DnsLimits.HeaderSize;
        for (var i = 0; i < header.Questions; i++)
        {
            if (!TryName(bytes, ref at, out var name) || bytes.Length - at < 4)
                return null;
            if ((RecordType)BinaryPrimitives.ReadUInt16BigEndian(bytes[at..]) is RecordType.Ptr or RecordType.Any)
                questions.Add(name);
            at += 4;
        }

        if (!RecordReader.TryOpen(bytes, out var records))
            return null;
        while (records.TryNext())
        {
            var record = records.Current;
            var owner = record.Start;
            if (!TryName(bytes, ref owner, out var name))
                return null;
            if (record.Type == RecordType.Ptr)
            {
                var target = record.DataAt;
                if (!TryName(bytes, ref target, out var pointed) || target != record.End)
                    return null;
                pointers.Add((name, pointed));
            }
            else if (record.Type == RecordType.Txt && !TryTexts(record.Data, name, texts))
            {
                return null;
            }
        }

        return records.IsMalformed ? null : new DnsMessage
        {
            IsResponse = header.IsResponse,
            Questions = questions.ToImmutable(),
            Pointers = pointers.ToImmutable(),
            Texts = texts.ToImmutable(),
        };
    }

    private static bool TryTexts(ReadOnlySpan<byte> data, string name, ImmutableArray<(string, string)>.Builder texts)
    {
        while (!data.IsEmpty)
        {
            var length = data[0];
            if (data.Length - 1 < length || texts.Count == MaxRecords)
                return false;
            texts.Add((name, Encoding.ASCII.GetString(data.Slice(1, length))));
            data = data[(1 + length)..];
        }

        return true;
    }

    /// <summary>Reads a name, without its last dot; <paramref name="at"/> is then behind it, or behind the pointer that it ends in.</summary>
    private static bool TryName(ReadOnlySpan<byte> bytes, ref int at, out string name)
    {
        Span<byte> whole = stackalloc byte[DnsLimits.MaxName];
        var isRead = WireName.TryRead(bytes, ref at, whole, out var length);
        name = isRead ? WireName.ToText(whole[..length])[..^1] : "";
        return isRead;
    }

    private static byte[] Name(string text) => WireName.FromText(text) ?? throw new ArgumentException($"\"{text}\" is no name.", nameof(text));
}
