using System.Collections.Immutable;
using EdgeMesh.Testing.Lab;

namespace EdgeMesh.HostTests;

/// <summary>A node on which kube-proxy's rules stand and the agent runs, and the words in which tests speak of it.</summary>
/// <remarks>The manifests send a service to port 8081 (UDP: 5354) of the pods, kube-proxy's recorded rules to 8080 (5353):
/// the port at which a pod was reached tells who sent the client there.</remarks>
internal sealed class HybridNode : IAsyncDisposable
{
    public const int ByAgent = 8081;
    public const int ByKubeProxy = 8080;

    public const string Container = "EDGEMESH-PORTALS-CONTAINER";
    public const string Host = "EDGEMESH-PORTALS-HOST";

    public const string WebAddress = "10.96.10.1:80";

    public static ManifestService Web { get; } = new()
    {
        Name = "web",
        ClusterIPs = ["10.96.10.1"],
        Ports = [new ManifestPort("http", 80, 8081)],
        Endpoints = ["10.244.0.11", "10.244.0.12"],
    };

    public static ManifestService Np { get; } = new()
    {
        Name = "np",
        ClusterIPs = ["10.96.10.4"],
        Ports = [new ManifestPort("http", 80, 8081)],
        Endpoints = ["10.244.0.41", "10.244.0.42"],
    };

    public static ManifestService Dns { get; } = new()
    {
        Name = "dns",
        ClusterIPs = ["10.96.10.5"],
        Ports = [new ManifestPort("dns", 53, 5354, "UDP")],
        Endpoints = ["10.244.0.51", "10.244.0.52"],
    };

    private HybridNode(NamespaceLab lab, KubeProxyRules rules)
    {
        Lab = lab;
        Variant = rules == KubeProxyRules.IptablesLegacy ? IptablesVariant.Legacy : IptablesVariant.Nft;
    }

    public NamespaceLab Lab { get; }

    /// <summary>The variant that kube-proxy uses, which the agent is to choose too.</summary>
    public IptablesVariant Variant { get; }

    public AgentProcess Agent { get; private set; } = null!;

    /// <summary>The longest time until a disturbed order is put right: netlink tells of changes on nft; legacy must be looked at.</summary>
    public TimeSpan RepairDeadline => TimeSpan.FromSeconds(Variant == IptablesVariant.Nft ? 1 : 5);

    public static Task<HybridNode> StartAsync(KubeProxyRules rules, params ReadOnlySpan<ManifestService> services) =>
        StartAsync(rules, new AgentOptions(), services.ToImmutableArray());

    public static async Task<HybridNode> StartAsync(KubeProxyRules rules, AgentOptions options, ImmutableArray<ManifestService> services)
    {
        var node = new HybridNode(await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = rules }), rules);
        try
        {
            foreach (var service in services)
                node.Lab.Manifests.Write(service);
            node.Agent = await node.Lab.StartAgentAsync(options);
            return node;
        }
        catch
        {
            await node.DisposeAsync();
            throw;
        }
    }

    public async Task RestartAgentAsync() => Agent = await Lab.StartAgentAsync();

    public Task<NatTable> NatAsync() => Lab.NatAsync(Variant);

    /// <summary>Waits until the rule of a service port is in both portal chains, or in none.</summary>
    public Task<NatTable> UntilRuleAsync(string comment, bool stands, TimeSpan? deadline = null) => Eventually.SeesAsync(
        NatAsync,
        nat => nat.Commented(Container, comment).IsEmpty != stands && nat.Commented(Host, comment).IsEmpty != stands,
        deadline ?? TimeSpan.FromSeconds(5),
        $"the rule of {comment} {(stands ? "stands" : "is gone")}");

    /// <summary>Waits until both of our jumps are first, once each.</summary>
    public Task<NatTable> UntilFirstAsync(TimeSpan deadline) => Eventually.SeesAsync(
        NatAsync,
        IsFirst,
        deadline,
        "the portal jumps are first in PREROUTING and OUTPUT, once each");

    public static bool IsFirst(NatTable nat) =>
        nat.JumpPosition("PREROUTING", Container) == 1 && nat.JumpCount("PREROUTING", Container) == 1
        && nat.JumpPosition("OUTPUT", Host) == 1 && nat.JumpCount("OUTPUT", Host) == 1;

    /// <summary>Waits until a service is answered by way of the agent, or of kube-proxy.</summary>
    /// <param name="by"><see cref="ByAgent"/> or <see cref="ByKubeProxy"/>.</param>
    public Task<Answer> UntilAnsweredAsync(string role, string target, int by, TimeSpan? deadline = null) => Eventually.SeesAsync(
        () => Lab.AskAsync(role, target, TimeSpan.FromSeconds(1)),
        answer => answer.Port == by,
        deadline ?? TimeSpan.FromSeconds(5),
        $"{target} is answered by way of {(by == ByAgent ? "the agent" : "kube-proxy")}");

    public Task<double> RepairsAsync() => Agent.MetricAsync("edgemesh_order_repairs_total");

    public ValueTask DisposeAsync() => Lab.DisposeAsync();
}
