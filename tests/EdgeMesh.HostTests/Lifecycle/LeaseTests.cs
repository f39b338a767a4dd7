using System.Diagnostics;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Lifecycle;

public sealed class LeaseTests
{
    private static readonly TimeSpan _lease = TimeSpan.FromSeconds(5);

    /// <summary>At no moment is anybody left without an answer.</summary>
    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    [InlineData(KubeProxyRules.Nftables)]
    public async Task KernelPathRulesOutliveAnAgentThatNeverReturnsByTheirLeaseAndNotLonger(KubeProxyRules kubeProxy)
    {
        var setup = NodeSetup.Beside(kubeProxy, Through.Kernel);
        await using var node = await HybridNode.StartAsync(setup, setup.Config with { EdgeProxy = [$"ruleLease: {_lease.TotalSeconds}s"] }, [HybridNode.Web]);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent, TimeSpan.FromSeconds(1));
        await node.UntilAnsweredAsync("node", HybridNode.WebAddress, HybridNode.ByAgent, TimeSpan.FromSeconds(1));

        // While the agent runs its lease does not end.
        await Eventually.StaysAsync(
            () => node.Lab.AskAsync("client", HybridNode.WebAddress), answer => answer.Port == HybridNode.ByAgent, _lease + TimeSpan.FromSeconds(1.5));

        var gone = Stopwatch.StartNew();
        await node.Agent.KillAsync();
        await Eventually.SeesAsync(
            () => node.Lab.AskAsync("client", HybridNode.WebAddress, TimeSpan.FromSeconds(5)),
            answer => answer.Port == HybridNode.ByKubeProxy,
            _lease + TimeSpan.FromSeconds(3),
            "kube-proxy has the service back");
        // The last renewal was up to two seconds before the kill.
        Assert.InRange(gone.Elapsed, _lease - TimeSpan.FromSeconds(2.5), _lease + TimeSpan.FromSeconds(2));
        Assert.Equal(HybridNode.ByKubeProxy, (await node.Lab.AskAsync("node", HybridNode.WebAddress)).Port);

        // An agent that comes back after all has its services again at once.
        await node.RestartAgentAsync();
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent, TimeSpan.FromSeconds(1));
    }
}
