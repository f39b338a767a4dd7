using System.Text;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Coexistence;

public sealed class HijackTests
{
    [Theory]
    [MemberData(nameof(Setups.All), MemberType = typeof(Setups))]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task HandledServicesAreTakenBeforeKubeProxySeesThemAndSpreadOverBothPods(KubeProxyRules kubeProxy, RulesIn rules, Through through)
    {
        var setup = new NodeSetup(kubeProxy, rules, through);
        await using var node = await HybridNode.StartAsync(setup, HybridNode.Web, HybridNode.Dns, HybridNode.Six);
        foreach (var from in (string[])["client", "node"])
        {
            var answers = await node.Lab.AskTimesAsync(from, HybridNode.WebAddress, 20);
            Assert.All(answers, answer => Assert.Equal(HybridNode.ByAgent, answer.Port));
            if (from == "client")
                Assert.All(answers, answer => Assert.Equal(setup.ClientSeen, answer.Client));
            // Each loop of the data path turns by itself; the kernel turns once for all.
            var slack = through == Through.Kernel ? 0 : Math.Min(Environment.ProcessorCount, 9);
            Assert.InRange(answers.Count(answer => answer.Pod == "a"), 10 - slack, 10 + slack);
            Assert.InRange(answers.Count(answer => answer.Pod == "b"), 10 - slack, 10 + slack);

            var six = await node.Lab.AskTimesAsync(from, HybridNode.SixAddress, 10);
            Assert.Equal(["a", "b"], six.Select(answer => answer.Pod).Distinct().Order());

            var pods = new List<string>();
            for (var i = 0; i < 10; i++)
            {
                var answer = Encoding.ASCII.GetString(await node.Lab.AskUdpAsync(from, HybridNode.DnsAddress, "WHO"u8.ToArray()));
                Assert.Contains(":5354 ", answer, StringComparison.Ordinal);
                pods.Add(answer[..1]);
            }

            Assert.Equal(["a", "b"], pods.Distinct().Order());
        }
    }

