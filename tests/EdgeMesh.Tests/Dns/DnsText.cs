using System.Net;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;

namespace EdgeMesh.Tests.Dns;

/// <summary>Messages as tests write and read them.</summary>
internal static class DnsText
{
    internal static DnsClient Client { get; } = new(0x0A000001, IsIPv6: false, 40000, IsStream: false, 0);

    internal static DnsClient StreamClient { get; } = Client with { IsStream = true };

    internal static byte[] Name(string text) => WireName.FromText(text) ?? throw new ArgumentException("This is no name.", nameof(text));

    internal static byte[] Question(string name, RecordType type) => [.. Name(name), (byte)((int)type >> 8), (byte)type, 0, 1];

    internal static byte[] Query(string name, RecordType type, int edns = 0, ushort id = 7, bool dnssec = false, byte version = 0)
    {
        var buffer = new byte[600];
        var writer = new MessageWriter(buffer);
        writer.Begin(id, DnsHeader.RecursionDesired);
        writer.WriteQuestion(Question(name, type));
        if (edns > 0)
            writer.WriteOpt(edns, dnssec);
        var message = buffer[..writer.Finish()];
        if (version > 0)
            message[^5] = version;
        return message;
    }

    /// <summary>An answer as an upstream gives it, with names that point to the question.</summary>
    /// <param name="records">Like <c>300 A 192.0.2.1</c>, <c>300 CNAME other.example.</c>; of the section after it with <c>authority:</c> in front.</param>
    internal static byte[] Reply(ReadOnlySpan<byte> query, ResponseCode code, params ReadOnlySpan<string> records)
    {
        DnsHeader.TryRead(query, out var header);
        var length = WireName.Length(query[DnsLimits.HeaderSize..]);
        var buffer = new byte[DnsLimits.MaxMessage];
        var writer = new MessageWriter(buffer);
        writer.Begin(header.Id, (ushort)(DnsHeader.ResponseFlag | DnsHeader.RecursionAvailable | DnsHeader.RecursionDesired | (int)code));
        writer.WriteQuestion(query.Slice(DnsLimits.HeaderSize, length + 4));
        var owner = DnsLimits.HeaderSize;
        foreach (var text in records)
        {
            var section = text.StartsWith("authority:", StringComparison.Ordinal) ? Section.Authority : Section.Answer;
            var words = text[(section == Section.Authority ? 10 : 0)..].Split(' ');
            var timeToLive = uint.Parse(words[0]);
            switch (words[1])
            {
                case "A" or "AAAA":
                    writer.BeginRecord(owner, words[1] == "A" ? RecordType.A : RecordType.Aaaa, timeToLive);
                    writer.PutData(IPAddress.Parse(words[2]).GetAddressBytes());
                    break;
                case "CNAME":
                    writer.BeginRecord(owner, RecordType.CName, timeToLive);
                    owner = writer.Position;
                    writer.PutData(Name(words[2]));
                    break;
                case "SOA":
                    writer.BeginRecord(owner, RecordType.Soa, timeToLive);
                    writer.PutData([0, 0]);
                    for (var i = 0; i < 4; i++)
                        writer.PutUInt32(1);
                    writer.PutUInt32(uint.Parse(words[2]));
                    break;
                default:
                    writer.BeginRecord(owner, (RecordType)ushort.Parse(words[1].AsSpan(4)), timeToLive);
                    writer.PutData(Convert.FromHexString(words[2]));
                    break;
            }

            writer.EndRecord(section);
        }

        return buffer[..writer.Finish()];
    }

    internal static byte[] Truncated(ReadOnlySpan<byte> query)
    {
        var reply = Reply(query, ResponseCode.NoError);
        reply[2] |= DnsHeader.TruncatedFlag >> 8;
        return reply;
    }

    /// <summary>The code and the flags, then one line for each record.</summary>
    internal static string Show(ReadOnlySpan<byte> message)
    {
        if (message.IsEmpty)
            return "(nothing)";
        DnsHeader.TryRead(message, out var header);
        var flags = ((header.Flags & DnsHeader.AuthoritativeFlag) != 0 ? " aa" : "") + (header.IsTruncated ? " tc" : "");
        return string.Join('\n', [MessageText.Of(header.Code) + flags, .. MessageText.Records(message)]);
    }

    internal static string Show(byte[] buffer, int length) => Show(buffer.AsSpan(0, length));

    internal static string NameAt(ReadOnlySpan<byte> message, int at)
    {
        Span<byte> name = stackalloc byte[DnsLimits.MaxName];
        return WireName.TryRead(message, ref at, name, out var length) ? WireName.ToText(name[..length]) : "BAD NAME";
    }
}
