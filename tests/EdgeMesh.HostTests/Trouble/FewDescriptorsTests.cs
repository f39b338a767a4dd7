using System.Net.Sockets;
using EdgeMesh.HostTests.Takeover;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Trouble;

/// <summary>An agent that may open hardly more files than it needs for itself, and clients that use up the rest.</summary>
public sealed class FewDescriptorsTests(ITestOutputHelper output)
{
    private const int Limit = 140;

    [Fact]
    public async Task WhoUsesUpAllDescriptorsTakesNeitherTheProbesNorATakeoverNorTheNextConnection()
    {
        var options = Takeovers.Options("iptables", "userspace") with { Launcher = ["prlimit", $"--nofile={Limit}:{Limit}", "--"] };
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        var own = node.Agent.Facts.Descriptors;
        var held = new List<Socket>();
        for (var i = 0; i < 3 * Limit; i++)
        {
            try
            {
                held.Add(await node.Lab.ConnectAsync("client", HybridNode.WebAddress, TimeSpan.FromSeconds(2)));
            }
            catch (Exception e) when (e is SocketException or TimeoutException or OperationCanceledException)
            {
                // Refused, as whoever has the most.
            }
        }

        Assert.Equal(200, (await node.Agent.GetAsync("/livez")).Status);
        for (var i = 0; i < 20; i++)
            Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("b", HybridNode.WebAddress, TimeSpan.FromSeconds(5))).Port);
        output.WriteLine($"{own} descriptors of {Limit} for itself, {node.Agent.Facts.Descriptors} beside {held.Count} connections that were made");

        var successor = await Takeovers.TakeOverAsync(node, options);
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("b", HybridNode.WebAddress, TimeSpan.FromSeconds(5))).Port);
        held.ForEach(socket => socket.Close(timeout: 0));
        Assert.Equal(0, await node.Agent.Process.WaitForExitAsync(Takeovers.Deadline));
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        Assert.Equal(200, (await successor.GetAsync("/healthz")).Status);
        Assert.Equal(0, await successor.StopAsync());
    }
}
