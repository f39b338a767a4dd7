using System.Collections.Immutable;
using EdgeMesh.Hosts;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Tests.Hosts;

/// <summary>An ordinary node, as an observation to be changed: a card with the default route, a bridge with two pods, a pod that is
/// routed alone, forwarding and bridge netfilter on.</summary>
internal static class TestHost
{
    public const int All = -1, Card = 2, OwnDevice = 3, Bridge = 4, FirstPort = 5, SecondPort = 6, RoutedPod = 7;

    public static HostObservation Ordinary { get; } = new()
    {
        Links =
        [
            Link(Card, "eth0", ""), Link(OwnDevice, "edgemesh0", "bridge"), Link(Bridge, "cni0", "bridge"),
            Link(FirstPort, "veth1", "veth") with { Master = Bridge, Hairpin = true },
            Link(SecondPort, "veth2", "veth") with { Master = Bridge, Hairpin = true },
            Link(RoutedPod, "cali1", "veth"),
        ],
        Addresses = [new NodeAddress(InetAddress.Parse("192.168.1.2"), 24, "eth0", "", IsGlobal: true)],
        Routes =
        [
            Route("0.0.0.0/0", Card, gateway: true), Route("192.168.1.0/24", Card), Route("10.244.1.0/24", Bridge), Route("10.245.7.9/32", RoutedPod),
            Route("::/0", Card, gateway: true), Route("fd00:244::/64", Bridge), Route("fe80::/64", Bridge),
        ],
        Settings =
        [
            .. new[] { All, Card, OwnDevice, Bridge, RoutedPod }.SelectMany(device =>
                (HostDeviceSettings[])[new(IsIPv6: false, device, Forwarding: true, 0), new(IsIPv6: true, device, Forwarding: true, 0)]),
        ],
        BridgeFilterIPv4 = true,
        BridgeFilterIPv6 = true,
    };

    public static HostLink Link(int index, string name, string kind) => new(index, name, kind, IsUp: true, 0, 1500, null, false, false);

    public static HostRoute Route(string range, int device, bool gateway = false)
    {
        var parsed = AddressRange.Parse(range);
        return new HostRoute(parsed.Address, parsed.PrefixLength, device, gateway);
    }

    public static HostObservation With(this HostObservation observation, int device, Func<HostLink, HostLink> change) =>
        observation with { Links = [.. observation.Links.Select(link => link.Index == device ? change(link) : link)] };

    public static HostObservation WithoutForwarding(this HostObservation observation, params int[] devices) => observation with
    {
        Settings = [.. observation.Settings.Select(s => devices.Contains(s.Device) ? s with { Forwarding = false } : s)],
    };

    public static HostObservation WithChain(this HostObservation observation, FilterChain chain) =>
        observation with { FilterChains = observation.FilterChains.Add(chain) };

    public static HostCarriages Decide(this HostObservation observation, HostPolicy? policy = null) =>
        HostDecision.Decide(HostFacts.From(observation, "edgemesh0"), policy ?? new HostPolicy
        {
            OwnFilterIsLegacy = false,
            Listeners = [InetAddress.Parse("169.254.96.16"), InetAddress.Parse("fd0e:6d65:7368::10")],
        });
}
