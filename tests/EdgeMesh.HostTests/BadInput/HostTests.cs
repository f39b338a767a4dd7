using System.Net;
using System.Net.Sockets;
using EdgeMesh.HostTests.ApiSource;
using EdgeMesh.Testing.ApiServer;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.BadInput;

/// <summary>A host that does not give what the agent needs: each time one clear line, and never a crash.</summary>
public sealed class HostTests
{
    [Fact]
    public async Task AnAdminAddressThatIsNotOnThisMachineIsNamedWithTheSettingToChange()
    {
        await using var lab = await NamespaceLab.CreateAsync();

        var agent = await lab.StartAgentAsync(new AgentOptions { WaitUntilReady = false, Config = new AgentConfig { CommonConfig = ["adminAddress: 192.0.2.1:9999"] } });

        Assert.Equal(1, await agent.Process.WaitForExitAsync(TimeSpan.FromSeconds(30)));
        Assert.Matches("crit: .*The admin address 192.0.2.1:9999 cannot be used: .*Change commonConfig.adminAddress", agent.Log);
        Assert.DoesNotContain("   at ", agent.Log, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhereEveryPortToListenAtIsTakenTheSettingIsNamed()
    {
        await using var lab = await NamespaceLab.CreateAsync();
        // Only who may have ports below 1024 can do this.
        using var first = Listen(lab.Node, IPAddress.Any, 20_007);
        using var second = Listen(lab.Node, IPAddress.Any, 207);
        using var third = Listen(lab.Node, IPAddress.Any, 205);
        using var fourth = Listen(lab.Node, IPAddress.Any, 208);

        var agent = await lab.StartAgentAsync(new AgentOptions { WaitUntilReady = false });

        Assert.Equal(1, await agent.Process.WaitForExitAsync(TimeSpan.FromSeconds(30)));
        Assert.Matches("crit: .*user-mode listener could not be started: .*20007.*change modules.edgeProxy.listenPort or stop that program", agent.Log);
        Assert.DoesNotContain("   at ", agent.Log, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WithoutNetAdminTheAgentSaysWhatItNeedsAndLeavesTheNodeAsItWas()
    {
        await using var lab = await NamespaceLab.CreateAsync();
        var before = await lab.PacketFilterAsync();

        var agent = await lab.StartAgentAsync(new AgentOptions { WaitUntilReady = false, Launcher = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", "--"] });

        Assert.Equal(1, await agent.Process.WaitForExitAsync(TimeSpan.FromSeconds(30)));
        Assert.Matches("crit: .*CAP_NET_ADMIN", agent.Log);
        Assert.DoesNotContain("   at ", agent.Log, StringComparison.Ordinal);
        Assert.Equal(before, await lab.PacketFilterAsync());
    }

    [Fact]
    public async Task AStateFolderThatCannotBeWrittenIsSaidOnceAndTheAgentGoesOnWithoutACache()
    {
        await using var node = await ClusterNode.StartAsync(AccessKind.Token, HybridNode.Web);
        await node.Agent.StopAsync();
        Directory.Delete(node.Lab.StateFolder, recursive: true);
        // Root may write anywhere but below a file.
        await File.WriteAllTextAsync(node.Lab.StateFolder, "not a folder");
        await node.RestartAgentAsync();

        await node.UntilLoggedAsync($"The cache {node.CacheFile} cannot be written");
        node.Api.Put(HybridNode.Np);
        await node.Node.UntilRuleAsync("demo/np:http", stands: true);
        await node.Node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        Assert.Equal(0, await node.Agent.StopAsync());
        Assert.Equal(1, node.Warnings("cannot be written"));
        Assert.Contains("correct commonConfig.stateDir", node.Agent.Log, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AFullDiskIsSaidOnceAndTheCacheIsWrittenWhenThereIsRoomAgain()
    {
        var many = Enumerable.Range(1, 100).Select(i => HybridNode.Np with { Name = $"np-{i}", ClusterIPs = [$"10.96.20.{i}"] }).ToArray();
        await using var node = await ClusterNode.StartAsync(
            AccessKind.Token,
            options => options with
            {
                // The agent's own mount namespace, which ip netns exec made, goes with it.
                Launcher = ["sh", "-ec", "mkdir -p \"$0\"; mount -t tmpfs -o size=16k tmpfs \"$0\"; exec \"$@\"", Path.Combine(Path.GetDirectoryName(options.Config.KubeApi[0]["kubeConfig: ".Length..])!, "state")],
            },
            [HybridNode.Web, .. many]);
        await node.UntilLoggedAsync("cannot be written (No space left on device");
        await node.Node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);

        foreach (var service in many)
            node.Api.Remove(service);
        await node.UntilLoggedAsync("can be written again");
        Assert.Equal(1, node.Warnings("cannot be written"));
    }

    [Fact]
    public async Task AConnectionTrackingTableThatIsNearlyFullIsSaidOnce()
    {
        await using var lab = await NamespaceLab.CreateAsync();
        lab.Manifests.Write(HybridNode.Web);
        // The limit is one for the whole machine and not to be touched: the agent alone sees a lower one.
        var low = Path.Combine(lab.Folder, "nf_conntrack_max");
        await File.WriteAllTextAsync(low, "2\n");
        var agent = await lab.StartAgentAsync(new AgentOptions
        {
            Launcher = ["sh", "-ec", "mount --bind \"$0\" /proc/sys/net/netfilter/nf_conntrack_max; exec \"$@\"", low],
        });
        await using var clients = AskingClients.Start(lab, HybridNode.WebAddress, "client");

        await Eventually.SeesAsync(() => agent.Log, log => log.Contains("The connection tracking table is nearly full", StringComparison.Ordinal), TimeSpan.FromSeconds(20));
        Assert.Contains("Raise net.netfilter.nf_conntrack_max.", agent.Log, StringComparison.Ordinal);
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
        Assert.False(agent.Process.HasExited);
    }

    [Fact]
    public async Task SecretsThatEverybodyCanReadAreNamedWithTheCommandThatMendsThem()
    {
        await using var node = await ClusterNode.StartAsync(AccessKind.Token, options => Open(options), HybridNode.Web);

        Assert.Matches("warn: .*kubeconfig can be read by every user of this machine|warn: .*kubeconfig.*chmod 600 .*kubeconfig", node.Agent.Log);
        Assert.Matches("warn: .*psk.*chmod 600 .*psk", node.Agent.Log);
        Assert.DoesNotContain("s3cret", node.Agent.Log, StringComparison.Ordinal);
        await node.Node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);

        static AgentOptions Open(AgentOptions options)
        {
            var kubeConfig = options.Config.KubeApi[0]["kubeConfig: ".Length..];
            var psk = Path.Combine(Path.GetDirectoryName(kubeConfig)!, "psk");
            File.WriteAllText(psk, "s3cret");
            foreach (var file in (string[])[kubeConfig, psk])
                File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
            return options with { Config = options.Config with { Modules = ["edgeTunnel:", "  enable: true", "  psk:", $"    path: {psk}"] } };
        }
    }

    private static Socket Listen(NetworkNamespace space, IPAddress address, int port)
    {
        var socket = space.NewSocket(address.AddressFamily, SocketType.Stream);
        socket.Bind(new IPEndPoint(address, port));
        socket.Listen();
        return socket;
    }
}
