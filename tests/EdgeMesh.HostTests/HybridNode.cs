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
    public const string NpAddress = "10.96.10.4:80";
    public const string DnsAddress = "10.96.10.5:53";
    public const string SixAddress = "[fd00:10:96::1]:80";

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

    /// <summary>Of IPv6 alone; kube-proxy's recorded rules do not know it.</summary>
    public static ManifestService Six { get; } = new()
    {
        Name = "six",
        ClusterIPs = ["fd00:10:96::1"],
        Ports = [new ManifestPort("http", 80, 8081)],
        Endpoints = ["fd00:10:244::11", "fd00:10:244::12"],
    };

    private AgentConfig _config = new();

    private HybridNode(NamespaceLab lab, NodeSetup setup)
    {
        Lab = lab;
        Setup = setup;
    }

    public NamespaceLab Lab { get; }

    public NodeSetup Setup { get; }

    /// <summary>The variant of iptables in which the agent's rules are to be.</summary>
    public IptablesVariant Variant => Setup.Variant;

    public AgentProcess Agent { get; private set; } = null!;

    /// <summary>The longest time until a disturbed order is put right: netlink tells of changes on nft; legacy must be looked at.</summary>
    public TimeSpan RepairDeadline => TimeSpan.FromSeconds(Variant == IptablesVariant.Nft ? 2 : 5);

    /// <summary>With the program's default configuration.</summary>
    public static Task<HybridNode> StartAsync(KubeProxyRules rules, params ReadOnlySpan<ManifestService> services) =>
        StartAsync(NodeSetup.Beside(rules, Through.Kernel), new AgentConfig(), services.ToImmutableArray());

    public static Task<HybridNode> StartAsync(NodeSetup setup, params ReadOnlySpan<ManifestService> services) =>
        StartAsync(setup, setup.Config, services.ToImmutableArray());

    public static async Task<HybridNode> StartAsync(NodeSetup setup, AgentConfig config, ImmutableArray<ManifestService> services)
    {
        var node = new HybridNode(await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = setup.KubeProxy }), setup);
        try
        {
            if (setup is { KubeProxy: KubeProxyRules.None, Rules: not RulesIn.Nftables })
                await node.Lab.StartKubeletAsync(setup.Variant);
            foreach (var service in services)
                node.Lab.Manifests.Write(service);
            node._config = config;
            await node.RestartAgentAsync();
            return node;
        }
        catch
        {
            await node.DisposeAsync();
            throw;
        }
    }

    /// <summary>With all that an agent can be started with.</summary>
    public static Task<HybridNode> StartAsync(KubeProxyRules rules, AgentOptions options, params ReadOnlySpan<ManifestService> services)
    {
        var written = services.ToImmutableArray();
        return StartAsync(rules, lab =>
        {
            foreach (var service in written)
                lab.Manifests.Write(service);
            return Task.FromResult(options);
        });
    }

    /// <param name="prepare">Puts what the agent will find into the lab, and says how to start it.</param>
    public static async Task<HybridNode> StartAsync(KubeProxyRules rules, Func<NamespaceLab, Task<AgentOptions>> prepare)
    {
        var node = new HybridNode(await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = rules }), NodeSetup.Beside(rules, Through.Kernel));
        try
        {
            await node.RestartAgentAsync(await prepare(node.Lab));
            return node;
        }
        catch
        {
            await node.DisposeAsync();
            throw;
        }
    }

    public async Task RestartAgentAsync(AgentOptions options) => Agent = await Lab.StartAgentAsync(options);

    public async Task RestartAgentAsync() => Agent = await Lab.StartAgentAsync(new AgentOptions { Config = _config });

    public Task<NatTable> NatAsync() => Lab.NatAsync(Variant);

    /// <summary>Waits until the rule of an IPv4 service port stands, or does not: in iptables in both portal chains.</summary>
    public async Task UntilRuleAsync(string comment, bool stands, TimeSpan? deadline = null)
    {
        if (Setup.Rules != RulesIn.Nftables)
        {
            await UntilNatRuleAsync(comment, stands, deadline);
            return;
        }

        await Eventually.SeesAsync(
            () => Lab.RunAsync("node", "nft", "list", "map", "ip", "edgemesh", "portals"),
            listed => listed.Output.Contains($"comment \"{comment}\"", StringComparison.Ordinal) == stands,
            deadline ?? TimeSpan.FromSeconds(5),
            $"the element of {comment} {(stands ? "stands" : "is gone")}");
    }

    public Task<NatTable> UntilNatRuleAsync(string comment, bool stands, TimeSpan? deadline = null) => Eventually.SeesAsync(
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

    /// <summary>Asks one connection after the other; the first that fails fails the task.</summary>
    /// <returns>The ports at which pods were reached, in order.</returns>
    public async Task<List<int>> AskUntilAsync(string from, CancellationToken enough)
    {
        var answers = new List<int>();
        while (!enough.IsCancellationRequested)
            answers.Add((await Lab.AskAsync(from, WebAddress, TimeSpan.FromSeconds(5))).Port);
        return answers;
    }

    public Task<double> RepairsAsync() => Agent.MetricAsync("edgemesh_order_repairs_total");

    public ValueTask DisposeAsync() => Lab.DisposeAsync();
}
