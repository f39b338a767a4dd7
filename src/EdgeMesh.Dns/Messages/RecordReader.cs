using System.Buffers.Binary;

namespace EdgeMesh.Dns.Messages;

public enum Section
{
    Answer,
    Authority,
    Additional,
}

/// <summary>One record where it stands in its message.</summary>
public readonly ref struct DnsRecord
{
    /// <summary>The whole message: owner and data may point into it.</summary>
    public required ReadOnlySpan<byte> Message { get; init; }

    /// <summary>Where the owner's name begins.</summary>
    public required int Start { get; init; }

    /// <summary>Where the four bytes of the time to live are.</summary>
    public required int TimeToLiveAt { get; init; }

    public required Section Section { get; init; }

    public required RecordType Type { get; init; }

    public required ushort Class { get; init; }

    public required int DataAt { get; init; }

    public required int DataLength { get; init; }

    public int End => DataAt + DataLength;

    public ReadOnlySpan<byte> Data => Message.Slice(DataAt, DataLength);

    /// <summary>In seconds; one with the highest bit set counts as 0 (RFC 2181, 8).</summary>
    public uint TimeToLive
    {
        get
        {
            var value = BinaryPrimitives.ReadUInt32BigEndian(Message[TimeToLiveAt..]);
            return value > int.MaxValue ? 0 : value;
        }
    }
}

/// <summary>Walks the records of a message in order.</summary>
public ref struct RecordReader
{
    private readonly ReadOnlySpan<byte> _message;
    private int _at;
    private int _answers;
    private int _authorities;
    private int _additionals;

    private RecordReader(ReadOnlySpan<byte> message, int at, DnsHeader header)
    {
        _message = message;
        _at = at;
        (_answers, _authorities, _additionals) = (header.Answers, header.Authorities, header.Additionals);
    }

    /// <summary>What was read last; valid after <see cref="TryNext"/>.</summary>
    public DnsRecord Current { get; private set; }

    /// <summary>A record could not be read: what follows it is lost.</summary>
    public bool IsMalformed { get; private set; }

    /// <summary>How many bytes of the message have been read.</summary>
    public readonly int Position => _at;

    /// <summary>Steps over the questions.</summary>
    public static bool TryOpen(ReadOnlySpan<byte> message, out RecordReader reader)
    {
        reader = default;
        if (!DnsHeader.TryRead(message, out var header))
            return false;
        var at = DnsLimits.HeaderSize;
        for (var i = 0; i < header.Questions; i++)
        {
            if (!WireName.TrySkip(message, ref at) || message.Length - at < 4)
                return false;
            at += 4;
        }

        reader = new RecordReader(message, at, header);
        return true;
    }

    /// <returns>False at the end, and at a record that cannot be read.</returns>
    public bool TryNext()
    {
        Section section;
        if (_answers > 0)
        {
            _answers--;
            section = Section.Answer;
        }
        else if (_authorities > 0)
        {
            _authorities--;
            section = Section.Authority;
        }
        else if (_additionals > 0)
        {
            _additionals--;
            section = Section.Additional;
        }
        else
        {
            return false;
        }

        var start = _at;
        if (!WireName.TrySkip(_message, ref _at) || _message.Length - _at < 10)
            return Fail();
        var length = BinaryPrimitives.ReadUInt16BigEndian(_message[(_at + 8)..]);
        if (_message.Length - _at - 10 < length)
            return Fail();
        Current = new DnsRecord
        {
            Message = _message,
            Start = start,
            Section = section,
            Type = (RecordType)BinaryPrimitives.ReadUInt16BigEndian(_message[_at..]),
            Class = BinaryPrimitives.ReadUInt16BigEndian(_message[(_at + 2)..]),
            TimeToLiveAt = _at + 4,
            DataAt = _at + 10,
            DataLength = length,
        };
        _at += 10 + length;
        return true;
    }

    private bool Fail()
    {
        (_answers, _authorities, _additionals) = (0, 0, 0);
        IsMalformed = true;
        return false;
    }
}
