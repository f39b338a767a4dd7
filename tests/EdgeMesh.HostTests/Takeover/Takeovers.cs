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
}
