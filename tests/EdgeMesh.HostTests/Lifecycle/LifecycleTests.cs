using System.Net.Sockets;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Lifecycle;

public sealed class LifecycleTests
{
    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task AfterSigkillTrafficFallsThroughToKubeProxyAndTheNextStartHeals(KubeProxyRules rules)
    {
        await using var node = await HybridNode.StartAsync(rules, HybridNode.Web);
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);

        await node.Agent.KillAsync();

        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByKubeProxy, TimeSpan.FromSeconds(5));
        await node.UntilAnsweredAsync("node", HybridNode.WebAddress, HybridNode.ByKubeProxy, TimeSpan.FromSeconds(1));
        await node.RestartAgentAsync();
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        await node.UntilFirstAsync(TimeSpan.FromSeconds(2));
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task WhileTheAgentHangsTrafficFallsThroughToKubeProxy(KubeProxyRules rules)
    {
        await using var node = await HybridNode.StartAsync(rules, HybridNode.Web);

        node.Agent.Pause();
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByKubeProxy, TimeSpan.FromSeconds(6));

        node.Agent.Resume();
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task SigtermWithdrawsTheRulesLetsConnectionsEndAndEndsWithZero(KubeProxyRules rules)
    {
        await using var node = await HybridNode.StartAsync(rules, HybridNode.Web);
        using var open = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
        await open.SendAsync("ECHO\nbefore"u8.ToArray());
        await ReceiveAsync(open, "before");

        var stopping = node.Agent.StopAsync(TimeSpan.FromSeconds(60));
        await node.UntilRuleAsync("demo/web:http", stands: false, TimeSpan.FromSeconds(3));
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByKubeProxy, TimeSpan.FromSeconds(1));

        await open.SendAsync("after"u8.ToArray());
        await ReceiveAsync(open, "after");
        Assert.False(node.Agent.Process.HasExited);
        open.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await open.ReceiveAsync(new byte[16]));
        Assert.Equal(0, await stopping);
    }

    [Fact]
    public async Task AConnectionThatNeverEndsDoesNotHoldTheAgentBeyondItsDrainTime()
    {
        var options = new AgentOptions { Config = new AgentConfig { EdgeProxy = ["drainTimeout: 2s"] } };
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        using var open = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
        await NamespaceLab.AskAsync(open, "HOLD");

        Assert.Equal(0, await node.Agent.StopAsync(TimeSpan.FromSeconds(6)));
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task NoConnectionFailsWhileTheAgentRestarts(KubeProxyRules rules)
    {
        await using var node = await HybridNode.StartAsync(rules, HybridNode.Web);
        using var enough = new CancellationTokenSource();
        var clients = ((string[])["client", "client", "node"]).Select(from => AskUntilAsync(node.Lab, from, enough.Token)).ToArray();

        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(0, await node.Agent.StopAsync());
            await node.RestartAgentAsync();
            await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        }

        await enough.CancelAsync();
        foreach (var answers in await Task.WhenAll(clients))
        {
            Assert.Contains(HybridNode.ByAgent, answers);
            Assert.Contains(HybridNode.ByKubeProxy, answers);
        }
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    [InlineData(KubeProxyRules.Nftables)]
    [InlineData(KubeProxyRules.None)]
    public async Task CleanupLeavesThePacketFilterAsItWas(KubeProxyRules rules)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = rules });
        var before = await lab.PacketFilterAsync();
        lab.Manifests.Write(HybridNode.Web);
        lab.Manifests.Write(HybridNode.Dns);
        var agent = await lab.StartAgentAsync();
        Assert.NotEqual(before, await lab.PacketFilterAsync());
        await agent.StopAsync();

        (await lab.AgentCommandAsync("cleanup", "--config-file", lab.ConfigFile)).Succeeded();

        Assert.Equal(before, await lab.PacketFilterAsync());
        Assert.NotEqual(0, (await lab.RunAsync("node", "ip", "link", "show", "edgemesh0")).ExitCode);
    }

    [Fact]
    public async Task ASecondAgentOnTheNodeSaysSoAndEndsAndTheFirstGoesOn()
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, HybridNode.Web);

        var second = await node.Lab.StartAgentAsync(new AgentOptions { WaitUntilReady = false });

        Assert.NotEqual(0, await second.Process.WaitForExitAsync(TimeSpan.FromSeconds(10)));
        Assert.Matches("(?i)already|another", second.Log);
        Assert.False(node.Agent.Process.HasExited);
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);
        Assert.True(HybridNode.IsFirst(await node.NatAsync()));
    }

    [Fact]
    public async Task StatusShowsTheNodeTheJumpsAndEachServiceWithTheReason()
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, HybridNode.Web, HybridNode.Np.Labelled(true));

        var text = (await node.Lab.AgentCommandAsync("status", "--config-file", node.Lab.ConfigFile)).Succeeded().Output;
        var json = (await node.Lab.AgentCommandAsync("status", "--config-file", node.Lab.ConfigFile, "-o", "json")).Succeeded().Output;

        Assert.Contains("peer-node", text, StringComparison.Ordinal);
        Assert.Contains("iptables-nft", text, StringComparison.Ordinal);
        Assert.Contains("demo/web", text, StringComparison.Ordinal);
        Assert.Contains("demo/np", text, StringComparison.Ordinal);
        using var parsed = System.Text.Json.JsonDocument.Parse(json);
        Assert.Contains("demo", json, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/healthz")]
    [InlineData("/livez")]
    [InlineData("/readyz")]
    public async Task HealthIsServedOnTheAdminAddress(string path)
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, HybridNode.Web);

        Assert.Equal(200, (await node.Agent.GetAsync(path)).Status);
    }

    private static async Task ReceiveAsync(Socket socket, string expected)
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(5));
        var buffer = new byte[expected.Length];
        for (var got = 0; got < buffer.Length;)
        {
            var read = await socket.ReceiveAsync(buffer.AsMemory(got), timeout.Token);
            Assert.NotEqual(0, read);
            got += read;
        }

        Assert.Equal(expected, System.Text.Encoding.ASCII.GetString(buffer));
    }

    private static async Task<List<int>> AskUntilAsync(NamespaceLab lab, string from, CancellationToken enough)
    {
        var answers = new List<int>();
        while (!enough.IsCancellationRequested)
            answers.Add((await lab.AskAsync(from, HybridNode.WebAddress, TimeSpan.FromSeconds(5))).Port);
        return answers;
    }
}
