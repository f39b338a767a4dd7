using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Nftables;

[Trait(Ring.Name, Ring.Kernels)]
public sealed class DirectAgentTests
{
    [Fact]
    public async Task AChangeOfOneServiceGoesStraightToTheKernelAndIsNotTakenForSomebodyElses()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Beside(KubeProxyRules.Nftables, Through.Kernel), HybridNode.Web, HybridNode.Np);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        var repairs = await node.RepairsAsync();

        // One endpoint less, another service gone, and it comes back.
        node.Lab.Manifests.Write(HybridNode.Web with { Endpoints = ["10.244.0.12"] });
        await UntilAppliedAsync(node, 1);
        Assert.Equal("10.244.0.12", (await node.Lab.AskTimesAsync("client", HybridNode.WebAddress, 4)).Select(a => a.Endpoint.Split(':')[0]).Distinct().Single());
        node.Lab.Manifests.Remove(HybridNode.Np);
        await UntilAppliedAsync(node, 2);
        await node.UntilRuleAsync("demo/np:http", stands: false);
        node.Lab.Manifests.Write(HybridNode.Np);
        await UntilAppliedAsync(node, 3);
        await node.UntilAnsweredAsync("client", HybridNode.NpAddress, HybridNode.ByAgent);

        Assert.Equal(0, await node.Agent.MetricAsync("edgemesh_direct_rule_changes_total", "result=\"refused\""));
        Assert.Equal(repairs, await node.RepairsAsync());
        Assert.Contains("3 changes without the nft program", (await node.Lab.AgentCommandAsync("status")).Succeeded().Output, StringComparison.Ordinal);
    }

    private static Task<double> UntilAppliedAsync(HybridNode node, int count) => Eventually.SeesAsync(
        () => node.Agent.MetricAsync("edgemesh_direct_rule_changes_total", "result=\"applied\""),
        applied => applied == count,
        TimeSpan.FromSeconds(5),
        $"{count} changes went straight to the kernel");
}
