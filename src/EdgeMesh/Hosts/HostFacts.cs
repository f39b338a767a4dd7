using System.Collections.Immutable;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Hosts;

/// <summary>A bridge with nothing but pods behind it.</summary>
/// <param name="Ranges">Addresses of the family behind it.</param>
/// <param name="IsFiltered">What goes from one port to another passes netfilter, so that answers are translated back.</param>
/// <param name="Hairpin">A frame may leave every port by which it came.</param>
/// <param name="Pods">The network namespaces behind its ports, by the kernel's numbers.</param>
public sealed record PodBridge(string Name, ImmutableArray<AddressRange> Ranges, bool IsFiltered, bool Hairpin, ImmutableArray<int> Pods)
{
    /// <summary>Some pod stands on both, with an address of each.</summary>
    public bool SharesPodsWith(PodBridge other) => Pods.Any(other.Pods.Contains);
}

/// <summary>What this node is like for one address family.</summary>
public sealed record HostFamilyFacts
{
    public ImmutableArray<PodBridge> Bridges { get; init; } = [];

    /// <summary>Addresses of pods that have a device of their own, routed one by one.</summary>
    public ImmutableArray<AddressRange> RoutedPods { get; init; } = [];

    /// <summary>Devices that packets of pods and endpoints pass, and that do not forward; <c>all</c>: none does.</summary>
    public ImmutableArray<string> NotForwarding { get; init; } = [];

    public bool HasDefaultRoute { get; init; }

    /// <summary>Rules of others that shut one of these bridges to everybody behind other devices; each with the bridge's name.</summary>
    public ImmutableArray<ShutDevice> ShutBridges { get; init; } = [];

    /// <summary>Chains of others that drop what no rule of theirs accepts, and are not open to the listener.</summary>
    public ImmutableArray<FilterChain> Blockers { get; init; } = [];
}

/// <summary>This node as far as it matters to what the kernel can carry: immutable, made of one observation.</summary>
public sealed record HostFacts
{
    // A node whose pods are routed one by one has a block of addresses for them; past this many its block stands for them.
    private const int MostRoutedInBlock = 8;
    private const int BlockBits = 6;

    public required HostFamilyFacts IPv4 { get; init; }

    public required HostFamilyFacts IPv6 { get; init; }

    /// <param name="listenDevice">The agent's own device, which carries no pods.</param>
    public static HostFacts From(HostObservation observation, string listenDevice)
    {
        ArgumentNullException.ThrowIfNull(observation);
        return new HostFacts
        {
            IPv4 = Family(observation, ipv6: false, listenDevice),
            IPv6 = Family(observation, ipv6: true, listenDevice),
        };
    }

    private static HostFamilyFacts Family(HostObservation observation, bool ipv6, string listenDevice)
    {
        var routes = observation.Routes.Where(route => route.Destination.IsIPv6 == ipv6 && !IsLinkLocal(route.Destination)).ToList();
        var ways = routes.Where(route => route.HasGateway).Select(route => route.Device).ToHashSet();
        var bridges = PodBridges(observation, routes, ipv6, listenDevice);
        var pods = observation.Links.Where(link => link is { IsUp: true, Kind: "veth", Master: 0 } && !ways.Contains(link.Index)).Select(link => link.Index).ToHashSet();
        var routed = routes.Where(route => pods.Contains(route.Device) && route.PrefixLength == (ipv6 ? 128 : 32)).ToList();
        var carriers = observation.Links
            .Where(link => link.IsUp && (ways.Contains(link.Index) || bridges.Any(bridge => bridge.Name == link.Name) || routed.Exists(route => route.Device == link.Index)))
            .ToList();
        return new HostFamilyFacts
        {
            Bridges = bridges,
            RoutedPods = Blocks(routed.Select(route => route.Destination), ipv6),
            NotForwarding = NotForwarding(observation, carriers, ipv6),
            HasDefaultRoute = routes.Exists(route => route.PrefixLength == 0),
            ShutBridges = [.. bridges.SelectMany(bridge => observation.ShutDevices.Where(shut => shut.IsOf(ipv6) && shut.Names(bridge.Name)).Select(shut => shut with { Device = bridge.Name }))],
            Blockers = [.. observation.FilterChains.Where(chain => chain.IsOf(ipv6) && chain.Blocks && !chain.IsOpenTo(ipv6))],
        };
    }

    private static ImmutableArray<PodBridge> PodBridges(HostObservation observation, List<HostRoute> routes, bool ipv6, string listenDevice)
    {
        var bridges = ImmutableArray.CreateBuilder<PodBridge>();
        foreach (var bridge in observation.Links.Where(link => link is { Kind: "bridge", IsUp: true } && link.Name != listenDevice))
        {
            var ports = observation.Links.Where(link => link.Master == bridge.Index).ToList();
            // A port that is no end of a pod (hardware, a VLAN, a tunnel) brings machines of elsewhere.
            if (ports.Exists(port => port.Kind is not ("veth" or "tun")))
                continue;
            var ranges = routes.Where(route => route.Device == bridge.Index && !route.HasGateway)
                .Select(route => new AddressRange(route.Destination, route.PrefixLength)).Where(range => range.PrefixLength > 0).Distinct().ToImmutableArray();
            if (ranges.IsEmpty)
                continue;
            var everywhere = ipv6 ? observation.BridgeFilterIPv6 : observation.BridgeFilterIPv4;
            // The bridge's own switch works only with the module, which alone makes the node's.
            var filtered = everywhere is { } on && (on || (ipv6 ? bridge.FilterIPv6 : bridge.FilterIPv4));
            bridges.Add(new PodBridge(
                bridge.Name, ranges, filtered, ports.TrueForAll(port => port.Hairpin == true), [.. ports.Select(port => port.PeerNamespace).OfType<int>().Distinct()]));
        }

        return bridges.DrainToImmutable();
    }

    /// <summary>The kernel asks the device by which an IPv4 packet came, but for IPv6 only the node as a whole.</summary>
    private static ImmutableArray<string> NotForwarding(HostObservation observation, List<HostLink> carriers, bool ipv6)
    {
        const int all = -1;
        bool Forwards(int device) => observation.Settings.Any(s => s.IsIPv6 == ipv6 && s.Device == device && s.Forwarding);
        if (ipv6 || carriers.Count == 0)
            return Forwards(all) ? [] : ["all"];
        var silent = carriers.Where(link => !Forwards(link.Index)).Select(link => link.Name).ToImmutableArray();
        return silent.Length == carriers.Count && !Forwards(all) ? ["all"] : silent;
    }

    private static ImmutableArray<AddressRange> Blocks(IEnumerable<InetAddress> addresses, bool ipv6)
    {
        var ranges = ImmutableArray.CreateBuilder<AddressRange>();
        var width = ipv6 ? 128 : 32;
        foreach (var block in addresses.Distinct().GroupBy(address => new AddressRange(address, width - BlockBits).Network).OrderBy(group => group.Key.Bits))
        {
            if (block.Count() >= MostRoutedInBlock)
                ranges.Add(new AddressRange(block.Key, width - BlockBits));
            else
                ranges.AddRange(block.OrderBy(address => address.Bits).Select(AddressRange.Of));
        }

        return ranges.DrainToImmutable();
    }

    private static bool IsLinkLocal(InetAddress address) => address.IsIPv6 && address.Bits >> 118 == 0x3FA;
}
