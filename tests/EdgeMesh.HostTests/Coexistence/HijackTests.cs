using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Coexistence;

public sealed class HijackTests
{
    [Theory]
    [InlineData(KubeProxyRules.IptablesNft, "client")]
    [InlineData(KubeProxyRules.IptablesNft, "node")]
    [InlineData(KubeProxyRules.IptablesLegacy, "client")]
    [InlineData(KubeProxyRules.IptablesLegacy, "node")]
    [InlineData(KubeProxyRules.Nftables, "client")]
    [InlineData(KubeProxyRules.Nftables, "node")]
    [InlineData(KubeProxyRules.None, "client")]
    [InlineData(KubeProxyRules.None, "node")]
    public async Task AHandledServiceIsTakenBeforeKubeProxySeesItAndSpreadOverBothPods(KubeProxyRules rules, string from)
    {
        await using var node = await HybridNode.StartAsync(rules, HybridNode.Web);

        var answers = await node.Lab.AskTimesAsync(from, HybridNode.WebAddress, 20);

        Assert.All(answers, answer => Assert.Equal(HybridNode.ByAgent, answer.Port));
        Assert.Equal(10, answers.Count(answer => answer.Pod == "a"));
        Assert.Equal(10, answers.Count(answer => answer.Pod == "b"));
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task TheJumpsAreFirstAndEveryHandledPortHasOneRuleInEachPortalChain(KubeProxyRules rules)
    {
        await using var node = await HybridNode.StartAsync(rules, HybridNode.Web, HybridNode.Dns);

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

    [Fact]
    public async Task TheOtherDocumentsChainNamesAreUsedWhenTheUserWantsThem()
    {
        var options = new AgentOptions { Config = new AgentConfig { ChainPrefix = "KUBE" } };
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);

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

        var nat = await node.UntilRuleAsync("demo/web:http", stands: true);

        Assert.Empty(nat.Commented(HybridNode.Container, "default/kubernetes:https"));
        Assert.Equal("outside", (await node.Lab.AskAsync("client", "10.96.0.1:443")).Pod);
        Assert.Equal("outside", (await node.Lab.AskAsync("node", "10.96.0.1:443")).Pod);
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task AnIPv6ServiceIsHandledAsAnIPv4One(KubeProxyRules rules)
    {
        var six = new ManifestService
        {
            Name = "six",
            ClusterIPs = ["fd00:10:96::1"],
            Ports = [new ManifestPort("http", 80, 8081)],
            Endpoints = ["fd00:10:244::11", "fd00:10:244::12"],
        };
        await using var node = await HybridNode.StartAsync(rules, six);

        foreach (var from in (string[])["client", "node"])
        {
            var answers = await node.Lab.AskTimesAsync(from, "[fd00:10:96::1]:80", 10);
            Assert.Equal(["a", "b"], answers.Select(answer => answer.Pod).Distinct().Order());
        }

        var nat = await node.Lab.NatAsync(node.Variant, "ip6tables");
        Assert.True(HybridNode.IsFirst(nat), nat.ToString());
        Assert.Single(nat.Commented(HybridNode.Container, "demo/six:http"));
    }
}
