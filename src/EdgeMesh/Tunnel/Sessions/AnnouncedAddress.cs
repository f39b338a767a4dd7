using System.Net;
using System.Net.Sockets;

namespace EdgeMesh.Tunnel.Sessions;

/// <summary>Which addresses are dialled on another node's word alone. What leads to this machine itself, or to nobody in
/// particular, is not: a node could have others knock at their own local services.</summary>
internal static class AnnouncedAddress
{
    internal static bool IsDialable(IPEndPoint endPoint, MeshOptions options) =>
        endPoint.Port != 0 && (options.AnnouncedPort is not { } port || endPoint.Port == port) && IsDialable(endPoint.Address, options.AllowLoopback);

    internal static bool IsDialable(IPAddress address, bool loopback)
    {
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        if (IPAddress.IsLoopback(address))
            return loopback;
        if (address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any) || address.Equals(IPAddress.Broadcast))
            return false;
        // 224.0.0.0/4 and ff00::/8 are groups; fe80::/10 means nothing without a device; 169.254.0.0/16 may be a cloud's metadata.
        return address.AddressFamily == AddressFamily.InterNetwork
            ? address.GetAddressBytes() is not ([>= 224, ..] or [0, ..] or [169, 254, ..])
            : !address.IsIPv6Multicast && !address.IsIPv6LinkLocal;
    }
}
