using System.Net.Sockets;
using System.Text;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Takeover;

[Collection(Alone.Name)]
public sealed class TakeoverTests(ITestOutputHelper output)
{
    private const int PerSecond = 500;

    /// <param name="takeovers">In the long form four times as many.</param>
    [Theory]
    [InlineData("iptables", "userspace", 5)]
    [InlineData("nftables", "userspace", 3)]
    [InlineData("iptables", "kernel", 2)]
    [InlineData("nftables", "kernel", 2)]
    public async Task NoConnectionFailsWhileAgentsTakeOverFromEachOther(string backend, string dataPath, int takeovers)
    {
        takeovers = LongForm.IsAsked ? takeovers * 4 : takeovers;
        var options = Takeovers.Options(backend, dataPath);
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        await using var load = new ConnectionLoad(node.Lab, HybridNode.WebAddress, PerSecond);
        var running = node.Agent;
        var old = new List<(AgentProcess Agent, Socket Connection)>();
        for (var i = 0; i < takeovers; i++)
        {
            var connection = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
            await EchoAsync(connection, "ECHO\nbefore", "before");
            old.Add((running, connection));
            var before = load.ByAgent;
            running = await Takeovers.TakeOverAsync(node, options);
            await EchoAsync(connection, "after", "after");
            await Eventually.HoldsAsync(() => load.ByAgent > before + (PerSecond / 10), TimeSpan.FromSeconds(10));
            // Two are left to the end, so that more than one old agent still carries connections.
            if (i > 1)
                await EndAsync(old[^1]);
        }

        await EndAsync(old[0]);
        await EndAsync(old[1]);
        await load.FinishAsync();

        output.WriteLine($"{backend}, {dataPath}: {takeovers} takeovers at {load.PerSecond:F0} new connections per second: "
            + $"{load.Failures.Count} failed, {load.ByKubeProxy} reached kube-proxy, {load.ByAgent} were the agents'");
        Assert.Empty(load.Failures);
        Assert.Equal(0, load.ByKubeProxy);
        Assert.True(load.PerSecond > PerSecond * 0.9, $"{load.PerSecond} per second");
        Assert.Equal(200, (await running.GetAsync("/healthz")).Status);
        Assert.True(HybridNode.IsFirst(await node.NatAsync()) || backend == "nftables");
    }

    [Theory]
    [InlineData("iptables")]
    [InlineData("nftables")]
    public async Task KernelPathConnectionsDoNotNoticeARestart(string backend)
    {
        var options = Takeovers.Options(backend, "kernel");
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        using var established = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
        await EchoAsync(established, "ECHO\nbefore", "before");
        await using var load = new ConnectionLoad(node.Lab, HybridNode.WebAddress, PerSecond);
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(0, await (i == 0 ? node.Agent : _restarted!).StopAsync());
            await EchoAsync(established, "between", "between");
            _restarted = await node.Lab.StartAgentAsync(options);
            await EchoAsync(established, "after", "after");
        }

        await load.FinishAsync();
        output.WriteLine($"{backend}, kernel path, 3 restarts at {load.PerSecond:F0} new connections per second: {load.Failures.Count} failed, {load.ByKubeProxy} reached kube-proxy");
        Assert.Empty(load.Failures);
        Assert.Equal(0, load.ByKubeProxy);
    }

    private AgentProcess? _restarted;

    private static async Task EndAsync((AgentProcess Agent, Socket Connection) old)
    {
        await EchoAsync(old.Connection, "last words", "last words");
        old.Connection.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await old.Connection.ReceiveAsync(new byte[1]));
        old.Connection.Dispose();
        Assert.Equal(0, await old.Agent.Process.WaitForExitAsync(TimeSpan.FromSeconds(20)));
    }

    private static async Task EchoAsync(Socket socket, string send, string expected)
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        await socket.SendAsync(Encoding.ASCII.GetBytes(send), timeout.Token);
        var buffer = new byte[expected.Length];
        for (var got = 0; got < buffer.Length;)
        {
            var read = await socket.ReceiveAsync(buffer.AsMemory(got), timeout.Token);
            Assert.NotEqual(0, read);
            got += read;
        }

        Assert.Equal(expected, Encoding.ASCII.GetString(buffer));
    }
}
