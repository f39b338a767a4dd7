using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Netlink;

/// <summary>The few rtnetlink requests about links and addresses (linux/rtnetlink.h, if_link.h, if_addr.h).</summary>
internal static class RouteMessages
{
    internal const uint InterfaceUp = 0x1;
    internal const uint FlagNoDad = 0x02;
    internal const uint FlagDadFailed = 0x08;
    internal const uint FlagTentative = 0x40;
    internal const byte ScopeUniverse = 0;
    internal const byte ScopeLink = 253;

    private const int NewLink = 16;
    private const int DeleteLink = 17;
    private const int GetLink = 18;
    private const int SetLink = 19;
    private const int NewAddress = 20;
    private const int DeleteAddress = 21;
    private const int GetAddress = 22;

    private const int LinkName = 3;
    private const int LinkInfo = 18;
    private const int LinkAlias = 20;
    private const int LinkInfoKind = 1;

    private const int AddressAddress = 1;
    private const int AddressLocal = 2;
    private const int AddressFlags = 8;

    internal sealed record Link(int Index, string Name, string Kind, uint Flags, string Alias = "");

    internal readonly record struct LinkAddress(int Index, InetAddress Address, int PrefixLength, uint Flags, byte Scope);

    /// <summary>Null: there is no link of that name.</summary>
    internal static Link? FindLink(NetlinkSocket socket, string name)
    {
        Span<byte> buffer = stackalloc byte[256];
        var writer = new NetlinkWriter(buffer);
        var sequence = socket.NextSequence();
        writer.BeginMessage(GetLink, NetlinkSocket.FlagRequest, sequence);
        writer.Claim(16);
        writer.AttributeText(LinkName, name);
        writer.EndMessage();
        Link? found = null;
        var errno = socket.Query(writer.Written, sequence, dump: false, (_, payload) => found = ParseLink(payload), out _);
        return errno switch
        {
            0 => found,
            NetlinkCalls.Enodev => null,
            _ => throw new NetlinkException($"Looking up the network device {name}", errno),
        };
    }

    internal static List<Link> Links(NetlinkSocket socket)
    {
        Span<byte> buffer = stackalloc byte[64];
        var writer = new NetlinkWriter(buffer);
        var sequence = socket.NextSequence();
        writer.BeginMessage(GetLink, NetlinkSocket.FlagRequest | NetlinkSocket.FlagDump, sequence);
        writer.Claim(16);
        writer.EndMessage();
        var links = new List<Link>();
        var errno = socket.Query(writer.Written, sequence, dump: true, (_, payload) => links.Add(ParseLink(payload)), out _);
        return errno == 0 ? links : throw new NetlinkException("Listing the network devices", errno);
    }

    /// <returns>0, or the error number.</returns>
    internal static int CreateBridge(NetlinkSocket socket, string name)
    {
        Span<byte> buffer = stackalloc byte[256];
        var writer = new NetlinkWriter(buffer);
        var sequence = socket.NextSequence();
        writer.BeginMessage(
            NewLink,
            NetlinkSocket.FlagRequest | NetlinkSocket.FlagAcknowledge | NetlinkSocket.FlagCreate | NetlinkSocket.FlagExclusive,
            sequence);
        WriteLinkHeader(writer.Claim(16), 0, InterfaceUp, InterfaceUp);
        writer.AttributeText(LinkName, name);
        var info = writer.BeginNest(LinkInfo);
        writer.AttributeText(LinkInfoKind, "bridge");
        writer.EndNest(info);
        writer.EndMessage();
        return socket.Request(writer.Written, sequence);
    }

    /// <returns>0, or the error number.</returns>
    internal static int SetUp(NetlinkSocket socket, int index)
    {
        Span<byte> buffer = stackalloc byte[64];
        var writer = new NetlinkWriter(buffer);
        var sequence = socket.NextSequence();
        writer.BeginMessage(NewLink, NetlinkSocket.FlagRequest | NetlinkSocket.FlagAcknowledge, sequence);
        WriteLinkHeader(writer.Claim(16), index, InterfaceUp, InterfaceUp);
        writer.EndMessage();
        return socket.Request(writer.Written, sequence);
    }

    /// <summary>Sets the alias and says which one stood before. Both requests go to the kernel in one call, so nothing that
    /// happens to this process can come between the look and the change.</summary>
    /// <returns>0, or the error number.</returns>
    internal static int ExchangeAlias(NetlinkSocket socket, string name, string alias, out string before)
    {
        Span<byte> buffer = stackalloc byte[512];
        var writer = new NetlinkWriter(buffer);
        var look = socket.NextSequence();
        writer.BeginMessage(GetLink, NetlinkSocket.FlagRequest, look);
        writer.Claim(16);
        writer.AttributeText(LinkName, name);
        writer.EndMessage();
        var change = socket.NextSequence();
        writer.BeginMessage(SetLink, NetlinkSocket.FlagRequest | NetlinkSocket.FlagAcknowledge, change);
        writer.Claim(16);
        writer.AttributeText(LinkName, name);
        // Without a closing zero, as ip(8) writes it; of length 0 it removes the alias.
        writer.Attribute(LinkAlias, System.Text.Encoding.ASCII.GetBytes(alias));
        writer.EndMessage();
        before = string.Empty;
        var errno = socket.Send(writer.Written);
        while (errno == 0)
        {
            errno = socket.Receive(out var data);
            var messages = new NetlinkMessages(data);
            while (errno == 0 && messages.MoveNext())
            {
                if (messages.Sequence == look && messages.Type == NewLink)
                    before = ParseLink(messages.Payload).Alias;
                else if (messages.Sequence == change && messages.Type == NetlinkMessages.TypeError)
                    return messages.Errno;
            }
        }

        return errno;
    }

