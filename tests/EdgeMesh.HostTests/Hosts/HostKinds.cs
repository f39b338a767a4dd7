using System.Collections.Immutable;
using EdgeMesh.Testing.Lab;

namespace EdgeMesh.HostTests.Hosts;

/// <summary>A host as users have it.</summary>
internal sealed record HostKind(string Name, LabHost Host)
{
    /// <summary>Those with this in their name; null: all.</summary>
    public static string? Part { get; } = Environment.GetEnvironmentVariable("EDGEMESH_HOSTS");

    public static ImmutableArray<HostKind> All { get; } =
    [
        new("each pod routed on its own", LabHost.Routed with { HasLan = true }),
        new("bridge", LabHost.Bridge),
        new("bridge without hairpin mode", LabHost.Bridge with { Hairpin = false }),
        new("bridge without netfilter", LabHost.Bridge with { BridgeNetfilter = false }),
        new("bridge without either", LabHost.Bridge with { Hairpin = false, BridgeNetfilter = false }),
        new("two cards", LabHost.Bridge with { ToOtherNode = LabWay.SecondCard }),
        new("VXLAN, strict reverse path", LabHost.Bridge with { ToOtherNode = LabWay.Vxlan, StrictReversePath = true }),
        new("does not forward", LabHost.Bridge with { Forwards = false }),
        new("FORWARD drops (iptables policy, as with Docker)", LabHost.Bridge with { Firewall = LabFirewall.ForwardPolicy }),
        new("INPUT drops (iptables policy)", LabHost.Bridge with { Firewall = LabFirewall.InputPolicy }),
        new("INPUT and FORWARD drop (iptables policies, as with ufw)", LabHost.Bridge with { Firewall = LabFirewall.Policies }),
        new("forward drops (a chain of nft)", LabHost.Bridge with { Firewall = LabFirewall.ForwardChain }),
        new("input drops (a chain of nft)", LabHost.Bridge with { Firewall = LabFirewall.InputChain }),
        new("input and forward drop (chains of nft)", LabHost.Bridge with { Firewall = LabFirewall.Chains }),
        new("firewalld", LabHost.Bridge with { Firewall = LabFirewall.Firewalld }),
        new("the bridge shut to others (as Docker 28 does with its own)", LabHost.Bridge with { Firewall = LabFirewall.ShutBridge }),
        new("no default route", LabHost.Bridge with { HasDefaultRoute = false }),
    ];

    public static ImmutableArray<HostKind> Chosen { get; } = [.. All.Where(kind => Part is null || kind.Name.Contains(Part, StringComparison.Ordinal))];
}

/// <summary>Who asks whom, each by a service of its own, so that the agent's counts tell which connections it carried itself.</summary>
/// <param name="From">A role of the lab.</param>
/// <param name="Endpoints">One per family; none: the client is to be refused at once.</param>
/// <param name="Bound">The client takes the node's own address instead of the one that the route to the service chooses.</param>
internal sealed record Asking(string Name, string From, string[] Endpoints, bool Bound = false)
{
    private static readonly string[] _near = ["10.244.0.12", "fd00:10:244::12"];
    private static readonly string[] _far = [LabAddresses.RemotePod, LabAddresses.RemotePod6];

    public static ImmutableArray<Asking> All { get; } =
    [
        new("pod, of a pod", "client", _near),
        new("pod, of a pod elsewhere", "client", _far),
        new("pod, of itself", "a", ["10.244.0.11", "fd00:10:244::11"]),
        new("pod, of a hostNetwork pod", "client", [LabAddresses.Node, LabAddresses.Node6]),
        new("node, of a pod", "node", _near),
        new("node, of a pod elsewhere", "node", _far),
        new("hostNetwork pod, of a pod", "node", _near, Bound: true),
        new("hostNetwork pod, of a pod elsewhere", "node", _far, Bound: true),
        new("LAN machine, of a pod", "lan", _near),
        new("LAN machine, of a pod elsewhere", "lan", _far),
        new("pod, of nobody", "client", []),
        new("node, of nobody", "node", []),
        new("LAN machine, of nobody", "lan", []),
    ];

    private int Number => All.IndexOf(this) + 1;

    public string Service => $"asked-{Number}";

    public string ClusterIP(bool ipv6) => ipv6 ? $"fd00:10:96:20::{Number}" : $"10.96.20.{Number}";

    /// <summary>As the agent knows it, or kube-proxy: the port at which an endpoint is reached tells them apart.</summary>
    public ManifestService Known(bool byAgent) => new()
    {
        Name = Service,
        ClusterIPs = [ClusterIP(false), ClusterIP(true)],
        Ports =
        [
            new ManifestPort("http", 80, byAgent ? HybridNode.ByAgent : HybridNode.ByKubeProxy),
            new ManifestPort("dns", 53, byAgent ? 5354 : 5353, "UDP"),
        ],
        Endpoints = [.. Endpoints],
        Nodes = Endpoints.Contains(LabAddresses.RemotePod)
            ? ImmutableDictionary.CreateRange(Endpoints.Select(endpoint => KeyValuePair.Create(endpoint, "other-node")))
            : ImmutableDictionary<string, string>.Empty,
    };
}
