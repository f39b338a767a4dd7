using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Takeover;

/// <summary>What the tests of one agent taking over from another share.</summary>
internal static class Takeovers
{
    /// <summary>For a start beside another agent, on a machine that is busy.</summary>
    public static readonly TimeSpan Deadline = TimeSpan.FromSeconds(40);

    public static AgentOptions Options(string backend, string dataPath) => new()
    {
        Config = new AgentConfig { Backend = backend, DataPath = dataPath, EdgeProxy = ["drainTimeout: 300s"] },
    };

    public static async Task<AgentProcess> TakeOverAsync(HybridNode node, AgentOptions options)
    {
        var successor = await node.Lab.StartAgentAsync(options with { Arguments = [.. options.Arguments, "--take-over"], WaitUntilReady = false });
        await Eventually.SeesAsync(
            () => successor.Log,
            log => log.Contains("Took over from", StringComparison.Ordinal) || successor.Process.HasExited,
            Deadline,
            "the successor says that it took over");
        Assert.False(successor.Process.HasExited, successor.Log);
        return successor;
    }

    public static Task<string> UntilSaidAsync(AgentProcess agent, string words) =>
        Eventually.SeesAsync(() => agent.Log, log => log.Contains(words, StringComparison.Ordinal), Deadline, $"the agent says '{words}'");

    /// <summary>Tries a moment of a takeover that lasts for milliseconds, with one takeover after the other until it was caught.</summary>
    /// <param name="tryAsync">Answers false when the moment was over before it could be used, as happens on a busy machine.</param>
    public static async Task UntilCaughtAsync(Func<Task<bool>> tryAsync)
    {
        for (var left = 5; left > 0; left--)
        {
            if (await tryAsync())
                return;
        }

        Assert.Fail("Five takeovers in turn were over before the moment could be used.");
    }

    /// <summary>Waits, looking all the time, for the moment at which the old agent has given up the claim, or the new one has it.</summary>
    /// <param name="act">Done at once then.</param>
    /// <returns>False: the old agent had ended before it was seen.</returns>
    public static Task<bool> WhenClaimAsync(AgentProcess inNetwork, bool isTaken, Action act)
    {
        var first = Claims();
        return Task.Run(() =>
        {
            var end = TimeProvider.System.GetUtcNow() + Deadline;
            while (TimeProvider.System.GetUtcNow() < end)
            {
                if (Claims() is not { } now)
                    return false;
                if (isTaken ? !now.IsSubsetOf(first!) : !first!.IsSubsetOf(now))
                {
                    act();
                    return true;
                }
            }

            Assert.Fail("The claim did not change hands.");
            return false;
        });

        HashSet<string>? Claims()
        {
            try
            {
                return [.. File.ReadLines($"/proc/{inNetwork.Id}/net/unix")
                    .Select(line => line.Split(' ')[^1]).Where(name => name.StartsWith("@edgemesh-agent-", StringComparison.Ordinal))];
            }
            catch (IOException)
            {
                // It has ended, and its file with it.
                return null;
            }
        }
    }
}
