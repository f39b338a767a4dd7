using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Coexistence;

/// <summary>Whatever happens to the order, our jumps come back to the front in time, kube-proxy's stay, and nobody fights.</summary>
public sealed class OrderTests
{
    [Theory]
    [MemberData(nameof(Setups.IptablesBesideKubeProxy), MemberType = typeof(Setups))]
    public Task SomebodyInsertingAboveUsDoesNotTakeTheOrder(KubeProxyRules kubeProxy, RulesIn rules, Through through) => IsRepairedAsync(new NodeSetup(kubeProxy, rules, through), async node =>
    {
        await node.Lab.IptablesAsync(node.Variant, "-t", "nat", "-I", "PREROUTING", "-m", "comment", "--comment", "of somebody", "-j", "KUBE-SERVICES");
        await node.Lab.IptablesAsync(node.Variant, "-t", "nat", "-I", "OUTPUT", "-m", "comment", "--comment", "of somebody", "-j", "KUBE-SERVICES");
    });

    [Theory]
    [MemberData(nameof(Setups.IptablesBesideKubeProxy), MemberType = typeof(Setups))]
    public Task KubeProxyInsertingItsMissingJumpDoesNotTakeTheOrder(KubeProxyRules kubeProxy, RulesIn rules, Through through) => IsRepairedAsync(new NodeSetup(kubeProxy, rules, through), async node =>
    {
        foreach (var chain in (string[])["PREROUTING", "OUTPUT"])
            await node.Lab.IptablesAsync(node.Variant, "-t", "nat", "-D", chain, "-m", "comment", "--comment", "kubernetes service portals", "-j", "KUBE-SERVICES");
        await node.Lab.KubeProxySyncAsync(node.Variant);
    });

    [Theory]
    [MemberData(nameof(Setups.IptablesBesideKubeProxy), MemberType = typeof(Setups))]
    [Trait(Ring.Name, Ring.Kernels)]
    public Task AFlushedNatTableIsFilledAgain(KubeProxyRules kubeProxy, RulesIn rules, Through through) => IsRepairedAsync(new NodeSetup(kubeProxy, rules, through), async node =>
    {
        await node.Lab.EmptyNatAsync(node.Variant);
        // kube-proxy notices by its canary in mangle and writes everything again, with its jumps at 1.
        await node.Lab.IptablesAsync(node.Variant, "-t", "mangle", "-F");
        await node.Lab.IptablesAsync(node.Variant, "-t", "mangle", "-X");
        await node.Lab.IptablesAsync(node.Variant, "-t", "filter", "-F");
        await node.Lab.IptablesAsync(node.Variant, "-t", "filter", "-X");
        await node.Lab.StartKubeProxyAsync(kubeProxy);
    });

    [Theory]
    [MemberData(nameof(Setups.IptablesBesideKubeProxy), MemberType = typeof(Setups))]
    public Task OurFlushedChainsAreFilledAgain(KubeProxyRules kubeProxy, RulesIn rules, Through through) => IsRepairedAsync(new NodeSetup(kubeProxy, rules, through), async node =>
    {
        await node.Lab.IptablesAsync(node.Variant, "-t", "nat", "-F", HybridNode.Container);
        await node.Lab.IptablesAsync(node.Variant, "-t", "nat", "-F", HybridNode.Host);
    });

    [Theory]
    [MemberData(nameof(Setups.IptablesBesideKubeProxy), MemberType = typeof(Setups))]
    public Task OurDeletedJumpsComeBack(KubeProxyRules kubeProxy, RulesIn rules, Through through) => IsRepairedAsync(new NodeSetup(kubeProxy, rules, through), async node =>
    {
        await node.Lab.IptablesAsync(node.Variant, "-t", "nat", "-D", "PREROUTING", "1");
        await node.Lab.IptablesAsync(node.Variant, "-t", "nat", "-D", "OUTPUT", "1");
    });

