using System.Buffers.Binary;
using System.Runtime.InteropServices;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Netlink;

/// <summary>One tracked flow: what the client sent, and what the answering side sends.</summary>
public readonly record struct ConntrackFlow
{
    /// <summary>Client, as it sees itself.</summary>
    public required InetEndpoint OriginalSource { get; init; }

    /// <summary>What the client asked for, before any translation.</summary>
    public required InetEndpoint OriginalDestination { get; init; }

    /// <summary>Who really answers.</summary>
    public required InetEndpoint ReplySource { get; init; }

    /// <summary>Where the answers go, which is the client as the answering side sees it.</summary>
    public required InetEndpoint ReplyDestination { get; init; }

    /// <summary>A packet of the answering side was seen.</summary>
    public bool IsAnswered { get; init; }

    internal TransportProtocol Protocol { get; init; }

    internal ushort Zone { get; init; }

    internal uint Id { get; init; }
}

/// <summary>The ctnetlink codec (linux/netfilter/nfnetlink_conntrack.h).</summary>
internal static class ConntrackMessages
{
    internal const int Get = (1 << 8) | 1;
    internal const int Delete = (1 << 8) | 2;

    private const int TupleOriginal = 1;
    private const int TupleReply = 2;
    private const int EntryStatus = 3;
    private const int EntryId = 12;
    private const int EntryZone = 18;
    private const int Filter = 25;
    private const uint SeenReply = 1 << 1;
    private const int FilterOriginalFlags = 1;
    private const uint FilterByProtocol = 1 << 3;

    private const int TupleAddresses = 1;
    private const int TupleProtocol = 2;
    private const int ProtocolNumber = 1;
    private const int ProtocolSourcePort = 2;
    private const int ProtocolDestinationPort = 3;

    /// <summary>Asks for the entry whose answers go from <paramref name="source"/> to <paramref name="destination"/>.</summary>
    internal static int WriteLookup(Span<byte> buffer, uint sequence, in InetEndpoint source, in InetEndpoint destination)
    {
        var writer = new NetlinkWriter(buffer);
        writer.BeginMessage(Get, NetlinkSocket.FlagRequest, sequence);
        writer.NetfilterHeader(source.Address.IsIPv6 ? NetlinkCalls.AfInet6 : NetlinkCalls.AfInet);
        WriteTuple(ref writer, TupleReply, TransportProtocol.Udp, source, destination);
        writer.EndMessage();
        return writer.Length;
    }

    /// <param name="filter">Let the kernel (5.8 and newer) leave out other protocols; an older one ignores it.</param>
    internal static int WriteDump(Span<byte> buffer, uint sequence, TransportProtocol asked, bool ipv6, bool filter)
    {
        var writer = new NetlinkWriter(buffer);
        writer.BeginMessage(Get, NetlinkSocket.FlagRequest | NetlinkSocket.FlagDump, sequence);
        writer.NetfilterHeader(ipv6 ? NetlinkCalls.AfInet6 : NetlinkCalls.AfInet);
        if (filter)
        {
            var tuple = writer.BeginNest(TupleOriginal);
            var protocol = writer.BeginNest(TupleProtocol);
            writer.AttributeByte(ProtocolNumber, (byte)asked);
            writer.EndNest(protocol);
            writer.EndNest(tuple);
            var nest = writer.BeginNest(Filter);
            writer.AttributeHost32(FilterOriginalFlags, FilterByProtocol);
            writer.EndNest(nest);
        }

        writer.EndMessage();
        return writer.Length;
    }

    internal static void WriteDelete(ref NetlinkWriter writer, uint sequence, in ConntrackFlow flow)
    {
        writer.BeginMessage(Delete, NetlinkSocket.FlagRequest, sequence);
        writer.NetfilterHeader(flow.OriginalSource.Address.IsIPv6 ? NetlinkCalls.AfInet6 : NetlinkCalls.AfInet);
        WriteTuple(ref writer, TupleOriginal, flow.Protocol, flow.OriginalSource, flow.OriginalDestination);
        // The id makes sure that an entry made anew since the dump is not hit.
        Span<byte> id = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(id, flow.Id);
        writer.Attribute(EntryId, id);
        if (flow.Zone != 0)
            writer.AttributeNetwork16(EntryZone, flow.Zone);
        writer.EndMessage();
    }