    [Theory]
    [MemberData(nameof(Setups.BesideKubeProxy), MemberType = typeof(Setups))]
    public async Task KubeProxyRestartingNeverTakesAConnection(KubeProxyRules kubeProxy, RulesIn rules, Through through)
    {
        await using var node = await HybridNode.StartAsync(new NodeSetup(kubeProxy, rules, through), HybridNode.Web);
        using var enough = new CancellationTokenSource();
        var clients = ((string[])["client", "node"]).Select(from => node.AskUntilAsync(from, enough.Token)).ToArray();

        for (var i = 0; i < 3; i++)
            await node.Lab.RestartKubeProxyAsync(kubeProxy);

        await enough.CancelAsync();
        foreach (var ports in await Task.WhenAll(clients))
            Assert.Equal([HybridNode.ByAgent], ports.Distinct());
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent, TimeSpan.FromSeconds(1));
        Assert.Equal(0, await node.RepairsAsync());
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft, "iptables-nft")]
    [InlineData(KubeProxyRules.IptablesLegacy, "iptables-legacy")]
    [InlineData(KubeProxyRules.Nftables, "nftables")]
    public async Task AutoTakesTheBackendThatKubeProxyUses(KubeProxyRules kubeProxy, string backend)
    {
        await using var node = await HybridNode.StartAsync(kubeProxy, HybridNode.Web);

        using var status = System.Text.Json.JsonDocument.Parse((await node.Lab.AgentCommandAsync("status", "--config-file", node.Lab.ConfigFile, "-o", "json")).Succeeded().Output);

        Assert.Equal(backend, status.RootElement.GetProperty("rules").GetProperty("backend").GetString());
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task TheJumpsAreFirstAndEveryHandledPortHasOneRuleInEachPortalChain(KubeProxyRules kubeProxy)
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Beside(kubeProxy, Through.Userspace), HybridNode.Web, HybridNode.Dns);

        var nat = await node.UntilFirstAsync(TimeSpan.FromSeconds(5));

        Assert.Contains("handle ClusterIPs; NOTE: this must be before the NodePort rules", nat.Chain("PREROUTING")[0], StringComparison.Ordinal);
        Assert.Contains("handle ClusterIPs; NOTE: this must be before the NodePort rules", nat.Chain("OUTPUT")[0], StringComparison.Ordinal);
        foreach (var chain in (string[])[HybridNode.Container, HybridNode.Host])
        {
            var web = Assert.Single(nat.Commented(chain, "demo/web:http"));
            Assert.StartsWith("-d 10.96.10.1/32 -p tcp ", web, StringComparison.Ordinal);
            Assert.Contains("--dport 80", web, StringComparison.Ordinal);
            Assert.Contains("-j DNAT --to-destination 169.254.96.16:20007", web, StringComparison.Ordinal);
            var dns = Assert.Single(nat.Commented(chain, "demo/dns:dns"));
            Assert.StartsWith("-d 10.96.10.5/32 -p udp ", dns, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task OnTheKernelPathTheRuleLeadsToAChainOfTheServiceWithItsEndpoints(KubeProxyRules kubeProxy)
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Beside(kubeProxy, Through.Kernel), HybridNode.Web);

        var nat = await node.UntilNatRuleAsync("demo/web:http", stands: true);

        foreach (var chain in (string[])[HybridNode.Container, HybridNode.Host])
        {
            var web = Assert.Single(nat.Commented(chain, "demo/web:http"));
            var service = web[(web.LastIndexOf(' ') + 1)..];
            Assert.StartsWith("EDGEMESH-SVC-", service, StringComparison.Ordinal);
            Assert.Contains(nat.Chain(service), rule => rule.EndsWith("-j DNAT --to-destination 10.244.0.11:8081", StringComparison.Ordinal));
            Assert.Contains(nat.Chain(service), rule => rule.EndsWith("-j DNAT --to-destination 10.244.0.12:8081", StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task TheOtherDocumentsChainNamesAreUsedWhenTheUserWantsThem()
    {
        var config = NodeSetup.Userspace.Config with { ChainPrefix = "KUBE" };
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, config, [HybridNode.Web]);

        var nat = await node.NatAsync();

        Assert.Equal(1, nat.JumpPosition("PREROUTING", "KUBE-PORTALS-CONTAINER"));
        Assert.Equal(1, nat.JumpPosition("OUTPUT", "KUBE-PORTALS-HOST"));
        Assert.Single(nat.Commented("KUBE-PORTALS-CONTAINER", "demo/web:http"));
        Assert.False(nat.HasChain(HybridNode.Container));
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task ChainsThatOlderReleasesLeftAreRemovedAtStart(KubeProxyRules rules)
    {
        var variant = rules == KubeProxyRules.IptablesLegacy ? IptablesVariant.Legacy : IptablesVariant.Nft;
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = rules });
        string[] older = ["EDGE-MESH", "KUBE-PORTALS-CONTAINER", "KUBE-PORTALS-HOST", "KUBE-NODEPORT-CONTAINER", "KUBE-NODEPORT-HOST"];
        foreach (var chain in older)
        {
            var hook = chain.EndsWith("HOST", StringComparison.Ordinal) ? "OUTPUT" : "PREROUTING";
            await lab.IptablesAsync(variant, "-t", "nat", "-N", chain);
            await lab.IptablesAsync(variant, "-t", "nat", "-A", chain, "-d", "10.96.10.9", "-p", "tcp", "--dport", "80", "-j", "DNAT", "--to-destination", "169.254.96.16:40001");
            await lab.IptablesAsync(variant, "-t", "nat", "-I", hook, "-j", chain);
        }

        lab.Manifests.Write(HybridNode.Web);
        await lab.StartAgentAsync();

        var nat = await lab.NatAsync(variant);
        Assert.All(older, chain => Assert.False(nat.HasChain(chain), $"{chain} is still there:\n{nat}"));
        Assert.True(HybridNode.IsFirst(nat), nat.ToString());
        Assert.Equal(2, nat.JumpPosition("PREROUTING", "KUBE-SERVICES"));
    }

    [Fact]
    public async Task TheApiServersOwnServiceIsLeftToKubeProxy()
    {
        var kubernetes = new ManifestService
        {
            Namespace = "default",
            Name = "kubernetes",
            ClusterIPs = ["10.96.0.1"],
            Ports = [new ManifestPort("https", 443, 6443)],
            Endpoints = [LabAddresses.Outside],
        };
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, kubernetes, HybridNode.Web);

        var nat = await node.UntilNatRuleAsync("demo/web:http", stands: true);

        Assert.Empty(nat.Commented(HybridNode.Container, "default/kubernetes:https"));
        Assert.Equal("outside", (await node.Lab.AskAsync("client", "10.96.0.1:443")).Pod);
        Assert.Equal("outside", (await node.Lab.AskAsync("node", "10.96.0.1:443")).Pod);
    }

    [Theory]
    [MemberData(nameof(Setups.IptablesBesideKubeProxy), MemberType = typeof(Setups))]
    public async Task AnIPv6ServiceHasItsRuleInIp6tablesAlone(KubeProxyRules kubeProxy, RulesIn rules, Through through)
    {
        await using var node = await HybridNode.StartAsync(new NodeSetup(kubeProxy, rules, through), HybridNode.Six);

        var nat = await node.Lab.NatAsync(node.Variant, "ip6tables");

        Assert.True(HybridNode.IsFirst(nat), nat.ToString());
        Assert.Single(nat.Commented(HybridNode.Container, "demo/six:http"));
        Assert.Empty((await node.NatAsync()).Commented(HybridNode.Container, "demo/six:http"));
    }
}