    [Theory]
    [MemberData(nameof(Setups.IptablesBesideKubeProxy), MemberType = typeof(Setups))]
    public Task ADeletedRuleOfAServiceComesBack(KubeProxyRules kubeProxy, RulesIn rules, Through through) => IsRepairedAsync(new NodeSetup(kubeProxy, rules, through), async node =>
    {
        foreach (var chain in (string[])[HybridNode.Container, HybridNode.Host])
        {
            var nat = await node.NatAsync();
            var place = nat.Chain(chain).IndexOf(nat.Commented(chain, "demo/web:http")[0]) + 1;
            await node.Lab.IptablesAsync(node.Variant, "-t", "nat", "-D", chain, $"{place}");
        }
    });

    [Fact]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task KubeProxyStartingLaterDoesNotTakeTheOrder()
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.None, HybridNode.Web);

        await node.Lab.StartKubeProxyAsync(KubeProxyRules.IptablesNft);

        var nat = await node.UntilFirstAsync(node.RepairDeadline);
        Assert.Equal(2, nat.JumpPosition("PREROUTING", "KUBE-SERVICES"));
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("node", HybridNode.WebAddress)).Port);
    }

    [Fact]
    public async Task WhenNobodyDisturbsTheOrderNothingIsWritten()
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, HybridNode.Web);
        await node.Lab.KubeProxySyncAsync(node.Variant);
        var monitor = node.Lab.Start("node", "nft", "monitor", "rules");
        var before = await node.NatAsync();

        await Eventually.StaysAsync(node.NatAsync, nat => nat.Chain("PREROUTING").SequenceEqual(before.Chain("PREROUTING")), TimeSpan.FromSeconds(3));

        Assert.Equal("", monitor.Log);
        Assert.Equal(0, await node.RepairsAsync());
    }

    private static async Task IsRepairedAsync(NodeSetup setup, Func<HybridNode, Task> disturb)
    {
        await using var node = await HybridNode.StartAsync(setup, HybridNode.Web);
        await node.UntilFirstAsync(TimeSpan.FromSeconds(5));
        await node.UntilRuleAsync("demo/web:http", stands: true);

        await disturb(node);

        await Eventually.SeesAsync(
            node.NatAsync,
            nat => HybridNode.IsFirst(nat)
                && nat.Commented(HybridNode.Container, "demo/web:http").Length == 1
                && nat.Commented(HybridNode.Host, "demo/web:http").Length == 1
                && nat.JumpPosition("PREROUTING", "KUBE-SERVICES") > 1
                && nat.JumpPosition("OUTPUT", "KUBE-SERVICES") > 1,
            node.RepairDeadline);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent, TimeSpan.FromSeconds(1));
        await node.UntilAnsweredAsync("node", HybridNode.WebAddress, HybridNode.ByAgent, TimeSpan.FromSeconds(1));

        // A disturbance of several commands may be met half-way and once more at its end, and each thing that was put right counts. Then it is
        // quiet, and again after kube-proxy has synced, which may put its jumps in front once more, one after the other.
        var repairs = await UntilQuietAsync(node);
        Assert.NotEqual(0, repairs);
        await node.Lab.KubeProxySyncAsync(node.Variant);
        Assert.InRange(await UntilQuietAsync(node), repairs, repairs * 2);
        Assert.True(HybridNode.IsFirst(await node.NatAsync()));
    }

    /// <returns>How many repairs there have been.</returns>
    private static Task<double> UntilQuietAsync(HybridNode node) => Eventually.SeesAsync(
        async () =>
        {
            var repairs = await node.RepairsAsync();
            await Eventually.StaysAsync(node.RepairsAsync, count => count == repairs, TimeSpan.FromSeconds(1));
            return repairs;
        },
        repairs => repairs >= 0,
        TimeSpan.FromSeconds(15),
        "nothing has been repaired for a second");
}
