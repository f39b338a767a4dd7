using System.Buffers.Binary;

namespace EdgeMesh.Dns.Messages;

/// <summary>Writes a message into a span, record by record, and allocates nothing. A record that does not fit is taken back
/// whole, so what was written is always a message.</summary>
/// <remarks>Room for OPT is kept from the start where the request had one.</remarks>
public ref struct MessageWriter
{
    private readonly Span<byte> _buffer;
    private readonly int _reserved;
    private int _at;
    private int _recordStart;
    private int _dataAt;
    private bool _full;
    private DnsHeader _header;

    /// <param name="buffer">As long as the message may be at most.</param>
    /// <param name="reserve">Bytes that records leave free, for OPT.</param>
    public MessageWriter(Span<byte> buffer, int reserve = 0)
    {
        _buffer = buffer;
        _reserved = reserve;
        _at = DnsLimits.HeaderSize;
    }

    /// <summary>Bytes written; the offset of what comes next.</summary>
    public readonly int Position => _at;

    public readonly int Answers => _header.Answers;

    public readonly Span<byte> Buffer => _buffer;

    /// <summary>Begins the answer to a request, with its question as it was asked.</summary>
    public static MessageWriter Answer(in DnsQuery query, Span<byte> buffer, ushort flags)
    {
        var writer = new MessageWriter(buffer, query.HasEdns ? DnsLimits.OptSize : 0);
        writer._header = new DnsHeader(query.Id, (ushort)(FlagsFor(query, flags)), 0, 0, 0, 0);
        if (!query.Question.IsEmpty)
            writer.WriteQuestion(query.Question);
        return writer;
    }

    /// <summary>The flags of an answer: what the client said of itself comes back.</summary>
    public static ushort FlagsFor(in DnsQuery query, ushort flags) => (ushort)(
        DnsHeader.ResponseFlag | DnsHeader.RecursionAvailable
        | (query.Flags & (DnsHeader.OpcodeMask | DnsHeader.RecursionDesired | DnsHeader.CheckingDisabled)) | flags);

    /// <summary>Begins a message of one's own.</summary>
    public void Begin(ushort id, ushort flags) => _header = new DnsHeader(id, flags, 0, 0, 0, 0);

    public void SetFlags(ushort flags) => _header = _header with { Flags = (ushort)(_header.Flags | flags) };

    public void SetCode(ResponseCode code) => _header = _header with { Flags = (ushort)((_header.Flags & ~DnsHeader.CodeMask) | ((int)code & 0xF)) };

    /// <param name="question">Name, type and class.</param>
    public void WriteQuestion(scoped ReadOnlySpan<byte> question)
    {
        Put(question);
        _header = _header with { Questions = (ushort)(_header.Questions + 1) };
    }

    /// <summary>Begins a record whose owner stands at <paramref name="owner"/> of this message.</summary>
    public void BeginRecord(int owner, RecordType type, uint timeToLive, ushort @class = DnsLimits.ClassInternet)
    {
        _recordStart = _at;
        _full = false;
        PutPointer(owner);
        BeginData(type, timeToLive, @class);
    }

    /// <summary>Begins a record with its owner in full.</summary>
    public void BeginRecord(scoped ReadOnlySpan<byte> owner, RecordType type, uint timeToLive, ushort @class = DnsLimits.ClassInternet)
    {
        _recordStart = _at;
        _full = false;
        PutData(owner);
        BeginData(type, timeToLive, @class);
    }

    public void PutData(scoped ReadOnlySpan<byte> data)
    {
        if (Has(data.Length))
            Put(data);
    }

    public void PutByte(byte value)
    {
        if (Has(1))
            _buffer[_at++] = value;
    }

    public void PutUInt16(ushort value)
    {
        if (!Has(2))
            return;
        BinaryPrimitives.WriteUInt16BigEndian(_buffer[_at..], value);
        _at += 2;
    }

    public void PutUInt32(uint value)
    {
        if (!Has(4))
            return;
        BinaryPrimitives.WriteUInt32BigEndian(_buffer[_at..], value);
        _at += 4;
    }

    /// <summary>A pointer to a name (RFC 1035, 4.1.4). Only for owners and for the data of types of that RFC.</summary>
    public void PutPointer(int offset) => PutUInt16((ushort)(0xC000 | offset));

    /// <summary>Ends a record.</summary>
    /// <returns>False: it did not fit, and is not in the message.</returns>
    public bool EndRecord(Section section)
    {
        if (_full)
        {
            _at = _recordStart;
            _full = false;
            return false;
        }

        BinaryPrimitives.WriteUInt16BigEndian(_buffer[(_dataAt - 2)..], (ushort)(_at - _dataAt));
        _header = section switch
        {
            Section.Answer => _header with { Answers = (ushort)(_header.Answers + 1) },
            Section.Authority => _header with { Authorities = (ushort)(_header.Authorities + 1) },
            _ => _header with { Additionals = (ushort)(_header.Additionals + 1) },
        };
        return true;
    }

    /// <summary>OPT (RFC 6891, 6.1), into the room that was kept for it.</summary>
    public void WriteOpt(int udpSize, bool dnssecOk, ResponseCode code = ResponseCode.NoError)
    {
        var record = _buffer.Slice(_at, DnsLimits.OptSize);
        record.Clear();
        BinaryPrimitives.WriteUInt16BigEndian(record[1..], (ushort)RecordType.Opt);
        BinaryPrimitives.WriteUInt16BigEndian(record[3..], (ushort)udpSize);
        record[5] = (byte)((int)code >> 4);
        record[7] = (byte)(dnssecOk ? 0x80 : 0);
        _at += DnsLimits.OptSize;
        _header = _header with { Additionals = (ushort)(_header.Additionals + 1) };
    }

    /// <summary>Writes the header.</summary>
    /// <returns>The length of the message.</returns>
    public readonly int Finish()
    {
        _header.Write(_buffer);
        return _at;
    }

    private void BeginData(RecordType type, uint timeToLive, ushort @class)
    {
        PutUInt16((ushort)type);
        PutUInt16(@class);
        PutUInt32(timeToLive);
        PutUInt16(0);
        _dataAt = _at;
    }

    private void Put(scoped ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(_buffer[_at..]);
        _at += bytes.Length;
    }

    private bool Has(int bytes)
    {
        if (!_full && _buffer.Length - _reserved - _at >= bytes)
            return true;
        _full = true;
        return false;
    }
}
