using System.Net.Sockets;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.BadInput;

/// <summary>Clients that connect through the user-mode path and say nothing.</summary>
public sealed class SilentClientTests(ITestOutputHelper output)
{
    [Fact]
    public async Task SilentClientsAreBoundedCostNothingAndAreProbed()
    {
        var options = new AgentOptions { Config = new AgentConfig { DataPath = "userspace", EdgeProxy = ["limits:", "  maxConnections: 200"] } };
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        var silent = new List<Socket>();
        try
        {
            // A refusal may come before the client has seen that it was connected, or after.
            var refusedAtOnce = 0;
            for (var i = 0; i < 250; i++)
            {
                try
                {
                    silent.Add(await node.Lab.ConnectAsync("client", HybridNode.WebAddress));
                }
                catch (SocketException reset) when (reset.SocketErrorCode == SocketError.ConnectionReset)
                {
                    refusedAtOnce++;
                }
            }

            // Beyond the bound a client is refused at once instead of being left to wait.
            await Eventually.SeesAsync(() => refusedAtOnce + silent.Count(s => s.Poll(0, SelectMode.SelectRead)), refused => refused == 50, TimeSpan.FromSeconds(10));
            Assert.Equal(200, await node.Agent.MetricAsync("edgemesh_tcp_connections_active"));
            // The clients' sockets are probed from the start, those to the endpoints once a connection has lasted ten seconds.
            await Eventually.SeesAsync(
                async () => (await node.Lab.RunAsync("node", "ss", "-Htno", "state", "established")).Succeeded().Output
                    .Split('\n').Count(line => line.Contains("timer:(keepalive", StringComparison.Ordinal)),
                probed => probed is >= 400 and < 500,
                TimeSpan.FromSeconds(20));

            var before = node.Agent.Facts;
            await Eventually.StaysAsync(() => Task.FromResult(node.Agent.Process.HasExited), exited => !exited, TimeSpan.FromSeconds(5));
            var cost = node.Agent.Facts.ProcessorTime - before.ProcessorTime;
            output.WriteLine($"200 silent connections: {cost.TotalMilliseconds / 50:0.0} % of a core");
            Assert.InRange(cost, TimeSpan.Zero, TimeSpan.FromMilliseconds(250));
        }
        finally
        {
            foreach (var socket in silent)
                socket.Dispose();
        }

        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        await Eventually.SeesAsync(() => node.Agent.MetricAsync("edgemesh_tcp_connections_active"), active => active == 0, TimeSpan.FromSeconds(10));
    }
}