    /// <returns>0, or the error number.</returns>
    internal static int Remove(NetlinkSocket socket, int index)
    {
        Span<byte> buffer = stackalloc byte[64];
        var writer = new NetlinkWriter(buffer);
        var sequence = socket.NextSequence();
        writer.BeginMessage(DeleteLink, NetlinkSocket.FlagRequest | NetlinkSocket.FlagAcknowledge, sequence);
        WriteLinkHeader(writer.Claim(16), index, 0, 0);
        writer.EndMessage();
        return socket.Request(writer.Written, sequence);
    }

    /// <summary>The addresses of every device, of both families; a family that the kernel lacks has none.</summary>
    internal static ImmutableArray<LinkAddress> Addresses(NetlinkSocket socket)
    {
        Span<byte> buffer = stackalloc byte[64];
        for (var attempt = 0; ; attempt++)
        {
            var found = ImmutableArray.CreateBuilder<LinkAddress>();
            var writer = new NetlinkWriter(buffer);
            var sequence = socket.NextSequence();
            writer.BeginMessage(GetAddress, NetlinkSocket.FlagRequest | NetlinkSocket.FlagDump, sequence);
            writer.Claim(8);
            writer.EndMessage();
            var errno = socket.Query(
                writer.Written,
                sequence,
                dump: true,
                (_, payload) =>
                {
                    if (ParseAddress(payload) is { } address)
                        found.Add(address);
                },
                out var interrupted);
            if (errno != 0)
                throw new NetlinkException("Listing the addresses of this node", errno);
            if (!interrupted || attempt == 3)
                return found.ToImmutable();
        }
    }

    /// <returns>0, or the error number.</returns>
    internal static int ChangeAddress(NetlinkSocket socket, bool add, in LinkAddress address)
    {
        Span<byte> buffer = stackalloc byte[128];
        var writer = new NetlinkWriter(buffer);
        var sequence = socket.NextSequence();
        writer.BeginMessage(
            add ? NewAddress : DeleteAddress,
            NetlinkSocket.FlagRequest | NetlinkSocket.FlagAcknowledge
                | (add ? NetlinkSocket.FlagCreate | NetlinkSocket.FlagExclusive : 0),
            sequence);
        var header = writer.Claim(8);
        header[0] = (byte)(address.Address.IsIPv6 ? NetlinkCalls.AfInet6 : NetlinkCalls.AfInet);
        header[1] = (byte)address.PrefixLength;
        header[3] = address.Scope;
        MemoryMarshal.Write(header[4..], address.Index);
        writer.AttributeAddress(AddressLocal, address.Address);
        writer.AttributeAddress(AddressAddress, address.Address);
        if (add && address.Flags != 0)
            writer.AttributeHost32(AddressFlags, address.Flags);
        writer.EndMessage();
        return socket.Request(writer.Written, sequence);
    }

    private static void WriteLinkHeader(Span<byte> header, int index, uint flags, uint change)
    {
        MemoryMarshal.Write(header[4..], index);
        MemoryMarshal.Write(header[8..], flags);
        MemoryMarshal.Write(header[12..], change);
    }

    internal static Link ParseLink(ReadOnlySpan<byte> payload)
    {
        if (payload.Length < 16)
            return new Link(0, string.Empty, string.Empty, 0);
        var name = string.Empty;
        var kind = string.Empty;
        var alias = string.Empty;
        var attributes = new NetlinkAttributes(payload[16..]);
        while (attributes.MoveNext())
        {
            if (attributes.Type == LinkName)
                name = attributes.Text;
            if (attributes.Type == LinkAlias)
                alias = attributes.Text;
            if (attributes.Type != LinkInfo)
                continue;
            var info = new NetlinkAttributes(attributes.Value);
            while (info.MoveNext())
            {
                if (info.Type == LinkInfoKind)
                    kind = info.Text;
            }
        }

        return new Link(MemoryMarshal.Read<int>(payload[4..]), name, kind, MemoryMarshal.Read<uint>(payload[8..]), alias);
    }

    internal static LinkAddress? ParseAddress(ReadOnlySpan<byte> payload)
    {
        if (payload.Length < 8)
            return null;
        InetAddress? local = null;
        InetAddress? address = null;
        uint flags = payload[2];
        var attributes = new NetlinkAttributes(payload[8..]);
        while (attributes.MoveNext())
        {
            var value = attributes.Value;
            switch (attributes.Type)
            {
                case AddressLocal when value.Length is 4 or 16:
                    local = InetAddress.FromBytes(value);
                    break;
                case AddressAddress when value.Length is 4 or 16:
                    address = InetAddress.FromBytes(value);
                    break;
                case AddressFlags when value.Length >= 4:
                    flags = MemoryMarshal.Read<uint>(value);
                    break;
                default:
                    break;
            }
        }

        // On a point-to-point device IFA_ADDRESS is the peer; IFA_LOCAL, where present, is ours.
        return (local ?? address) is { } ours
            ? new LinkAddress(MemoryMarshal.Read<int>(payload[4..]), ours, payload[1], flags, payload[3])
            : null;
    }
}
