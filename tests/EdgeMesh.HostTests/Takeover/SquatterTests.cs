using System.Text;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Takeover;

/// <summary>A process without rights that has the agent's places before it starts, or takes them in the moment in which one agent
/// gives them to another. It costs the agent a port or its probes, and never its service.</summary>
public sealed class SquatterTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    private static string Program([System.Runtime.CompilerServices.CallerFilePath] string file = "") => Path.Combine(Path.GetDirectoryName(file)!, "squatter.py");

    [Theory]
    [InlineData("iptables")]
    [InlineData("nftables")]
    public async Task PlacesThatAreTakenBeforeTheStartKeepTheAgentFromNothingButThem(string backend)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.IptablesNft });
        lab.Manifests.Write(HybridNode.Web);
        lab.Manifests.Write(HybridNode.Dns);
        using var stranger = await Stranger.StartAsync(lab, Program(), "trying", "tcp:127.0.0.1:9999", "tcp:0.0.0.0:20007", "udp:0.0.0.0:20007", "tcp:0.0.0.0:207");
        Assert.DoesNotContain("HAS tcp:0.0.0.0:207\n", stranger.Process.Log, StringComparison.Ordinal);
        var options = Takeovers.Options(backend, "userspace") with { WaitUntilReady = false };

        var agent = await lab.StartAgentAsync(options);
        await AnsweredAsync(lab);
        await Eventually.SeesAsync(
            () => agent.Log,
            log => log.Contains("so the agent listens on port 207, and its rules lead there", StringComparison.Ordinal)
                && log.Contains("Forwarding goes on, but nothing of the agent answers at 127.0.0.1:9999", StringComparison.Ordinal),
            Deadline);
        Assert.Contains("port 20007 on edgemesh0 is held by a program of user 65534", agent.Log, StringComparison.Ordinal);
        Assert.Contains("a program of user 65534 (it has 127.0.0.1:9999) has it", agent.Log, StringComparison.Ordinal);

        // A successor keeps the port, so that flows go on.
        var successor = await lab.StartAgentAsync(options with { Arguments = ["--take-over"] });
        await Eventually.SeesAsync(() => successor.Log, log => log.Contains("Took over from", StringComparison.Ordinal), Takeovers.Deadline, "the second took over");
        Assert.Contains("Listening on 169.254.96.16:207", successor.Log, StringComparison.Ordinal);
        Assert.Equal(0, await agent.Process.WaitForExitAsync(Takeovers.Deadline));
        await AnsweredAsync(lab);

        await stranger.EndAsync();
        await successor.UntilReadyAsync(Deadline);
        var (_, status) = await successor.GetAsync("/status");
        Assert.Contains("169.254.96.16:207", status, StringComparison.Ordinal);
        Assert.Contains("so the agent listens on port 207", status, StringComparison.Ordinal);
        Assert.DoesNotContain("nothing of the agent answers", status, StringComparison.Ordinal);

        Assert.Equal(0, await successor.StopAsync());
        (await lab.AgentCommandAsync("cleanup")).Succeeded();
        await (await lab.StartAgentAsync(options)).UntilReadyAsync(Deadline);
        await AnsweredAsync(lab);
    }

    [Fact]
    public async Task PlacesThatAreSnatchedAtEachMomentAreNeverHadWhileAnAgentWorks()
    {
        var options = Takeovers.Options("iptables", "userspace");
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        using var stranger = await Stranger.StartAsync(
            node.Lab, Program(), "trying", "tcp:127.0.0.1:9999", "tcp:169.254.96.16:20007", "udp:169.254.96.16:20007", "tcp:0.0.0.0:20007", "udp:0.0.0.0:20007");
        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client");

        var second = await Takeovers.TakeOverAsync(node, options with { WaitUntilReady = false });
        Assert.Equal(0, await node.Agent.Process.WaitForExitAsync(Takeovers.Deadline));
        var third = await Takeovers.TakeOverAsync(node, options with { WaitUntilReady = false });
        Assert.Equal(0, await second.Process.WaitForExitAsync(Takeovers.Deadline));

        await clients.AllAnsweredAsync(HybridNode.ByAgent);
        Assert.DoesNotContain(":20007", stranger.Process.Log, StringComparison.Ordinal);
        await stranger.EndAsync();
        await third.UntilReadyAsync(Deadline);
        Assert.Equal(0, await third.StopAsync());
    }

    [Fact]
    public async Task AtAPortBelow1024EvenRootWithoutCapabilitiesGetsNoPlaceBesideTheListener()
    {
        var options = Takeovers.Options("iptables", "userspace");
        options = options with { Config = options.Config with { EdgeProxy = ["listenPort: 208"] } };
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        // The user is the listener's, and so SO_REUSEPORT alone would let it in.
        using var stranger = await Stranger.StartAsync(
            node.Lab, Stranger.RootWithoutCapabilities, Program(), "trying", ["tcp:169.254.96.16:208", "udp:169.254.96.16:208", "tcp:0.0.0.0:208"]);
        foreach (var answer in await node.Lab.AskTimesAsync("client", HybridNode.WebAddress, 50))
            Assert.Equal(HybridNode.ByAgent, answer.Port);
        await stranger.EndAsync();
        Assert.DoesNotContain("HAS", stranger.Process.Log, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RootWithoutCapabilitiesGetsNoPlaceBesideTheListenersWhileAnAgentWorksNorWhileTwoDo()
    {
        string[] places = ["tcp:169.254.96.16:20007", "udp:169.254.96.16:20007", "tcp:0.0.0.0:20007", "udp:0.0.0.0:20007"];
        var options = Takeovers.Options("iptables", "userspace");
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web, HybridNode.Dns]);
        // Four of them, so that hardly a moment passes in which none tries.
        var strangers = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Stranger.StartAsync(node.Lab, Stranger.RootWithoutCapabilities, Program(), "trying", places)));
        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client", "client");
        await AnsweredAsync(node.Lab);

        var old = node.Agent;
        for (var takeover = 0; takeover < 3; takeover++)
        {
            var successor = await Takeovers.TakeOverAsync(node, options with { WaitUntilReady = false });
            Assert.Equal(0, await old.Process.WaitForExitAsync(Takeovers.Deadline));
            await AnsweredAsync(node.Lab);
            old = successor;
        }

        // One that fails on the way leaves them nothing either.
        var failing = await node.Lab.StartAgentAsync(options with { Arguments = ["--take-over"], WaitUntilReady = false, Config = options.Config with { CommonConfig = ["adminAddress: 192.0.2.1:9999"] } });
        Assert.Equal(1, await failing.Process.WaitForExitAsync(Takeovers.Deadline));
        await AnsweredAsync(node.Lab);
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
        foreach (var stranger in strangers)
        {
            await stranger.EndAsync();
            Assert.DoesNotContain("HAS", stranger.Process.Log, StringComparison.Ordinal);
            stranger.Dispose();
        }

        Assert.Equal(0, await old.StopAsync());
    }

    [Theory]
    [InlineData("tcp:0.0.0.0:20007")]
    [InlineData("udp:0.0.0.0:20007")]
    public async Task RootWithoutCapabilitiesThatWasThereBeforeHasAPortToItself(string place)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.IptablesNft });
        lab.Manifests.Write(HybridNode.Web);
        lab.Manifests.Write(HybridNode.Dns);
        using var stranger = await Stranger.StartAsync(lab, Stranger.RootWithoutCapabilities, Program(), "trying", [place]);
        Assert.Contains("HAS " + place, stranger.Process.Log, StringComparison.Ordinal);
        var agent = await lab.StartAgentAsync(Takeovers.Options("iptables", "userspace"));
        Assert.Contains("Listening on 169.254.96.16:207", agent.Log, StringComparison.Ordinal);
        foreach (var answer in await lab.AskTimesAsync("client", HybridNode.WebAddress, 20))
            Assert.Equal(HybridNode.ByAgent, answer.Port);
        await AnsweredAsync(lab);
        await stranger.EndAsync();
    }

    [Fact]
    public async Task OfAgentsThatStartAtOnceOneWorksAndTheOthersSayWhichAndEnd()
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.IptablesNft });
        lab.Manifests.Write(HybridNode.Web);
        var options = Takeovers.Options("iptables", "userspace") with { WaitUntilReady = false };
        for (var round = 0; round < 3; round++)
        {
            var agents = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => lab.StartAgentAsync(options)));
            await Eventually.SeesAsync(() => agents.Count(agent => agent.Process.HasExited), ended => ended == agents.Length - 1, Deadline, "all but one have ended");
            var winner = agents.Single(agent => !agent.Process.HasExited);
            await winner.UntilReadyAsync(Deadline);
            Assert.Equal(HybridNode.ByAgent, (await lab.AskAsync("client", HybridNode.WebAddress)).Port);
            foreach (var other in agents.Where(agent => agent != winner))
            {
                Assert.Equal(1, other.Process.ExitCode);
                Assert.Matches($"crit: .*Another agent already works on this node: edgemesh-agent [^ ]+ process {winner.Id}\\.", other.Log);
            }

            Assert.Equal(0, await winner.StopAsync());
        }
    }

    [Fact]
    public async Task AgentsInContainersOnTheSameNetworkHandOverToEachOther()
    {
        // Process ids, mounts and names of their own; the network is the node's.
        string[] container = ["unshare", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc", "--"];
        var options = Takeovers.Options("iptables", "userspace");
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options with { Launcher = container }, [HybridNode.Web]);
        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client");

        var refused = await node.Lab.StartAgentAsync(options with { WaitUntilReady = false });
        Assert.Equal(1, await refused.Process.WaitForExitAsync(Deadline));
        Assert.Contains("Another agent already works on this node", refused.Log, StringComparison.Ordinal);

        var second = await Takeovers.TakeOverAsync(node, options with { Launcher = container });
        Assert.Equal(0, await node.Agent.Process.WaitForExitAsync(Takeovers.Deadline));
        var third = await Takeovers.TakeOverAsync(node, options);
        Assert.Equal(0, await second.Process.WaitForExitAsync(Takeovers.Deadline));
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
        Assert.Equal(0, await third.StopAsync());
    }

    private static async Task AnsweredAsync(NamespaceLab lab)
    {
        await Eventually.SeesAsync(
            () => lab.AskAsync("client", HybridNode.WebAddress, TimeSpan.FromSeconds(1)), answer => answer.Port == HybridNode.ByAgent, Deadline, "web is answered by way of the agent");
        await Eventually.SeesAsync(
            async () => Encoding.UTF8.GetString(await lab.AskUdpAsync("client", HybridNode.DnsAddress, "WHO"u8.ToArray(), TimeSpan.FromSeconds(1))),
            answer => answer.Contains(":5354", StringComparison.Ordinal), Deadline, "dns is answered by way of the agent");
    }
}
