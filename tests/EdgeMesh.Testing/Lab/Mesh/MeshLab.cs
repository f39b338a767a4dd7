using System.Collections.Immutable;

namespace EdgeMesh.Testing.Lab.Mesh;

/// <summary>Nodes in the cloud and in two LANs behind NAT, each with a pod, all of network namespaces.
/// <code>
///                  198.51.100.0/24 (namespace wan)
///   cloud .1 ──┬── relay .2 ──┬── nat-1 .11 ──┬── nat-2 .12
///    pod 10.244.1.10           │ 192.168.1.0/24 │ 192.168.2.0/24
///                            edge-1 .10      edge-2 .10
///                             pod 10.244.2.10 pod 10.244.3.10
/// </code>
/// The routers masquerade, and let nothing in that was not asked for. Every node has besides its pod network a bridge
/// 172.17.0.1/16 with a pod 172.17.0.2, as hosts with Docker have: the same everywhere.</summary>
public sealed class MeshLab : IAsyncDisposable
{
    private const string Psk = "q1Zt0mXw7Lr4Yc9Vb2Ns6Kd8Hf3Jg5Ta1Pe0Uo7Iz4w=";

    private readonly Dictionary<string, NetworkNamespace> _namespaces = new(StringComparer.Ordinal);
    private readonly Dictionary<string, MeshLabNode> _nodes = new(StringComparer.Ordinal);
    private readonly List<IAsyncDisposable> _running = [];

    private MeshLab(string name)
    {
        Name = name;
        Folder = Directory.CreateTempSubdirectory(name + "-").FullName;
        Manifests = new ManifestFolder(Path.Combine(Folder, "manifests"));
    }

    public string Name { get; }

    public string Folder { get; }

    /// <summary>What the cluster says, the same to every agent.</summary>
    public ManifestFolder Manifests { get; }

    public MeshLabNode Cloud => _nodes["cloud"];

    /// <summary>A second relay, which runs nothing else.</summary>
    public MeshLabNode Relay => _nodes["relay"];

    public MeshLabNode Edge1 => _nodes["edge-1"];

    public MeshLabNode Edge2 => _nodes["edge-2"];

    public IEnumerable<MeshLabNode> Nodes => _nodes.Values;

    /// <param name="delay">One-way delay between the LAN of edge-1 and the rest, by a line of two TUN devices; null: none.</param>
    public static async Task<MeshLab> CreateAsync(TimeSpan? delay = null)
    {
        await LabRequirements.CheckAsync();
        await LabLeftovers.RemoveAsync();
        var lab = new MeshLab(LabLeftovers.NewName());
        try
        {
            await lab.BuildAsync(delay);
            return lab;
        }
        catch
        {
            await lab.DisposeAsync();
            throw;
        }
    }

    public NetworkNamespace this[string role] => _namespaces[role];

    public Task<CommandResult> RunAsync(string role, string file, params string[] arguments) =>
        CommandResult.RunAsync(file, arguments, inside: this[role]);

    public Task IpAsync(string role, params string[] commands) => IpBatch.RunAsync(NameOf(role), commands);

    /// <summary>Writes the configuration of every node with these relays, and starts all agents that do not run.</summary>
    public Task StartAgentsAsync(params MeshLabNode[] relays) => StartAgentsAsync(relays, relays);

    /// <param name="ofEdges">The relays in the files of nodes that are none.</param>
    public Task StartAgentsAsync(MeshLabNode[] relays, MeshLabNode[] ofEdges) => Task.WhenAll(Nodes.Select(async node =>
    {
        node.Configure(relays.Contains(node) ? relays : ofEdges);
        await node.StartAsync();
    }));

    /// <summary>Publishes a service whose endpoints are the pods of these nodes.</summary>
    public void Publish(string name, string clusterIP, int port, string protocol, params MeshLabNode[] nodes) =>
        Publish(name, clusterIP, port, protocol, nodes.Select(node => (node.PodAddress, node)));

    public void Publish(string name, string clusterIP, int port, string protocol, IEnumerable<(string Address, MeshLabNode Node)> endpoints) =>
        Manifests.Write(new ManifestService
        {
            Name = name,
            ClusterIPs = [clusterIP],
            Ports = [new ManifestPort("main", port, port, protocol)],
            Endpoints = [.. endpoints.Select(endpoint => endpoint.Address)],
            Nodes = endpoints.ToImmutableDictionary(endpoint => endpoint.Address, endpoint => endpoint.Node.Name),
        });

    /// <summary>A route between the two LANs, as a VPN of the site would make it: the routers know each other's networks.</summary>
    public async Task OpenRouteBetweenLansAsync()
    {
        await IpAsync("nat-1", "route replace 192.168.2.0/24 via 198.51.100.12", "route replace 10.244.3.0/24 via 198.51.100.12");
        await IpAsync("nat-2", "route replace 192.168.1.0/24 via 198.51.100.11", "route replace 10.244.2.0/24 via 198.51.100.11");
    }

    public async Task CloseRouteBetweenLansAsync()
    {
        await IpAsync("nat-1", "route del 192.168.2.0/24", "route del 10.244.3.0/24");
        await IpAsync("nat-2", "route del 192.168.1.0/24", "route del 10.244.2.0/24");
    }

