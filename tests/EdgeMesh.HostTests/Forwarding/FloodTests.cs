using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Forwarding;

/// <summary>One pod floods the user-mode path, and other pods and services are served all the same.</summary>
public sealed class FloodTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    private static string Program([System.Runtime.CompilerServices.CallerFilePath] string file = "") => Path.Combine(Path.GetDirectoryName(file)!, "flood.py");

    [Theory]
    [InlineData("dead")]
    [InlineData("idle")]
    public async Task APodThatFillsTheLimitsOfOneServiceTakesNoPlaceOfAnother(string mode)
    {
        await using var lab = await NamespaceLab.CreateAsync();
        (await lab.RunAsync("node", "ip", "route", "add", "10.244.0.99/32", "dev", "veth-a")).Succeeded();
        lab.Manifests.Write(HybridNode.Web);
        lab.Manifests.Write(mode == "dead" ? HybridNode.Np with { Endpoints = ["10.244.0.99"] } : HybridNode.Np);
        var agent = await lab.StartAgentAsync(new AgentOptions
        {
            Config = new AgentConfig { DataPath = "userspace", EdgeProxy = ["limits:", "  maxConnections: 200", "  maxPendingDials: 64"] },
        });
        var flood = await Flood.StartAsync(lab, Program(), mode, HybridNode.NpAddress);

        // From another pod, and from the one that floods.
        foreach (var role in (string[])["a", "client"])
        {
            foreach (var answer in await lab.AskTimesAsync(role, HybridNode.WebAddress, 20))
                Assert.Equal(HybridNode.ByAgent, answer.Port);
        }

        Assert.InRange(await agent.MetricAsync("edgemesh_tcp_connections_active"), 0, 200);
        await flood.EndAsync();
    }

    [Fact]
    public async Task ConnectionsThatBreakOffInEveryWayNeverGetBytesOfOthersAndLeaveNothingBehind()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, HybridNode.Web);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        var before = node.Agent.Facts.Descriptors;
        var flood = await Flood.StartAsync(node.Lab, Program(), "abort", HybridNode.WebAddress);
        await node.Lab.AskTimesAsync("a", HybridNode.WebAddress, 50);
        await flood.EndAsync();
        Assert.Matches("opened [1-9][0-9]{2,} bytes [1-9][0-9]{6,} FOREIGN 0\n", flood.Log);

        await Eventually.SeesAsync(() => node.Agent.MetricAsync("edgemesh_tcp_connections_active"), active => active == 0, Deadline);
        // Pipes are kept for the next connections, up to a bound.
        await Eventually.SeesAsync(() => node.Agent.Facts.Descriptors - before, more => more < 300, Deadline);
    }

    /// <summary>The program, in the client's pod.</summary>
    private sealed class Flood
    {
        private readonly LabProcess _process;
        private readonly string _stop;

        private Flood(NamespaceLab lab, string program, string mode, string target)
        {
            _stop = Path.Combine(lab.Folder, $"flood-{mode}.stop");
            _process = lab.Start("client", "python3", program, _stop, mode, target);
        }

        public string Log => _process.Log;

        public static async Task<Flood> StartAsync(NamespaceLab lab, string program, string mode, string target)
        {
            var flood = new Flood(lab, program, mode, target);
            await Eventually.SeesAsync(() => flood.Log, log => log.Contains("flooding", StringComparison.Ordinal), Deadline, "the flood has begun");
            return flood;
        }

        public async Task EndAsync()
        {
            await File.WriteAllTextAsync(_stop, "", TestContext.Current.CancellationToken);
            Assert.Equal(0, await _process.WaitForExitAsync(Deadline));
        }
    }
}
