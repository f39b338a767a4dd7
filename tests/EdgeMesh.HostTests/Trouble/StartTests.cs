using System.Globalization;
using EdgeMesh.HostTests.ApiSource;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Trouble;

/// <summary>A start on a host that lacks something: the agent serves with what there is, takes up what comes, or ends with a sentence.</summary>
public sealed class StartTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(40);

    [Theory]
    [InlineData("", "iptables-nft")]
    [InlineData("-nft", "iptables-nft")]
    [InlineData("-legacy", "iptables-legacy")]
    [InlineData("nft", "nftables")]
    public async Task TheProgramsOfOneKindAreEnough(string kind, string backend)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.None });
        lab.Manifests.Write(HybridNode.Web);
        var agent = await lab.StartAgentAsync(new AgentOptions { Launcher = Programs.Only(lab, kind == "nft" ? ["nft"] : Programs.Iptables(kind)) });

        Assert.Equal(HybridNode.ByAgent, (await lab.AskAsync("client", HybridNode.WebAddress)).Port);
        Assert.Contains($"\"backend\": \"{backend}\"", (await agent.GetAsync("/status")).Body, StringComparison.Ordinal);
        Assert.Equal(0, await agent.StopAsync());
    }

    [Fact]
    public async Task WithoutAnyProgramTheAgentEndsAndSaysWhatToInstall()
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.None, PodServers = false });
        var agent = await lab.StartAgentAsync(new AgentOptions { WaitUntilReady = false, Launcher = Programs.Only(lab) });

        Assert.Equal(1, await agent.Process.WaitForExitAsync(TimeSpan.FromSeconds(30)));
        Assert.Matches("crit: .*(?i)install", agent.Log);
        NoTrace(agent);
    }

    [Fact]
    public async Task AFamilyWhoseProgramFailedIsServedWithoutARestartWhenItWorks()
    {
        await using var lab = await NamespaceLab.CreateAsync();
        lab.Manifests.Write(HybridNode.Web);
        lab.Manifests.Write(HybridNode.Six);
        var broken = Path.Combine(lab.Folder, "broken");
        var wrapper = Path.Combine(Directory.CreateDirectory(Path.Combine(lab.Folder, "bin")).FullName, "ip6tables-nft-restore");
        await File.WriteAllTextAsync(wrapper, $"#!/bin/sh\nif [ -e '{broken}' ]; then echo 'ip6tables-restore: Memory allocation problem' >&2; exit 4; fi\nexec /usr/sbin/ip6tables-nft-restore \"$@\"\n");
        File.SetUnixFileMode(wrapper, (UnixFileMode)0b111_101_101);
        await File.WriteAllTextAsync(broken, "");

        var agent = await lab.StartAgentAsync(new AgentOptions
        {
            Environment = new Dictionary<string, string?> { ["PATH"] = $"{Path.GetDirectoryName(wrapper)}:{Environment.GetEnvironmentVariable("PATH")}" },
        });
        Assert.Equal(HybridNode.ByAgent, (await lab.AskAsync("client", HybridNode.WebAddress)).Port);
        Assert.Contains("IPv6 services are left to kube-proxy", agent.Log, StringComparison.Ordinal);

        File.Delete(broken);
        await Eventually.SeesAsync(() => lab.AskAsync("client", HybridNode.SixAddress, TimeSpan.FromSeconds(1)), answer => answer.Port == HybridNode.ByAgent, Patience);
        await Eventually.SeesAsync(async () => (await agent.GetAsync("/status")).Body, body => !body.Contains("left to kube-proxy", StringComparison.Ordinal), Patience);
        Assert.Equal(0, await agent.StopAsync());
    }

    [Fact]
    public async Task ALockThatIsHeldAtTheStartIsWaitedForAndSaid()
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.IptablesLegacy });
        lab.Manifests.Write(HybridNode.Web);
        // The machine's own lock is not to be touched.
        var file = Path.Combine(lab.Folder, "xtables.lock");
        var holder = await Programs.HoldAsync(lab, file);
        var agent = await lab.StartAgentAsync(new AgentOptions { WaitUntilReady = false, Environment = new Dictionary<string, string?> { ["XTABLES_LOCKFILE"] = file } });

        await Eventually.SeesAsync(() => agent.GetAsync("/readyz"), seen => seen.Status == 503 && seen.Body.Contains("xtables lock", StringComparison.Ordinal), Patience);
        Assert.Equal(HybridNode.ByKubeProxy, (await lab.AskAsync("client", HybridNode.WebAddress)).Port);
        await holder.KillAsync();
        await agent.UntilReadyAsync(Patience);
        await Eventually.SeesAsync(() => lab.AskAsync("client", HybridNode.WebAddress, TimeSpan.FromSeconds(1)), answer => answer.Port == HybridNode.ByAgent, Patience);
        Assert.Equal(0, await agent.StopAsync());
        NoTrace(agent);
    }

    [Theory]
    [InlineData(30)]
    [InlineData(60)]
    [InlineData(100)]
    public async Task WithFewDescriptorsTheAgentServesOrEndsWithASentence(int limit)
    {
        await using var lab = await NamespaceLab.CreateAsync();
        lab.Manifests.Write(HybridNode.Web);
        var agent = await lab.StartAgentAsync(new AgentOptions
        {
            WaitUntilReady = false,
            Config = new() { DataPath = "userspace" },
            Launcher = ["sh", "-ec", "ulimit -n $0; exec setpriv --bounding-set -sys_resource --inh-caps -sys_resource -- \"$@\"", limit.ToString(CultureInfo.InvariantCulture)],
        });

        await Eventually.HoldsAsync(async () => agent.Process.HasExited || (await agent.GetAsync("/readyz")).Status == 200, Patience);
        var ended = agent.Process.HasExited;
        if (ended)
        {
            Assert.Equal(1, agent.Process.ExitCode);
            Assert.Matches("crit: .*Too many open files", agent.Log);
        }

        // Whoever serves: the service is.
        await Eventually.SeesAsync(() => lab.AskAsync("client", HybridNode.WebAddress, TimeSpan.FromSeconds(2)), answer => ended || answer.Port == HybridNode.ByAgent, Patience);
        Assert.True(ended || limit < 100 || (await lab.AskTimesAsync("client", HybridNode.WebAddress, 20)).All(answer => answer.Port == HybridNode.ByAgent), agent.Log);
        Assert.False(ended && limit == 100, agent.Log);
        NoTrace(agent);
    }

    [Fact]
    public async Task AStateFolderThatIsReadOnlyIsSaidOnceAndTheAgentGoesOn()
    {
        await using var node = await ClusterNode.StartAsync(
            AccessKind.Token,
            options => options with
            {
                Launcher = ["sh", "-ec", "mkdir -p \"$0\"; mount -t tmpfs -o ro tmpfs \"$0\"; exec \"$@\"", Path.Combine(Path.GetDirectoryName(options.Config.KubeApi[0]["kubeConfig: ".Length..])!, "state")],
            },
            HybridNode.Web);
        await node.UntilLoggedAsync("cannot be written (Read-only file system");
        await node.Node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        Assert.Equal(0, await node.Agent.StopAsync());
        Assert.Equal(1, node.Warnings("cannot be written"));
        NoTrace(node.Agent);
    }

    [Fact]
    public async Task AKubeProxyThatComesAndChangesItsModeIsFollowed()
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.None });
        lab.Manifests.Write(HybridNode.Web);
        var agent = await lab.StartAgentAsync();
        await using var clients = AskingClients.Start(lab, HybridNode.WebAddress, "client");

        await lab.StartKubeProxyAsync(KubeProxyRules.IptablesLegacy);
        await UntilBackendAsync("iptables-legacy");
        await lab.StartKubeProxyAsync(KubeProxyRules.Nftables);
        await UntilBackendAsync("nftables");
        // A kube-proxy that has just come is first until the rules have moved there.
        await clients.AllAnsweredAsync(HybridNode.ByAgent, HybridNode.ByKubeProxy);
        await Eventually.SeesAsync(async () => (await lab.PacketFilterAsync()).Split('\n'), lines => !lines.Any(line => line.Contains("tables-", StringComparison.Ordinal) && line.Contains("EDGEMESH", StringComparison.Ordinal)), Patience);
        Assert.Equal(0, await agent.StopAsync());

        Task UntilBackendAsync(string backend) => Eventually.SeesAsync(
            async () => (await agent.GetAsync("/status")).Body, body => body.Contains($"\"backend\": \"{backend}\"", StringComparison.Ordinal), Patience, $"the rules are in {backend}");
    }

    private static void NoTrace(AgentProcess agent)
    {
        Assert.DoesNotContain("   at ", agent.Log, StringComparison.Ordinal);
        Assert.DoesNotContain("Unhandled exception", agent.Log, StringComparison.OrdinalIgnoreCase);
    }
}
