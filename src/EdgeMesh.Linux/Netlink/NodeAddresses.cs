using System.Collections.Immutable;

namespace EdgeMesh.Linux.Netlink;

/// <param name="Device">Name of the device that carries the address.</param>
/// <param name="IsGlobal">Usable by other machines: not loopback, not link scope.</param>
public readonly record struct NodeAddress(InetAddress Address, int PrefixLength, string Device, bool IsGlobal);

/// <summary>The addresses of this network namespace, as the kernel lists them.</summary>
public static class NodeAddresses
{
    /// <exception cref="NetlinkException">The kernel did not answer.</exception>
    public static ImmutableArray<NodeAddress> List()
    {
        using var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolRoute, TimeSpan.FromSeconds(5));
        var names = RouteMessages.Links(socket).ToDictionary(link => link.Index, link => link.Name);
        return [.. RouteMessages.Addresses(socket).Select(a => new NodeAddress(
            a.Address,
            a.PrefixLength,
            names.GetValueOrDefault(a.Index, string.Empty),
            a.Scope == RouteMessages.ScopeUniverse))];
    }
}