    /// <param name="payload">From the nfgenmsg header on.</param>
    internal static bool TryParse(ReadOnlySpan<byte> payload, out ConntrackFlow flow)
    {
        flow = default;
        if (payload.Length < 4)
            return false;
        InetEndpoint originalSource = default, originalDestination = default, replySource = default, replyDestination = default;
        TransportProtocol protocol = default;
        ushort zone = 0;
        uint id = 0, status = 0;
        bool haveOriginal = false, haveReply = false;
        var attributes = new NetlinkAttributes(payload[4..]);
        while (attributes.MoveNext())
        {
            switch (attributes.Type)
            {
                case TupleOriginal:
                    haveOriginal = TryParseTuple(attributes.Value, out originalSource, out originalDestination, out protocol);
                    break;
                case TupleReply:
                    haveReply = TryParseTuple(attributes.Value, out replySource, out replyDestination, out _);
                    break;
                case EntryStatus when attributes.Value.Length >= 4:
                    status = BinaryPrimitives.ReadUInt32BigEndian(attributes.Value);
                    break;
                case EntryId when attributes.Value.Length >= 4:
                    id = BinaryPrimitives.ReadUInt32BigEndian(attributes.Value);
                    break;
                case EntryZone when attributes.Value.Length >= 2:
                    zone = BinaryPrimitives.ReadUInt16BigEndian(attributes.Value);
                    break;
                default:
                    break;
            }
        }

        if (!haveOriginal || !haveReply)
            return false;
        flow = new ConntrackFlow
        {
            OriginalSource = originalSource,
            OriginalDestination = originalDestination,
            ReplySource = replySource,
            ReplyDestination = replyDestination,
            IsAnswered = (status & SeenReply) != 0,
            Protocol = protocol,
            Zone = zone,
            Id = id,
        };
        return true;
    }

    private static void WriteTuple(ref NetlinkWriter writer, int type, TransportProtocol transport, in InetEndpoint source, in InetEndpoint destination)
    {
        var tuple = writer.BeginNest(type);
        var addresses = writer.BeginNest(TupleAddresses);
        // CTA_IP_V4_SRC 1, CTA_IP_V4_DST 2, CTA_IP_V6_SRC 3, CTA_IP_V6_DST 4.
        writer.AttributeAddress(source.Address.IsIPv6 ? 3 : 1, source.Address);
        writer.AttributeAddress(source.Address.IsIPv6 ? 4 : 2, destination.Address);
        writer.EndNest(addresses);
        var protocol = writer.BeginNest(TupleProtocol);
        writer.AttributeByte(ProtocolNumber, (byte)transport);
        writer.AttributeNetwork16(ProtocolSourcePort, source.Port);
        writer.AttributeNetwork16(ProtocolDestinationPort, destination.Port);
        writer.EndNest(protocol);
        writer.EndNest(tuple);
    }

    private static bool TryParseTuple(ReadOnlySpan<byte> data, out InetEndpoint source, out InetEndpoint destination, out TransportProtocol protocol)
    {
        InetAddress from = default, to = default;
        ushort fromPort = 0, toPort = 0;
        protocol = default;
        bool haveFrom = false, haveTo = false;
        var parts = new NetlinkAttributes(data);
        while (parts.MoveNext())
        {
            var inner = new NetlinkAttributes(parts.Value);
            if (parts.Type == TupleAddresses)
            {
                while (inner.MoveNext())
                {
                    if (inner.Value.Length is not (4 or 16))
                        continue;
                    if (inner.Type is 1 or 3)
                        (from, haveFrom) = (InetAddress.FromBytes(inner.Value), true);
                    else if (inner.Type is 2 or 4)
                        (to, haveTo) = (InetAddress.FromBytes(inner.Value), true);
                }
            }
            else if (parts.Type == TupleProtocol)
            {
                while (inner.MoveNext())
                {
                    if (inner.Type == ProtocolNumber && inner.Value.Length >= 1)
                        protocol = (TransportProtocol)inner.Value[0];
                    else if (inner.Type == ProtocolSourcePort && inner.Value.Length >= 2)
                        fromPort = BinaryPrimitives.ReadUInt16BigEndian(inner.Value);
                    else if (inner.Type == ProtocolDestinationPort && inner.Value.Length >= 2)
                        toPort = BinaryPrimitives.ReadUInt16BigEndian(inner.Value);
                }
            }
        }

        source = new InetEndpoint(from, fromPort);
        destination = new InetEndpoint(to, toPort);
        return haveFrom && haveTo;
    }
}
