using System.Net.Sockets;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Lifecycle;

public sealed class LifecycleTests
{
    [Theory]
    [MemberData(nameof(Setups.UserspaceBesideKubeProxy), MemberType = typeof(Setups))]
    public async Task SigtermGivesNewConnectionsToKubeProxyLetsOpenOnesEndAndEndsWithZero(KubeProxyRules kubeProxy, RulesIn rules, Through through)
    {
        await using var node = await HybridNode.StartAsync(new NodeSetup(kubeProxy, rules, through), HybridNode.Web);
        using var open = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
        await open.SendAsync("ECHO\n"u8.ToArray());
        await Conversation.EchoAsync(open, "before");

        var stopping = node.Agent.StopAsync(TimeSpan.FromSeconds(60));
        await node.UntilRuleAsync("demo/web:http", stands: false, TimeSpan.FromSeconds(3));
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByKubeProxy, TimeSpan.FromSeconds(1));

        await Conversation.EchoAsync(open, "after");
        Assert.False(node.Agent.Process.HasExited);
        open.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await open.ReceiveAsync(new byte[16]));
        Assert.Equal(0, await stopping);
    }

    [Fact]
    public async Task AConnectionThatNeverEndsDoesNotHoldTheAgentBeyondItsDrainTime()
    {
        var config = NodeSetup.Userspace.Config with { EdgeProxy = ["drainTimeout: 2s"] };
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, config, [HybridNode.Web]);
        using var open = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
        await NamespaceLab.AskAsync(open, "HOLD");

        Assert.Equal(0, await node.Agent.StopAsync(TimeSpan.FromSeconds(6)));
    }

    [Theory]
    [MemberData(nameof(Setups.BesideKubeProxy), MemberType = typeof(Setups))]
    public async Task NoConnectionFailsWhileTheAgentRestarts(KubeProxyRules kubeProxy, RulesIn rules, Through through)
    {
        await using var node = await HybridNode.StartAsync(new NodeSetup(kubeProxy, rules, through), HybridNode.Web);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent, TimeSpan.FromSeconds(1));
        using var enough = new CancellationTokenSource();
        var clients = ((string[])["client", "client", "node"]).Select(from => node.AskUntilAsync(from, enough.Token)).ToArray();

        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(0, await node.Agent.StopAsync());
            await node.RestartAgentAsync();
            await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        }

        await enough.CancelAsync();
        // The kernel path stands while nobody is there; user mode is kube-proxy's turn meanwhile.
        int[] expected = through == Through.Kernel ? [HybridNode.ByAgent] : [HybridNode.ByKubeProxy, HybridNode.ByAgent];
        foreach (var ports in await Task.WhenAll(clients))
            Assert.Equal(expected, ports.Distinct().Order());
    }

    [Theory]
    [MemberData(nameof(Setups.All), MemberType = typeof(Setups))]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task CleanupLeavesThePacketFilterAsItWas(KubeProxyRules kubeProxy, RulesIn rules, Through through)
    {
        var setup = new NodeSetup(kubeProxy, rules, through);
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = kubeProxy });
        var before = await lab.PacketFilterAsync();
        lab.Manifests.Write(HybridNode.Web);
        lab.Manifests.Write(HybridNode.Dns);
        lab.Manifests.Write(HybridNode.Six);
        var agent = await lab.StartAgentAsync(new AgentOptions { Config = setup.Config });
        Assert.NotEqual(before, await lab.PacketFilterAsync());
        Assert.Equal(0, await agent.StopAsync());

        (await lab.AgentCommandAsync("cleanup", "--config-file", lab.ConfigFile)).Succeeded();

        Assert.Equal(before, await lab.PacketFilterAsync());
        Assert.NotEqual(0, (await lab.RunAsync("node", "ip", "link", "show", "edgemesh0")).ExitCode);
    }

    [Fact]
    public async Task CleanupInAPodWaitsToBeStoppedOnceAllIsRemoved()
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.IptablesNft });
        const string Pod = """
            "$1" cleanup --stay >"$2" & pid=$!
            until grep -q "waiting to be stopped" "$2" || ! kill -0 "$pid"; do sleep 0.1; done
            kill -TERM "$pid"
            wait "$pid"
            """;
        (await lab.RunAsync("node", "sh", ["-c", Pod, "pod", NamespaceLab.AgentProgram, Path.Combine(lab.Folder, "cleanup.out")])).Succeeded();
    }

    [Fact]
    public async Task ASecondAgentOnTheNodeSaysSoAndEndsAndTheFirstGoesOn()
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, HybridNode.Web);

        var second = await node.Lab.StartAgentAsync(new AgentOptions { WaitUntilReady = false });

        Assert.Equal(1, await second.Process.WaitForExitAsync(TimeSpan.FromSeconds(10)));
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

    [Fact]
    public async Task HealthIsServedOnTheAdminAddress()
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, HybridNode.Web);

        foreach (var path in (string[])["/healthz", "/livez", "/readyz"])
            Assert.Equal((path, 200), (path, (await node.Agent.GetAsync(path)).Status));
    }
}
