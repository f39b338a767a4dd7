using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Hosts;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Netfilter.Iptables;
using EdgeMesh.Planning;
using static EdgeMesh.Agent.Options.KeyKinds;

namespace EdgeMesh.Agent.Options;

internal static class EdgeProxyKeys
{
    public static readonly ConfigKey<bool> ProxyEnable = Boolean("modules.edgeProxy.enable", false, "Without it no service is handled.");

    public static readonly ConfigKey<ServiceFilterMode> FilterMode = new("modules.edgeProxy.serviceFilterMode",
        "FilterIfLabelExists | FilterIfLabelDoesNotExists", ServiceFilterMode.FilterIfLabelExists,
        "What the label service.edgemesh.kubeedge.io/service-proxy-name does to a service: FilterIfLabelExists leaves labelled services to kube-proxy, FilterIfLabelDoesNotExists handles only those.",
        ValueReaders.Word(new OrderedDictionary<string, ServiceFilterMode>
        {
            ["FilterIfLabelExists"] = ServiceFilterMode.FilterIfLabelExists,
            ["FilterIfLabelDoesNotExists"] = ServiceFilterMode.FilterIfLabelDoesNotExists,
        }), v => v.ToString())
    {
        Live = true,
    };

    public static readonly ConfigKey<ImmutableArray<ObjectName>> ExcludeServices = new("modules.edgeProxy.excludeServices", "list of NAMESPACE/NAME",
        [new("default", "kubernetes"), new("kube-system", "kube-dns"), new("kube-system", "coredns")],
        "Services that are never handled, whatever their labels. A list of yours takes the place of the default.",
        ValueReaders.Services, v => $"[{string.Join(", ", v)}]")
    {
        Reason = "an agent that takes over the API server or the cluster DNS can cut off its own way to them",
        Live = true,
    };

    private static readonly OrderedDictionary<string, AddressKinds> _addressKinds = new()
    {
        ["clusterIP"] = AddressKinds.ClusterIP,
        ["externalIP"] = AddressKinds.ExternalIP,
        ["loadBalancerIP"] = AddressKinds.LoadBalancerIP,
    };

    public static readonly ConfigKey<AddressKinds> TakenAddresses = new("modules.edgeProxy.addressKinds", $"list of {string.Join(", ", _addressKinds.Keys)}", AddressKinds.All,
        "Which addresses of a handled service are taken from kube-proxy. Node ports are left to it, and so are addresses outside of the cluster with externalTrafficPolicy: Local or loadBalancerSourceRanges.",
        ValueReaders.Words(_addressKinds, (one, other) => one | other), v => $"[{string.Join(", ", _addressKinds.Where(kind => v.HasFlag(kind.Value)).Select(kind => kind.Key))}]")
    {
        Reason = "whoever asks a service by an address of its load balancer gets what those inside of the cluster get: the health of endpoints, and the tunnel",
    };

    public static readonly ConfigKey<ChainPrefix> Prefix = Word("modules.edgeProxy.chainPrefix", ChainPrefix.EdgeMesh,
        new OrderedDictionary<string, ChainPrefix> { ["EDGEMESH"] = ChainPrefix.EdgeMesh, ["KUBE"] = ChainPrefix.Kube },
        "Names of the chains in the nat table: EDGEMESH-PORTALS-… or KUBE-PORTALS-….",
        "both names are documented by EdgeMesh, and users' scripts and alerts look for one of them");

    public static readonly ConfigKey<RuleBackend> Backend = Word("modules.edgeProxy.backend", RuleBackend.Auto,
        new OrderedDictionary<string, RuleBackend> { ["auto"] = RuleBackend.Auto, ["iptables"] = RuleBackend.Iptables, ["nftables"] = RuleBackend.Nftables },
        "Who carries the rules. auto takes what kube-proxy uses on this node, and moves the rules when kube-proxy comes later or changes; before it comes, kubelet's hint decides.",
        "beside a kube-proxy in nftables mode only a native table keeps its place; elsewhere iptables is what people can read");

    public static readonly ConfigKey<DataPath> Path = Word("modules.edgeProxy.dataPath", DataPath.Auto,
        new OrderedDictionary<string, DataPath> { ["auto"] = DataPath.Auto, ["userspace"] = DataPath.Userspace, ["kernel"] = DataPath.Kernel },
        "Who forwards. auto: the kernel wherever it can express what a service asks for, the agent's own process for the rest. userspace: everything through the process. kernel: what the kernel cannot express is left to kube-proxy.",
        "the Go agent carries every byte through its process; the kernel does it without a copy, and also while the agent restarts");

