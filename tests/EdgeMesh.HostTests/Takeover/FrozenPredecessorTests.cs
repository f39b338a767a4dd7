using System.Diagnostics;
using System.Net.Sockets;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Takeover;

/// <summary>An old agent that hangs (SIGSTOP) in a phase of the takeover. Until it has released, it is the one that accepts: its clients wait, and
/// then have kube-proxy. After that it is in nobody's way.</summary>
public sealed class FrozenPredecessorTests(ITestOutputHelper output)
{
    private const string Released = "has released";
    private const string Claimed = "has no claim";

    /// <summary>The successor waits for 3 s, and the kernel forgets its last beat after 4 s more.</summary>
    private static readonly TimeSpan LongestGap = TimeSpan.FromSeconds(9);

    /// <summary>Beyond every gap, and in the long form beyond every deadline of the conversation.</summary>
    private static readonly TimeSpan Frozen = TimeSpan.FromSeconds(LongForm.IsAsked ? 75 : 18);

    [Theory]
    [InlineData("Taking over from")]
    [InlineData("rules through")]
    [InlineData("Listening on")]
    [InlineData(Released)]
    [InlineData(Claimed)]
    public Task WhileAnOldAgentHangsClientsAreServedAndThenExactlyOneAgentServes(string when) => Takeovers.UntilCaughtAsync(() => ShowAsync(when));

    /// <returns>False: it did not hang when it should.</returns>
    private async Task<bool> ShowAsync(string when)
    {
        var options = Takeovers.Options("iptables", "userspace");
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        var changing = when is Released or Claimed ? Takeovers.WhenClaimAsync(node.Agent, isTaken: when == Claimed, node.Agent.Pause) : null;
        var successor = await node.Lab.StartAgentAsync(options with { Arguments = ["--take-over"], WaitUntilReady = false });
        if (!await (changing ?? PauseWhenSaidAsync()))
            return false;

        var (gap, answers) = await AskAsync(node, Frozen);
        var isAlone = successor.Log.Contains("Took over from", StringComparison.Ordinal);
        node.Agent.Resume();
        await Eventually.SeesAsync(() => successor.Process.HasExited != node.Agent.Process.HasExited, one => one, Takeovers.Deadline, "exactly one of the two is left");
        output.WriteLine($"the old one frozen at '{when}': {answers} answers meanwhile, none for {gap.TotalSeconds:F1} s at most, {(isAlone ? "the new one went on alone" : "the new one waited")}, then {(successor.Process.HasExited ? "the old one went on" : "the new one took over")}");
        var left = successor.Process.HasExited ? node.Agent : successor;
        await left.UntilReadyAsync(Takeovers.Deadline);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        (await node.Lab.RunAsync("node", "iptables-nft", "-t", "nat", "-D", "PREROUTING", "1")).Succeeded();
        await node.UntilFirstAsync(node.RepairDeadline);

        Assert.InRange(gap, TimeSpan.Zero, when == Claimed ? TimeSpan.FromSeconds(2) : LongestGap);
        Assert.Equal(0, await left.StopAsync());
        return true;

        async Task<bool> PauseWhenSaidAsync()
        {
            await Takeovers.UntilSaidAsync(successor, when);
            node.Agent.Pause();
            return true;
        }
    }

    /// <summary>One connection after the other, of which none may be refused.</summary>
    /// <returns>The longest time without an answer, and the number of answers.</returns>
    private static async Task<(TimeSpan Gap, int Answers)> AskAsync(HybridNode node, TimeSpan time)
    {
        var (watch, last, gap, answers) = (Stopwatch.StartNew(), TimeSpan.Zero, TimeSpan.Zero, 0);
        while (watch.Elapsed < time)
        {
            try
            {
                await node.Lab.AskAsync("client", HybridNode.WebAddress, TimeSpan.FromMilliseconds(500));
                gap = watch.Elapsed - last > gap ? watch.Elapsed - last : gap;
                (last, answers) = (watch.Elapsed, answers + 1);
            }
            catch (Exception e) when (e is OperationCanceledException or TimeoutException || e is SocketException { SocketErrorCode: SocketError.TimedOut or SocketError.OperationAborted })
            {
                // It waits at whoever hangs.
            }
        }

        return (watch.Elapsed - last > gap ? watch.Elapsed - last : gap, answers);
    }
}
