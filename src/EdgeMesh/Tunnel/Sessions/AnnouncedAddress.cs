using EdgeMesh.Net;
using System.Net.Sockets;

namespace EdgeMesh.Tunnel.Sessions;

/// <summary>Which addresses are dialled on another node's word alone. What leads to this machine itself, or to nobody in
/// particular, is not: a node could have others knock at their own local services.</summary>
internal static class AnnouncedAddress
{
    private static readonly InetAddress _loopback6 = InetAddress.Parse("::1");

    internal static bool IsDialable(in InetEndpoint endPoint, MeshOptions options) =>
        endPoint.Port != 0 && (options.AnnouncedPort is not { } port || endPoint.Port == port) && IsDialable(endPoint.Address, options.AllowLoopback);

    internal static bool IsDialable(in InetAddress address, bool loopback)
    {
        Span<byte> room = stackalloc byte[16];
        ReadOnlySpan<byte> bytes = room[..address.WriteBytes(room)];
        if (IsLoopback(address))
            return loopback;
        // 0.0.0.0/8, groups and broadcast (224.0.0.0/3, ff00::/8), what means nothing without a device (fe80::/10) or may be a
        // cloud's metadata (169.254.0.0/16), and "any".
        return address.IsIPv6
            ? bytes is not ([0xFF, ..] or [0xFE, >= 0x80 and < 0xC0, ..]) && address.Bits != 0
            : bytes is not ([>= 224, ..] or [0, ..] or [169, 254, ..]);
    }

    internal static bool IsLoopback(in InetAddress address) => address.IsIPv6 ? address == _loopback6 : address.Bits >> 24 == 127;
}
