using System.Buffers.Binary;

namespace EdgeMesh.Dns.Messages;

/// <summary>What became of reading a request.</summary>
public enum QueryFault
{
    None,

    /// <summary>Shorter than a header, or itself a response: nothing is answered, else two servers could answer each other for ever.</summary>
    Silence,

    FormatError,

    NotImplemented,

    BadVersion,
}

/// <summary>A request with one question.</summary>
public readonly ref struct DnsQuery
{
    public ushort Id { get; init; }

    public ushort Flags { get; init; }

    /// <summary>Name, type and class as they were asked, with their case.</summary>
    public ReadOnlySpan<byte> Question { get; init; }

    public ReadOnlySpan<byte> Name => Question[..^4];

    public RecordType Type { get; init; }

    public ushort Class { get; init; }

    public bool HasEdns { get; init; }

    /// <summary>How large a datagram the client says that it takes; 512 without EDNS.</summary>
    public int UdpSize { get; init; }

    public bool DnssecOk { get; init; }

    public bool CheckingDisabled => (Flags & DnsHeader.CheckingDisabled) != 0;

    /// <summary>Room for the answer by UDP.</summary>
    public int UdpLimit => Math.Clamp(UdpSize, DnsLimits.PlainUdp, DnsLimits.LargestUdp);

    /// <summary>Reads a request. Also with a fault <paramref name="query"/> has what could be read, for the answer that says so.</summary>
    public static QueryFault Read(ReadOnlySpan<byte> message, out DnsQuery query)
    {
        query = default;
        if (!DnsHeader.TryRead(message, out var header) || header.IsResponse)
            return QueryFault.Silence;
        query = new DnsQuery { Id = header.Id, Flags = header.Flags, UdpSize = DnsLimits.PlainUdp };
        if (header.Opcode != 0)
            return QueryFault.NotImplemented;
        if (header.Questions != 1)
            return QueryFault.FormatError;
        var length = WireName.Length(message[DnsLimits.HeaderSize..]);
        if (length == 0 || message.Length - DnsLimits.HeaderSize - length < 4)
            return QueryFault.FormatError;
        var question = message.Slice(DnsLimits.HeaderSize, length + 4);
        var type = (RecordType)BinaryPrimitives.ReadUInt16BigEndian(question[length..]);
        var @class = BinaryPrimitives.ReadUInt16BigEndian(question[(length + 2)..]);
        bool edns = false, dnssec = false;
        var size = DnsLimits.PlainUdp;
        var fault = QueryFault.None;
        // Most requests have one record, OPT, or none.
        if (header.Answers + header.Authorities + header.Additionals > 0)
        {
            if (!RecordReader.TryOpen(message, out var records))
                return QueryFault.FormatError;
            while (records.TryNext())
            {
                var record = records.Current;
                if (record.Type != RecordType.Opt)
                    continue;
                // RFC 6891, 6.1.1: one, of the root, in the additional section.
                if (edns || record.Section != Section.Additional || message[record.Start] != 0)
                    return QueryFault.FormatError;
                edns = true;
                size = record.Class;
                dnssec = (message[record.TimeToLiveAt + 2] & 0x80) != 0;
                if (message[record.TimeToLiveAt + 1] != 0)
                    fault = QueryFault.BadVersion;
            }

            if (records.IsMalformed)
                return QueryFault.FormatError;
        }

        query = new DnsQuery
        {
            Id = header.Id,
            Flags = header.Flags,
            Question = question,
            Type = type,
            Class = @class,
            HasEdns = edns,
            UdpSize = size,
            DnssecOk = dnssec,
        };
        return fault;
    }
}
