using System.Collections.Immutable;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Netlink;

/// <summary>One network device.</summary>
/// <param name="Kind">In the kernel's words (bridge, veth, vxlan …); empty for hardware and loopback.</param>
/// <param name="Master">Index of the device that it is a port of; 0: of none.</param>
/// <param name="Hairpin">For a bridge port: whether a frame may leave where it came in. Null for what is no bridge port.</param>
/// <param name="FilterIPv4">For a bridge: its own switch that gives bridged IPv4 packets to netfilter.</param>
/// <param name="FilterIPv6">The same for IPv6.</param>
public readonly record struct HostLink(int Index, string Name, string Kind, bool IsUp, int Master, int Mtu, bool? Hairpin, bool FilterIPv4, bool FilterIPv6)
{
    /// <summary>The kernel's number for the network namespace in which the other end of a veth device is; null: in this one, or there is no other end.
    /// Ends of one pod have the same.</summary>
    public int? PeerNamespace { get; init; }
}

/// <param name="Destination">The network's first address.</param>
/// <param name="HasGateway">It leads to another machine that routes further.</param>
public readonly record struct HostRoute(InetAddress Destination, int PrefixLength, int Device, bool HasGateway);

/// <summary>Settings of a device for one family.</summary>
/// <param name="ReversePathFilter">0 off, 1 strict, 2 loose; IPv4 only.</param>
public readonly record struct HostDeviceSettings(bool IsIPv6, int Device, bool Forwarding, int ReversePathFilter);

public enum FilterHook
{
    Input,
    Forward,
}

/// <summary>A chain through which the kernel takes every packet of a hook.</summary>
/// <param name="Family">ip, ip6 or inet.</param>
/// <param name="IsLegacy">It is iptables-legacy's and not one of nf_tables.</param>
/// <param name="PolicyDrops">What no rule decides is dropped.</param>
/// <param name="EndsInDrop">A rule without a condition drops or rejects what no rule before it decides.</param>
public readonly record struct FilterChain(string Family, string Table, string Name, FilterHook Hook, bool IsLegacy, bool PolicyDrops, bool EndsInDrop)
{
    /// <summary>Before it drops, a rule accepts every connection whose destination was translated, as firewalld and others have it:
    /// all of ours are.</summary>
    public bool AcceptsTranslated { get; init; }

    public bool Blocks => (PolicyDrops || EndsInDrop) && !AcceptsTranslated;

    /// <summary>A rule of somebody in its table names one of our IPv4 addresses, and accepts.</summary>
    public bool OpenToIPv4 { get; init; }

    /// <summary>The same for IPv6.</summary>
    public bool OpenToIPv6 { get; init; }

    public bool IsOpenTo(bool ipv6) => ipv6 ? OpenToIPv6 : OpenToIPv4;

    public bool IsOf(bool ipv6) => Family == "inet" || Family == (ipv6 ? "ip6" : "ip");

    public override string ToString() => $"{(IsLegacy ? "iptables-legacy " : "")}{Family} {Table} {Name}";
}

/// <summary>A rule of somebody that drops or rejects what is forwarded to a device from all others, as Docker 28 has it for its bridges
/// (<c>! -i docker0 -o docker0 -j DROP</c>).</summary>
/// <param name="Chain">The chain that it stands in, as <see cref="FilterChain"/> shows one.</param>
/// <param name="Device">Its name; with a plus sign at its end, all names that begin so.</param>
public readonly record struct ShutDevice(string Family, string Chain, string Device)
{
    public bool IsOf(bool ipv6) => Family == "inet" || Family == (ipv6 ? "ip6" : "ip");

    public bool Names(string device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return Device is [.. var start, '+'] ? device.StartsWith(start, StringComparison.Ordinal) : device == Device;
    }
}

/// <summary>What the kernel says of this network namespace at one moment.</summary>
public sealed record HostObservation
{
    public ImmutableArray<HostLink> Links { get; init; } = [];

    public ImmutableArray<NodeAddress> Addresses { get; init; } = [];

    /// <summary>Unicast routes of the main table.</summary>
    public ImmutableArray<HostRoute> Routes { get; init; } = [];

    /// <summary>There were more routes than are read.</summary>
    public bool RoutesCut { get; init; }

    public ImmutableArray<HostDeviceSettings> Settings { get; init; } = [];

    /// <summary>Whether bridged IPv4 packets pass netfilter on every bridge; null: br_netfilter is not loaded, so they do not.</summary>
    public bool? BridgeFilterIPv4 { get; init; }

    /// <summary>The same for IPv6.</summary>
    public bool? BridgeFilterIPv6 { get; init; }

    /// <summary>Base chains at the hooks forward and input, ours left out.</summary>
    public ImmutableArray<FilterChain> FilterChains { get; init; } = [];

    /// <summary>Each device once for each chain that shuts it.</summary>
    public ImmutableArray<ShutDevice> ShutDevices { get; init; } = [];

    /// <summary>Whether the two say the same.</summary>
    public bool IsSameAs(HostObservation other)
    {
        ArgumentNullException.ThrowIfNull(other);
        return Links.AsSpan().SequenceEqual(other.Links.AsSpan())
            && Addresses.AsSpan().SequenceEqual(other.Addresses.AsSpan())
            && Routes.AsSpan().SequenceEqual(other.Routes.AsSpan())
            && RoutesCut == other.RoutesCut
            && Settings.AsSpan().SequenceEqual(other.Settings.AsSpan())
            && BridgeFilterIPv4 == other.BridgeFilterIPv4
            && BridgeFilterIPv6 == other.BridgeFilterIPv6
            && FilterChains.AsSpan().SequenceEqual(other.FilterChains.AsSpan())
            && ShutDevices.AsSpan().SequenceEqual(other.ShutDevices.AsSpan());
    }
}