    public async ValueTask DisposeAsync()
    {
        for (var i = _running.Count - 1; i >= 0; i--)
            await _running[i].DisposeAsync();
        foreach (var node in _nodes.Values)
            await node.DisposeAsync();
        foreach (var space in _namespaces.Values)
            space.Dispose();
        await LabLeftovers.RemoveNamespacesAsync(_namespaces.Values);
        if (Directory.Exists(Folder))
            Directory.Delete(Folder, recursive: true);
    }

    internal string NameOf(string role) => $"{Name}-{role}";

    private async Task BuildAsync(TimeSpan? delay)
    {
        string[] roles = ["wan", "nat-1", "nat-2", .. MeshLabNode.All.SelectMany(node => (string[])[node.Name, node.PodRole])];
        await IpBatch.RunAsync(null, roles.Select(role => $"netns add {NameOf(role)}"));
        var batch = new IpBatch(NameOf);
        foreach (var role in roles)
        {
            var space = new NetworkNamespace(NameOf(role));
            _namespaces.Add(role, space);
            space.SetSysctl("ipv4/ip_forward", "1");
            space.SetSysctl("ipv4/conf/all/rp_filter", "0");
            space.SetSysctl("ipv4/conf/default/rp_filter", "0");
            batch.In(role, "link set lo up");
        }

        batch.In("wan", "link add wan0 type bridge", "link set wan0 up", "addr add 198.51.100.254/24 dev wan0");
        BuildRouter(batch, "nat-1", "198.51.100.11", "192.168.1.1", delay);
        BuildRouter(batch, "nat-2", "198.51.100.12", "192.168.2.1", delay: null);
        foreach (var plan in MeshLabNode.All)
        {
            if (plan.Router is null)
                JoinWan(batch, plan.Name, plan.Address);
            else
                JoinLan(batch, plan);
            BuildPod(batch, plan);
        }

        await batch.RunAsync();
        if (delay is not null)
            this["wan"].SetSysctl("ipv4/conf/wan0/proxy_arp", "1");
        await MasqueradeAsync("nat-1", delay is null ? "eth0" : "line");
        await MasqueradeAsync("nat-2", "eth0");
        foreach (var plan in MeshLabNode.All)
            _nodes.Add(plan.Name, new MeshLabNode(this, plan, Psk));
    }

    private static void JoinWan(IpBatch batch, string role, string address)
    {
        batch.Wire("wan", $"to-{role}", role, "eth0");
        batch.In("wan", $"link set to-{role} master wan0 up");
        batch.In(role, "link set eth0 up", $"addr add {address}/24 dev eth0");
    }

    private void BuildRouter(IpBatch batch, string role, string address, string inside, TimeSpan? delay)
    {
        if (delay is { } time)
        {
            _running.Add(DelayLine.Open(this[role], this["wan"], "line", time));
            batch.In("wan", "link set line up", $"route add {address}/32 dev line");
            batch.In(role, "link set line up", $"addr add {address}/32 dev line", "route add 198.51.100.0/24 dev line");
        }
        else
        {
            JoinWan(batch, role, address);
        }

        batch.In(role, "link add lan0 type bridge", "link set lan0 up", $"addr add {inside}/24 dev lan0");
    }

    /// <summary>From outside only answers come in, and the other LAN where a route to it was opened.</summary>
    private async Task MasqueradeAsync(string role, string outside)
    {
        var rules =
            $"""
            *nat
            -A POSTROUTING -d 10.244.0.0/16 -j ACCEPT
            -A POSTROUTING -o {outside} ! -d 192.168.0.0/16 -j MASQUERADE
            COMMIT
            *filter
            -A FORWARD -i {outside} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
            -A FORWARD -i {outside} -s 192.168.0.0/16 -j ACCEPT
            -A FORWARD -i {outside} -s 10.244.0.0/16 -j ACCEPT
            -A FORWARD -i {outside} -j DROP
            COMMIT

            """;
        (await CommandResult.RunAsync("iptables-nft-restore", [], rules, inside: this[role])).Succeeded();
    }

    private static void JoinLan(IpBatch batch, MeshLabNodePlan node)
    {
        batch.Wire(node.Router!, $"to-{node.Name}", node.Name, "eth0");
        batch.In(node.Router!, $"link set to-{node.Name} master lan0 up", $"route add {node.PodNetwork} via {node.Address}");
        var gateway = node.Address[..node.Address.LastIndexOf('.')] + ".1";
        batch.In(node.Name, "link set eth0 up", $"addr add {node.Address}/24 dev eth0", $"route add default via {gateway}");
    }

    private static void BuildPod(IpBatch batch, MeshLabNodePlan node)
    {
        batch.Wire(node.Name, "to-pod", node.PodRole, "eth0");
        batch.Wire(node.Name, "to-docker", node.PodRole, "eth1");
        batch.In(
            node.Name,
            "link add cni0 type bridge", "link set cni0 up", $"addr add {node.Gateway}/24 dev cni0",
            "link add docker0 type bridge", "link set docker0 up", "addr add 172.17.0.1/16 dev docker0",
            "link set to-pod master cni0 up", "link set to-docker master docker0 up");
        batch.In(
            node.PodRole,
            "link set eth0 up", $"addr add {node.PodAddress}/24 dev eth0", $"route add default via {node.Gateway}",
            "link set eth1 up", "addr add 172.17.0.2/16 dev eth1");
    }
}
