using System.Buffers.Binary;
using EdgeMesh.Dns.Messages;

namespace EdgeMesh.Dns.Caching;

/// <summary>An upstream's answer as it is kept: its message without OPT, and where what changes from answer to answer stands in it.</summary>
public sealed class CachedAnswer
{
    /// <summary>What an object of this class, its arrays and its place in the table cost beside the bytes that they hold.</summary>
    internal const int Overhead = 208;

    private readonly byte[] _message;
    private readonly ushort[] _timesToLive;
    private readonly int _questionLength;
    private readonly AddressRun _run;

    private CachedAnswer(byte[] message, int questionLength, ushort[] timesToLive, AddressRun run, long now, long lifetime)
    {
        _message = message;
        _questionLength = questionLength;
        _timesToLive = timesToLive;
        _run = run;
        StoredAt = now;
        ExpiresAt = now + lifetime;
    }

    /// <summary>Name, type and class that were asked, in the case of who asked first.</summary>
    public ReadOnlySpan<byte> Question => _message.AsSpan(DnsLimits.HeaderSize, _questionLength);

    /// <summary>The whole message, with id 0.</summary>
    public ReadOnlySpan<byte> Message => _message;

    public ResponseCode Code => (ResponseCode)(_message[3] & DnsHeader.CodeMask);

    /// <summary>The name itself does not exist, whatever type is asked: no alias led elsewhere first.</summary>
    public bool DeniesName => Code == ResponseCode.NameError && AnswerCount == 0;

    public int AnswerCount => BinaryPrimitives.ReadUInt16BigEndian(_message.AsSpan(6));

    /// <summary>Milliseconds on the clock of the caller.</summary>
    public long StoredAt { get; }

    public long ExpiresAt { get; }

    /// <summary>Bytes of memory.</summary>
    internal int Cost => Overhead + _message.Length + (_timesToLive.Length * sizeof(ushort));

    internal int Hits { get; set; }

    /// <summary>Upstream did not answer lately: until then nobody waits for it, and this is served although it is stale.</summary>
    internal long RetryAt { get; set; }

    // Of the table that it is in; see AnswerCache.
    internal ulong Hash { get; set; }

    internal byte Variant { get; set; }

    internal bool KeyedByName { get; set; }

    internal CachedAnswer? Next { get; set; }

    internal CachedAnswer? Newer { get; set; }

    internal CachedAnswer? Older { get; set; }

    /// <summary>Reads an answer; null when it is malformed.</summary>
    /// <param name="message">Has one question.</param>
    /// <returns>With a lifetime of 0 what may be told to those who wait for it, and to nobody later.</returns>
    public static CachedAnswer? From(ReadOnlySpan<byte> message, AnswerCacheOptions options, long now)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (!DnsHeader.TryRead(message, out var header) || header.Questions != 1 || !RecordReader.TryOpen(message, out var records))
            return null;
        var questionLength = records.Position - DnsLimits.HeaderSize;
        // The echo of the question is written over this one, so it must be whole.
        if (WireName.Length(message[DnsLimits.HeaderSize..]) + 4 != questionLength)
            return null;
        var end = records.Position;
        Span<ushort> counts = stackalloc ushort[3];
        var places = new List<ushort>(header.Answers + header.Authorities);
        var lifetime = long.MaxValue;
        long? negative = null;
        var run = default(AddressRun);
        while (records.TryNext())
        {
            var record = records.Current;
            // Nothing but additional records can follow OPT, and these are optional.
            if (record.Type == RecordType.Opt)
                break;
            counts[(int)record.Section]++;
            places.Add((ushort)record.TimeToLiveAt);
            end = record.End;
            lifetime = Math.Min(lifetime, record.TimeToLive);
            if (record is { Section: Section.Authority, Type: RecordType.Soa } && record.DataLength >= 22)
                negative = Math.Min(record.TimeToLive, BinaryPrimitives.ReadUInt32BigEndian(record.Data[^4..]));
            run.Add(record);
        }

        if (records.IsMalformed)
            return null;
        var kept = message[..end].ToArray();
        var flags = (ushort)(header.Flags & (DnsHeader.CodeMask | DnsHeader.AuthenticData));
        new DnsHeader(0, flags, 1, counts[0], counts[1], counts[2]).Write(kept);
        var isNegative = header.Code == ResponseCode.NameError || counts[0] == 0;
        var seconds = header.Code is not (ResponseCode.NoError or ResponseCode.NameError) ? options.Failure
            // RFC 2308, 5: without SOA it is not kept.
            : isNegative ? Math.Min(negative ?? 0, options.MaxNegative)
            : Math.Min(lifetime, options.MaxPositive);
        foreach (var place in places)
        {
            var field = kept.AsSpan(place);
            var value = BinaryPrimitives.ReadUInt32BigEndian(field);
            BinaryPrimitives.WriteUInt32BigEndian(field, value > int.MaxValue ? 0 : (uint)Math.Min(value, isNegative ? seconds : options.MaxPositive));
        }

