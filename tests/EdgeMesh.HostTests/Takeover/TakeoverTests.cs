using System.Net.Sockets;
using System.Text;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Takeover;

[Collection(Alone.Name)]
public sealed class TakeoverTests(ITestOutputHelper output)
{
    private const int PerSecond = 500;
    private static readonly TimeSpan StartDeadline = TimeSpan.FromSeconds(40);

    [Theory]
    [InlineData("iptables", "userspace", 20)]
    [InlineData("nftables", "userspace", 3)]
    [InlineData("iptables", "kernel", 2)]
    [InlineData("nftables", "kernel", 2)]
    public async Task NoConnectionFailsWhileAgentsTakeOverFromEachOther(string backend, string dataPath, int takeovers)
    {
        var options = Options(backend, dataPath);
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
            running = await TakeOverAsync(node, options);
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

    [Fact]
    public async Task ASuccessorKilledBesideTheOldAgentLeavesThatOneInForce()
    {
        var options = Options("iptables", "userspace");
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        var successor = await node.Lab.StartAgentAsync(options with { Arguments = ["--take-over"], WaitUntilReady = false });
        await Eventually.HoldsAsync(() => successor.Log.Contains("rules through", StringComparison.Ordinal), StartDeadline);
        // Held, the old agent cannot release: the successor listens, has written its rules, and waits.
        node.Agent.Pause();
        await Eventually.HoldsAsync(() => successor.Log.Contains("Listening on", StringComparison.Ordinal), StartDeadline);

        await successor.KillAsync();
        node.Agent.Resume();

        await Eventually.HoldsAsync(() => node.Agent.Log.Contains("this agent goes on", StringComparison.Ordinal), StartDeadline);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        await Eventually.StaysAsync(
            async () => (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port, port => port == HybridNode.ByAgent, TimeSpan.FromSeconds(6));
        Assert.Equal(200, (await node.Agent.GetAsync("/healthz")).Status);
        (await node.Lab.RunAsync("node", "iptables-nft", "-t", "nat", "-D", "PREROUTING", "1")).Succeeded();
        await node.UntilFirstAsync(node.RepairDeadline);
    }

    [Fact]
    public async Task ASuccessorThatFailsAtItsLastStepGivesEverythingBack()
    {
        var options = Options("iptables", "userspace");
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        // Its admin address is not on this machine: the last thing that can fail.
        var other = options with
        {
            Arguments = ["--take-over"],
            WaitUntilReady = false,
            Config = options.Config with { CommonConfig = ["adminAddress: 192.0.2.1:9999"] },
        };

        var successor = await node.Lab.StartAgentAsync(other);

        Assert.Equal(1, await successor.Process.WaitForExitAsync(StartDeadline));
        Assert.Contains("admin address", successor.Log, StringComparison.Ordinal);
        await Eventually.HoldsAsync(() => node.Agent.Log.Contains("this agent goes on", StringComparison.Ordinal), TimeSpan.FromSeconds(20));
        await Eventually.StaysAsync(
            async () => (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port, port => port == HybridNode.ByAgent, TimeSpan.FromSeconds(6));
        Assert.Equal(200, (await node.Agent.GetAsync("/healthz")).Status);
    }

    [Fact]
    public async Task AnAgentThatIsToStayWaitsToBeStoppedAfterItHandedOver()
    {
        var options = Options("iptables", "userspace") with { Arguments = ["--when-taken-over", "wait"] };
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);

        var successor = await TakeOverAsync(node, options);

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
        var options = Options("iptables", "userspace") with { Arguments = ["--take-over"] };
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);

        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
    }

    [Theory]
    [InlineData("iptables")]
    [InlineData("nftables")]
    public async Task KernelPathConnectionsDoNotNoticeARestart(string backend)
    {
        var options = Options(backend, "kernel");
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

    private static AgentOptions Options(string backend, string dataPath) => new()
    {
        Config = new AgentConfig { Backend = backend, DataPath = dataPath, EdgeProxy = ["drainTimeout: 300s"] },
    };

    private static async Task<AgentProcess> TakeOverAsync(HybridNode node, AgentOptions options)
    {
        var successor = await node.Lab.StartAgentAsync(options with { Arguments = [.. options.Arguments, "--take-over"], WaitUntilReady = false });
        await Eventually.SeesAsync(
            () => successor.Log,
            log => log.Contains("Took over from", StringComparison.Ordinal) || successor.Process.HasExited,
            StartDeadline,
            "the successor says that it took over");
        Assert.False(successor.Process.HasExited, successor.Log);
        return successor;
    }

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
