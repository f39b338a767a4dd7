using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Takeover;

/// <summary>What two agents say to each other, and who goes on when one of them fails on the way.</summary>
public sealed class HandoverTests
{
    [Fact]
    public async Task ASuccessorKilledBesideTheOldAgentLeavesThatOneInForce()
    {
        var options = Takeovers.Options("iptables", "userspace");
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        var successor = await node.Lab.StartAgentAsync(options with { Arguments = ["--take-over"], WaitUntilReady = false });
        await Eventually.HoldsAsync(() => successor.Log.Contains("rules through", StringComparison.Ordinal), Takeovers.Deadline);
        // Held, the old agent cannot release: the successor listens, has written its rules, and waits.
        node.Agent.Pause();
        await Eventually.HoldsAsync(() => successor.Log.Contains("Listening on", StringComparison.Ordinal), Takeovers.Deadline);

        await successor.KillAsync();
        node.Agent.Resume();

        await Eventually.HoldsAsync(() => node.Agent.Log.Contains("this agent goes on", StringComparison.Ordinal), Takeovers.Deadline);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        await Eventually.StaysAsync(
            async () => (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port, port => port == HybridNode.ByAgent, TimeSpan.FromSeconds(6));
        Assert.Equal(200, (await node.Agent.GetAsync("/healthz")).Status);
        (await node.Lab.RunAsync("node", "iptables-nft", "-t", "nat", "-D", "PREROUTING", "1")).Succeeded();
        await node.UntilFirstAsync(node.RepairDeadline);
    }

    [Theory]
    [InlineData("old", "Listening on")]
    [InlineData("new", "Taking over from")]
    [InlineData("new", "Answering on")]
    public async Task WhicheverOfTheTwoIsKilledTheOtherServesAndAnotherCanTakeOver(string which, string when)
    {
        var options = Takeovers.Options("iptables", "userspace");
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        var successor = await node.Lab.StartAgentAsync(options with { Arguments = ["--take-over"], WaitUntilReady = false });
        await Eventually.SeesAsync(() => successor.Log, log => log.Contains(when, StringComparison.Ordinal), Takeovers.Deadline, $"the successor says '{when}'");

        await (which == "old" ? node.Agent : successor).KillAsync();

        // Whoever is left, or neither: then it was killed after it had taken over, and the old one had ended.
        var left = which == "old" ? successor : node.Agent;
        await Eventually.SeesAsync(
            async () => left.Process.HasExited || (await node.Lab.AskAsync("client", HybridNode.WebAddress, TimeSpan.FromSeconds(1))).Port == HybridNode.ByAgent,
            done => done, Takeovers.Deadline, "the other serves");
        var third = await node.Lab.StartAgentAsync(options with { Arguments = ["--take-over"] });
        await Eventually.SeesAsync(
            async () => (await node.Lab.AskAsync("client", HybridNode.WebAddress, TimeSpan.FromSeconds(1))).Port, port => port == HybridNode.ByAgent, Takeovers.Deadline, "the third serves");
        await Eventually.SeesAsync(() => left.Process.HasExited, ended => ended, Takeovers.Deadline, "the one before has ended");
        Assert.False(third.Process.HasExited, third.Log);
    }

    [Fact]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task ASuccessorThatFailsAtItsLastStepGivesEverythingBack()
    {
        var options = Takeovers.Options("iptables", "userspace");
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        // Its admin address is not on this machine: the last thing that can fail.
        var other = options with
        {
            Arguments = ["--take-over"],
            WaitUntilReady = false,
            Config = options.Config with { CommonConfig = ["adminAddress: 192.0.2.1:9999"] },
        };

        var successor = await node.Lab.StartAgentAsync(other);

        Assert.Equal(1, await successor.Process.WaitForExitAsync(Takeovers.Deadline));
        Assert.Contains("admin address", successor.Log, StringComparison.Ordinal);
        await Eventually.HoldsAsync(() => node.Agent.Log.Contains("this agent goes on", StringComparison.Ordinal), TimeSpan.FromSeconds(20));
        await Eventually.StaysAsync(
            async () => (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port, port => port == HybridNode.ByAgent, TimeSpan.FromSeconds(6));
        Assert.Equal(200, (await node.Agent.GetAsync("/healthz")).Status);
    }

    [Fact]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task AnAgentThatIsToStayWaitsToBeStoppedAfterItHandedOver()
    {
        var options = Takeovers.Options("iptables", "userspace") with { Arguments = ["--when-taken-over", "wait"] };
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);

        var successor = await Takeovers.TakeOverAsync(node, options);

        await Eventually.HoldsAsync(() => node.Agent.Log.Contains("Waiting to be stopped", StringComparison.Ordinal), TimeSpan.FromSeconds(5));
        Assert.False(node.Agent.Process.HasExited);
        Assert.Equal(0, await node.Agent.StopAsync(TimeSpan.FromSeconds(10)));
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);
        Assert.Equal(200, (await successor.GetAsync("/readyz")).Status);
    }

    [Fact]
    public async Task ASecondAgentIsToldHowItCouldTakeOver()
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, HybridNode.Web);

        var second = await node.Lab.StartAgentAsync(new AgentOptions { WaitUntilReady = false });

        Assert.Equal(1, await second.Process.WaitForExitAsync(TimeSpan.FromSeconds(10)));
        Assert.Contains($"process {node.Agent.Id}", second.Log, StringComparison.Ordinal);
        Assert.Contains("--take-over", second.Log, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WithNobodyToTakeOverFromAnAgentJustStarts()
    {
        var options = Takeovers.Options("iptables", "userspace") with { Arguments = ["--take-over"] };
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);

        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
    }
}
