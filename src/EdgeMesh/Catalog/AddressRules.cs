using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Catalog;

/// <summary>Why an address is neither caught nor dialled, whatever an object says.</summary>
[Flags]
internal enum AddressRefusal
{
    None = 0,
    Loopback = 1,
    LinkLocal = 2,
    Multicast = 4,
    Unspecified = 8,
    Broadcast = 16,
    OwnAddress = 32,
    ControlPlane = 64,
    AgentPort = 128,
    Listener = 256,
}

/// <summary>Which addresses a service may be caught at and which may be dialled as endpoints. An API server refuses most of
/// these itself; a metaServer and a hand-written manifest do not, and either may be somebody else's.</summary>
internal static class AddressRules
{
    public static AddressRefusal OfCatch(InetEndpoint address, ProtectedAddresses node)
    {
        if (node.Listeners.Contains(address.Address))
            return AddressRefusal.Listener;
        if (node.ControlPlane.Contains(address))
            return AddressRefusal.ControlPlane;
        var kind = OfKind(address.Address);
        if (kind != AddressRefusal.None)
            return kind;
        return node.Broadcast.Contains(address.Address) ? AddressRefusal.Broadcast
            : IsOwn(address.Address, node) ? AddressRefusal.OwnAddress
            : AddressRefusal.None;
    }

    /// <remarks>The node's own addresses stay allowed: pods of the host network are there. Only what the agent itself has there is not.</remarks>
    public static AddressRefusal OfDial(InetEndpoint endpoint, bool isTcp, ProtectedAddresses node)
    {
        if (node.Listeners.Contains(endpoint.Address))
            return AddressRefusal.Listener;
        var kind = OfKind(endpoint.Address);
        if (kind != AddressRefusal.None)
            return kind;
        if (isTcp && node.AgentPorts.Contains(endpoint.Port) && IsOwn(endpoint.Address, node))
            return AddressRefusal.AgentPort;
        return node.Broadcast.Count > 0 && node.Broadcast.Contains(endpoint.Address) ? AddressRefusal.Broadcast : AddressRefusal.None;
    }

    /// <summary>What it is by itself, on every node.</summary>
    public static AddressRefusal OfKind(InetAddress address)
    {
        if (!address.IsIPv6)
            return OfIPv4((uint)address.Bits);
        var bits = address.Bits;
        if (bits == 0)
            return AddressRefusal.Unspecified;
        if (bits == 1)
            return AddressRefusal.Loopback;
        if (bits >> 120 == 0xFF)
            return AddressRefusal.Multicast;
        if (bits >> 118 == 0x3FA)
            return AddressRefusal.LinkLocal;
        return Embedded(bits) is { } inside ? OfIPv4(inside) : AddressRefusal.None;
    }

    private static AddressRefusal OfIPv4(uint bits) =>
        bits >> 24 == 127 ? AddressRefusal.Loopback
        : bits >> 16 == 0xA9FE ? AddressRefusal.LinkLocal
        : bits >> 28 == 0xE ? AddressRefusal.Multicast
        : bits >> 24 == 0 ? AddressRefusal.Unspecified
        : bits == uint.MaxValue ? AddressRefusal.Broadcast
        : AddressRefusal.None;

    private static bool IsOwn(InetAddress address, ProtectedAddresses node) =>
        node.Own.Contains(address)
        || (address.IsIPv6 && Embedded(address.Bits) is { } inside && node.Own.Contains(new InetAddress(inside, isIPv6: false)));

    /// <summary>The IPv4 address to which a translator or a tunnel would bring an IPv6 one: IPv4-compatible (RFC 4291), translated
    /// (RFC 2765), NAT64 (RFC 6052 and 8215, whose shorter prefixes put it elsewhere and are the network's own choice), 6to4
    /// (RFC 3056). An IPv4-mapped one is an IPv4 address here already.</summary>
    private static uint? Embedded(UInt128 bits)
    {
        var upper = bits >> 32;
        if (upper == 0 || upper == ((UInt128)0xFFFF << 16) || upper == ((UInt128)0x0064_FF9B << 64) || bits >> 80 == 0x0064_FF9B_0001)
            return (uint)bits;
        return bits >> 112 == 0x2002 ? (uint)(bits >> 80) : null;
    }
}
