using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Takeover;

/// <summary>A successor that hangs (SIGSTOP) in a phase of the takeover, and goes on later or does not. It has the old agent's
/// sockets by then, and no client may end up with it.</summary>
public sealed class FrozenSuccessorTests(ITestOutputHelper output)
{
    /// <summary>Between <c>released</c> and <c>standing</c>.</summary>
    private const string Claimed = "has the claim";

    /// <summary>In the long form beyond every deadline of the conversation.</summary>
    private static readonly TimeSpan Frozen = TimeSpan.FromSeconds(LongForm.IsAsked ? 75 : 18);

    [Theory]
    [InlineData("Taking over from")]
    [InlineData("rules through")]
    [InlineData("Listening on")]
    [InlineData(Claimed)]
    public Task WhileASuccessorHangsTheOldAgentServesAndThenExactlyOneDoes(string when) => Takeovers.UntilCaughtAsync(() => ShowAsync(when));

    /// <returns>False: the successor had said already that it stands when it was frozen.</returns>
    private async Task<bool> ShowAsync(string when)
    {
        var options = Takeovers.Options("iptables", "userspace");
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web, HybridNode.Dns]);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        var successor = await node.Lab.StartAgentAsync(options with { Arguments = ["--take-over"], WaitUntilReady = false });
        if (!await FreezeAtAsync(node, successor, when))
            return false;
        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client", "client");
        try
        {
            await Eventually.StaysAsync(
                async () => await node.Lab.AskUdpAsync("client", HybridNode.DnsAddress, "WHO"u8.ToArray(), TimeSpan.FromSeconds(2)), answer => answer.Length > 0, Frozen);
        }
        catch (Exception) when (when == Claimed && HasHandedOver(node.Agent))
        {
            return false;
        }

        Assert.False(node.Agent.Process.HasExited);
        var whileFrozen = clients.Answers;
        successor.Resume();

        // Whichever it is: it stands by itself, and the other one has ended.
        await Eventually.SeesAsync(() => successor.Process.HasExited != node.Agent.Process.HasExited, one => one, Takeovers.Deadline, "exactly one of the two is left");
        output.WriteLine($"frozen at '{when}': {whileFrozen} answers of the old agent meanwhile, then {(successor.Process.HasExited ? "the old one went on" : "the new one took over")}");
        Assert.True(await clients.AllAnsweredAsync(HybridNode.ByAgent) > whileFrozen);
        var left = successor.Process.HasExited ? node.Agent : successor;
        await left.UntilReadyAsync(Takeovers.Deadline);
        (await node.Lab.RunAsync("node", "iptables-nft", "-t", "nat", "-D", "PREROUTING", "1")).Succeeded();
        await node.UntilFirstAsync(node.RepairDeadline);
        Assert.Equal(0, await left.StopAsync());
        return true;
    }

    [Fact]
    public async Task ASuccessorThatHangsForGoodIsNamedAndAnotherTakesOverOnceItHasEnded()
    {
        var options = Takeovers.Options("iptables", "userspace");
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        var frozen = await node.Lab.StartAgentAsync(options with { Arguments = ["--take-over"], WaitUntilReady = false });
        Assert.True(await FreezeAtAsync(node, frozen, "Listening on"));
        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client");

        var refused = await node.Lab.StartAgentAsync(options with { Arguments = ["--take-over"], WaitUntilReady = false });
        Assert.Equal(1, await refused.Process.WaitForExitAsync(Takeovers.Deadline));
        Assert.Contains("does not hand over", refused.Log, StringComparison.Ordinal);

        await frozen.KillAsync();
        await Eventually.HoldsAsync(() => node.Agent.Log.Contains("this agent goes on", StringComparison.Ordinal), Takeovers.Deadline);
        await Takeovers.TakeOverAsync(node, options);
        Assert.Equal(0, await node.Agent.Process.WaitForExitAsync(Takeovers.Deadline));
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
    }

    private static bool HasHandedOver(AgentProcess old) => old.Log.Contains("has taken over:", StringComparison.Ordinal);

    /// <returns>False: that moment was over before.</returns>
    private static async Task<bool> FreezeAtAsync(HybridNode node, AgentProcess successor, string when)
    {
        if (when == Claimed)
            return await Takeovers.WhenClaimAsync(node.Agent, isTaken: true, successor.Pause) && !HasHandedOver(node.Agent);

        if (when == "Listening on")
        {
            // Held, the old agent cannot release: the successor listens, has written its rules, and waits.
            await Takeovers.UntilSaidAsync(successor, "rules through");
            node.Agent.Pause();
        }

        await Takeovers.UntilSaidAsync(successor, when);
        successor.Pause();
        node.Agent.Resume();
        return true;
    }
}
