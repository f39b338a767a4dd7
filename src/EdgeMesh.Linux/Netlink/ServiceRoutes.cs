using System.Collections.Immutable;
using System.Net;
using System.Runtime.InteropServices;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Netlink;

/// <summary>Routes for service addresses on a node that has no default route: without any, connect(2) fails before a rule of the
/// packet filter can see the connection. They stand in a table of their own behind all others, so that they are asked only
/// about what would be unreachable otherwise.</summary>
public static class ServiceRoutes
{
    /// <summary>Also the port of the listener, by which people know it.</summary>
    public const uint Table = 20007;

    // After the main table (32766) and the default table (32767).
    private const uint Priority = 32_800;

    private const int NewRoute = 24, DeleteRoute = 25, NewRule = 32, DeleteRule = 33;
    private const byte ToTable = 1, Unicast = 1, Static = 4;
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(5);

    /// <summary>Makes the table lead to the networks and to nothing else of <paramref name="before"/>.</summary>
    /// <param name="source">The address that connections to them begin with; null: the device's own.</param>
    /// <exception cref="NetlinkException">The kernel refused.</exception>
    public static void Set(bool ipv6, int device, InetAddress? source, ImmutableArray<IPNetwork> networks, ImmutableArray<IPNetwork> before)
    {
        using var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolRoute, Deadline);
        foreach (var network in before.Where(network => !networks.Contains(network)))
            ChangeRoute(socket, add: false, ipv6, device, null, network);
        foreach (var network in networks)
        {
            var errno = ChangeRoute(socket, add: true, ipv6, device, source, network);
            if (errno is not (0 or NetlinkCalls.Eexist))
                throw new NetlinkException($"Adding the route to {network}", errno);
        }

        var rule = ChangeRule(socket, add: true, ipv6);
        if (rule is not (0 or NetlinkCalls.Eexist))
            throw new NetlinkException($"Adding the rule that looks into routing table {Table}", rule);
    }

    /// <summary>Takes the rule away; routes that nobody asks for go with their device.</summary>
    /// <returns>True when there was one.</returns>
    public static bool Remove(bool ipv6)
    {
        using var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolRoute, Deadline);
        var removed = false;
        for (var i = 0; i < 16 && ChangeRule(socket, add: false, ipv6) == 0; i++)
            removed = true;
        return removed;
    }

    private static int ChangeRule(NetlinkSocket socket, bool add, bool ipv6)
    {
        Span<byte> buffer = stackalloc byte[64];
        var writer = new NetlinkWriter(buffer);
        var sequence = socket.NextSequence();
        writer.BeginMessage(
            add ? NewRule : DeleteRule,
            NetlinkSocket.FlagRequest | NetlinkSocket.FlagAcknowledge | (add ? NetlinkSocket.FlagCreate | NetlinkSocket.FlagExclusive : 0),
            sequence);
        var header = writer.Claim(12);
        header[0] = (byte)(ipv6 ? NetlinkCalls.AfInet6 : NetlinkCalls.AfInet);
        header[7] = ToTable;
        writer.AttributeHost32(6, Priority);
        writer.AttributeHost32(15, Table);
        writer.EndMessage();
        return socket.Request(writer.Written, sequence);
    }

    private static int ChangeRoute(NetlinkSocket socket, bool add, bool ipv6, int device, InetAddress? source, IPNetwork network)
    {
        Span<byte> buffer = stackalloc byte[128];
        var writer = new NetlinkWriter(buffer);
        var sequence = socket.NextSequence();
        writer.BeginMessage(
            add ? NewRoute : DeleteRoute,
            NetlinkSocket.FlagRequest | NetlinkSocket.FlagAcknowledge | (add ? NetlinkSocket.FlagCreate | NetlinkSocket.FlagReplace : 0),
            sequence);
        var header = writer.Claim(12);
        header[0] = (byte)(ipv6 ? NetlinkCalls.AfInet6 : NetlinkCalls.AfInet);
        header[1] = (byte)network.PrefixLength;
        header[5] = Static;
        header[6] = ipv6 ? RouteMessages.ScopeUniverse : RouteMessages.ScopeLink;
        header[7] = Unicast;
        writer.AttributeAddress(1, InetAddress.From(network.BaseAddress));
        Span<byte> index = stackalloc byte[4];
        MemoryMarshal.Write(index, device);
        writer.Attribute(4, index);
        if (source is { } from)
            writer.AttributeAddress(7, from);
        writer.AttributeHost32(15, Table);
        writer.EndMessage();
        return socket.Request(writer.Written, sequence);
    }
}