        return new CachedAnswer(kept, questionLength, [.. places], run, now, seconds * 1000);
    }

    /// <summary>That no upstream could say (RFC 9520).</summary>
    public static CachedAnswer Failed(ReadOnlySpan<byte> question, AnswerCacheOptions options, long now)
    {
        ArgumentNullException.ThrowIfNull(options);
        var message = new byte[DnsLimits.HeaderSize + question.Length];
        new DnsHeader(0, (ushort)ResponseCode.ServerFailure, 1, 0, 0, 0).Write(message);
        question.CopyTo(message.AsSpan(DnsLimits.HeaderSize));
        return new CachedAnswer(message, question.Length, [], default, now, options.Failure * 1000L);
    }

    /// <summary>Answers a request with what is kept; allocates nothing.</summary>
    /// <param name="buffer">As long as the answer may be.</param>
    /// <param name="staleSeconds">The time to live of what is stale (RFC 8767, 4).</param>
    /// <param name="turn">Moves on from answer to answer, so that each address is first once.</param>
    /// <returns>The length of the answer.</returns>
    public int Write(in DnsQuery query, Span<byte> buffer, long now, int staleSeconds, uint turn)
    {
        var room = buffer.Length - (query.HasEdns ? DnsLimits.OptSize : 0);
        var isWhole = _message.Length <= room;
        var length = isWhole ? _message.Length : DnsLimits.HeaderSize + _questionLength;
        _message.AsSpan(0, length).CopyTo(buffer);
        query.Question.CopyTo(buffer[DnsLimits.HeaderSize..]);
        var flags = BinaryPrimitives.ReadUInt16BigEndian(_message.AsSpan(2));
        // RFC 6840, 5.7: only who asks for it is told that the data are authentic.
        if (!query.DnssecOk && (query.Flags & DnsHeader.AuthenticData) == 0)
            flags = (ushort)(flags & ~DnsHeader.AuthenticData);
        if (!isWhole)
            flags |= DnsHeader.TruncatedFlag;
        BinaryPrimitives.WriteUInt16BigEndian(buffer, query.Id);
        BinaryPrimitives.WriteUInt16BigEndian(buffer[2..], MessageWriter.FlagsFor(query, flags));
        if (isWhole)
        {
            _run.Rotate(_message, buffer, turn);
            Age(buffer, now, staleSeconds);
        }
        else
        {
            buffer.Slice(6, 6).Clear();
        }

        return query.HasEdns ? AppendOpt(buffer, length, query.DnssecOk) : length;
    }

    /// <summary>What is left of a record's time to live, in seconds.</summary>
    public uint Remaining(uint timeToLive, long now, int staleSeconds)
    {
        // What ends at once is told with the time that it has, to those who waited for it.
        if (now >= ExpiresAt && ExpiresAt > StoredAt)
            return (uint)staleSeconds;
        var passed = (now - StoredAt) / 1000;
        return timeToLive > passed ? (uint)(timeToLive - passed) : 0;
    }

    private static int AppendOpt(Span<byte> buffer, int length, bool dnssecOk)
    {
        var opt = buffer.Slice(length, DnsLimits.OptSize);
        opt.Clear();
        BinaryPrimitives.WriteUInt16BigEndian(opt[1..], (ushort)RecordType.Opt);
        BinaryPrimitives.WriteUInt16BigEndian(opt[3..], DnsLimits.LargestUdp);
        opt[7] = (byte)(dnssecOk ? 0x80 : 0);
        var additionals = BinaryPrimitives.ReadUInt16BigEndian(buffer[10..]);
        BinaryPrimitives.WriteUInt16BigEndian(buffer[10..], (ushort)(additionals + 1));
        return length + DnsLimits.OptSize;
    }

    private void Age(Span<byte> buffer, long now, int staleSeconds)
    {
        foreach (var place in _timesToLive)
            BinaryPrimitives.WriteUInt32BigEndian(buffer[place..], Remaining(BinaryPrimitives.ReadUInt32BigEndian(buffer[place..]), now, staleSeconds));
    }

    /// <summary>Address records of one owner, one behind the other and equally long: they may change places as bytes.</summary>
    private struct AddressRun
    {
        private const int AddressRecord = 2 + 10;

        private int _start;
        private int _stride;
        private int _count;
        private bool _isOver;

        public void Add(in DnsRecord record)
        {
            var isAddress = record.Section == Section.Answer && record.Type is RecordType.A or RecordType.Aaaa && record.DataAt - record.Start == AddressRecord;
            if (_count == 0)
            {
                if (isAddress)
                    (_start, _stride, _count) = (record.Start, record.End - record.Start, 1);
            }
            else if (!_isOver && isAddress && record.End - record.Start == _stride && record.Message.Slice(record.Start, 4).SequenceEqual(record.Message.Slice(_start, 4)))
            {
                _count++;
            }
            else
            {
                _isOver = true;
            }
        }

        public readonly void Rotate(ReadOnlySpan<byte> message, Span<byte> buffer, uint turn)
        {
            if (_count < 2)
                return;
            var first = (int)(turn % (uint)_count) * _stride;
            var run = message.Slice(_start, _stride * _count);
            run[first..].CopyTo(buffer[_start..]);
            run[..first].CopyTo(buffer[(_start + run.Length - first)..]);
        }
    }
}