    public static readonly ConfigKey<BalancingPolicy> Balancing = Word("modules.edgeProxy.loadBalancer.policy", BalancingPolicy.RoundRobin,
        new OrderedDictionary<string, BalancingPolicy> { ["ROUND_ROBIN"] = BalancingPolicy.RoundRobin, ["RANDOM"] = BalancingPolicy.Random },
        "How connections are spread over the endpoints of a service that asks for no session affinity.",
        "one word for all services; the Go agent has it per service through Istio's DestinationRule");

    public static readonly ConfigKey<bool> MasqueradeAll = Boolean("modules.edgeProxy.masqueradeAll", false,
        "On the kernel path, give every connection this node's address as its source.",
        "where pods have no way back to the client's address; without it this node's pods keep theirs");

    public static readonly ConfigKey<LocalDetection> DetectLocal = Word("modules.edgeProxy.detectLocal", LocalDetection.Auto,
        new OrderedDictionary<string, LocalDetection>
        {
            ["auto"] = LocalDetection.Auto,
            ["podCIDR"] = LocalDetection.PodCidr,
            ["bridge"] = LocalDetection.Bridge,
            ["clusterCIDR"] = LocalDetection.ClusterCidr,
        },
        "How this node's own pods are known, which keep their address on the kernel path; every other client is masqueraded. podCIDR: spec.podCIDRs of its Node object. bridge: its bridges, and pods that are routed one by one. clusterCIDR: the key below. auto: all three.",
        "as kube-proxy's detectLocalMode; a node that knows none of its pods' addresses masquerades everybody, which always works");

    public static readonly ConfigKey<ImmutableArray<IPNetwork>> ClusterRanges = new("modules.edgeProxy.clusterCIDR", "list of CIDR", [],
        "Address ranges of the cluster's pods, one of each family at most where there are several. What comes from them is not masqueraded.",
        CidrReader.ReadOneOrMore, v => $"[{string.Join(", ", v)}]")
    {
        Reason = "as kube-proxy's clusterCIDR, whose form with commas is read too",
    };

    public static readonly ConfigKey<int> ListenPort = Port("modules.edgeProxy.listenPort", 20007,
        "Port of the user-mode proxy on the device, TCP and UDP.",
        "one port for all services, where the Go agent took a random port for each; change it where something else on the device's address has it");

    public static readonly ConfigKey<TimeSpan> DrainTimeout = Duration("modules.edgeProxy.drainTimeout", TimeSpan.FromSeconds(25), TimeSpan.Zero, TimeSpan.FromMinutes(10),
        "How long connections may go on after SIGTERM. A pod's terminationGracePeriodSeconds must be longer.",
        "connections end by themselves where they can, and the pod still ends in time", live: true);

    public static readonly ConfigKey<TimeSpan> RuleLease = Duration("modules.edgeProxy.ruleLease", TimeSpan.FromMinutes(15), TimeSpan.FromSeconds(5), TimeSpan.FromHours(24),
        "How long kernel-path rules stay in force after the agent was last there. Then kube-proxy has the services.",
        "a restart or an upgrade leaves no gap, and an agent that never comes back leaves no rules that lead to endpoints of long ago");

    public static readonly ConfigKey<int> MaxConnections = Integer("modules.edgeProxy.limits.maxConnections", 0, 0, 4_000_000,
        "Connections at once. 0: as many as the limit of open files allows. When they are used up, the client or service with most gives way.",
        "a flood must not exhaust the node");

    public static readonly ConfigKey<int> MaxPendingDials = Integer("modules.edgeProxy.limits.maxPendingDials", 1024, 1, 65_536,
        "Connections to endpoints that are being made at once. When they are used up, the service or client with most gives way.",
        "dead endpoints must not hold everything up");

    public static readonly ConfigKey<int> MaxUdpFlows = Integer("modules.edgeProxy.limits.maxUdpFlows", 4096, 1, 1_000_000,
        "UDP clients at once; above it a flow that was idle long goes, of the client or service with most.",
        "every flow holds a descriptor");

    public static IReadOnlyList<ConfigKey> All { get; } =
        [ProxyEnable, FilterMode, ExcludeServices, TakenAddresses, Prefix, Backend, Path, Balancing, MasqueradeAll, DetectLocal, ClusterRanges, ListenPort, DrainTimeout, RuleLease, MaxConnections, MaxPendingDials, MaxUdpFlows];
}
