using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Coexistence;

public sealed class FilterTests
{
    [Theory]
    [MemberData(nameof(Setups.IptablesBesideKubeProxy), MemberType = typeof(Setups))]
    public async Task ALabelledServiceHasNoRuleAndStaysWithKubeProxy(KubeProxyRules kubeProxy, RulesIn rules, Through through)
    {
        await using var node = await HybridNode.StartAsync(new NodeSetup(kubeProxy, rules, through), HybridNode.Web, HybridNode.Np.Labelled(true));

        var nat = await node.UntilNatRuleAsync("demo/web:http", stands: true);

        Assert.DoesNotContain(nat.Chain(HybridNode.Container), rule => rule.Contains("10.96.10.4", StringComparison.Ordinal));
        Assert.DoesNotContain(nat.Chain(HybridNode.Host), rule => rule.Contains("10.96.10.4", StringComparison.Ordinal));
        Assert.Equal(HybridNode.ByKubeProxy, (await node.Lab.AskAsync("client", HybridNode.NpAddress)).Port);
        Assert.Equal(HybridNode.ByKubeProxy, (await node.Lab.AskAsync("node", HybridNode.NpAddress)).Port);
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task InTheOtherModeOnlyLabelledServicesAreHandled(KubeProxyRules rules)
    {
        var setup = NodeSetup.Beside(rules, Through.Userspace);
        await using var node = await HybridNode.StartAsync(setup, setup.Config with { ServiceFilterMode = "FilterIfLabelDoesNotExists" }, [HybridNode.Web, HybridNode.Np.Labelled(true)]);

        var nat = await node.UntilNatRuleAsync("demo/np:http", stands: true);

        Assert.Empty(nat.Commented(HybridNode.Container, "demo/web:http"));
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.NpAddress)).Port);
        Assert.Equal(HybridNode.ByKubeProxy, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);
    }

    [Theory]
    [MemberData(nameof(Setups.BesideKubeProxy), MemberType = typeof(Setups))]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task ALabelThatComesAndGoesTakesEffectInTheRunningAgent(KubeProxyRules kubeProxy, RulesIn rules, Through through)
    {
        await using var node = await HybridNode.StartAsync(new NodeSetup(kubeProxy, rules, through), HybridNode.Web);
        await node.UntilRuleAsync("demo/web:http", stands: true);

        node.Lab.Manifests.Write(HybridNode.Web.Labelled(true));
        await node.UntilRuleAsync("demo/web:http", stands: false);
        Assert.Equal(HybridNode.ByKubeProxy, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);

        node.Lab.Manifests.Write(HybridNode.Web.Labelled(false));
        await node.UntilRuleAsync("demo/web:http", stands: true);
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);
        Assert.False(node.Agent.Process.HasExited);
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task AChangedFilterModeTakesEffectInTheRunningAgent(KubeProxyRules rules)
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Beside(rules, Through.Kernel), HybridNode.Web, HybridNode.Np.Labelled(true));
        await node.UntilRuleAsync("demo/web:http", stands: true);

        node.Lab.Configure(node.Setup.Config with { ServiceFilterMode = "FilterIfLabelDoesNotExists" });

        await node.UntilRuleAsync("demo/np:http", stands: true);
        await node.UntilRuleAsync("demo/web:http", stands: false);
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.NpAddress)).Port);
        Assert.Equal(HybridNode.ByKubeProxy, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);
    }

    [Fact]
    public async Task ABrokenConfigurationFileLeavesTheLastGoodOneInForce()
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, HybridNode.Web);

        node.Lab.Configure(node.Setup.Config with { ServiceFilterMode = "FilterSometimes" });

        await Eventually.HoldsAsync(() => node.Agent.Log.Contains("FilterSometimes", StringComparison.Ordinal), TimeSpan.FromSeconds(10));
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);
    }

    [Fact]
    public async Task ABrokenManifestIsNamedAndTheGoodOnesStayInForce()
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, HybridNode.Web);

        node.Lab.Manifests.WriteText("broken.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: broken, namespace: demo\nspec: [");
        node.Lab.Manifests.Write(HybridNode.Np);

        await node.UntilRuleAsync("demo/np:http", stands: true);
        await Eventually.HoldsAsync(() => node.Agent.Log.Contains("broken.yaml", StringComparison.Ordinal), TimeSpan.FromSeconds(5));
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);
    }
}
