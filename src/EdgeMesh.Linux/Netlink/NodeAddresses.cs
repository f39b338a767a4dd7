using System.Collections.Immutable;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Netlink;

/// <param name="Device">Name of the device that carries the address.</param>
/// <param name="DeviceKind">What kind of device that is in the kernel's words (bridge, veth, vlan …); empty for hardware.</param>
/// <param name="IsGlobal">Usable by other machines: not loopback, not link scope.</param>
public readonly record struct NodeAddress(InetAddress Address, int PrefixLength, string Device, string DeviceKind, bool IsGlobal);

/// <summary>The addresses of this network namespace, as the kernel lists them.</summary>
public static class NodeAddresses
{
    /// <exception cref="NetlinkException">The kernel did not answer.</exception>
    public static ImmutableArray<NodeAddress> List()
    {
        using var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolRoute, TimeSpan.FromSeconds(5));
        return List(socket);
    }

    internal static ImmutableArray<NodeAddress> List(NetlinkSocket socket)
    {
        var links = RouteMessages.Links(socket).ToDictionary(link => link.Index);
        return [.. RouteMessages.Addresses(socket).Select(a => new NodeAddress(
            a.Address,
            a.PrefixLength,
            links.GetValueOrDefault(a.Index)?.Name ?? string.Empty,
            links.GetValueOrDefault(a.Index)?.Kind ?? string.Empty,
            a.Scope == RouteMessages.ScopeUniverse))];
    }
}
