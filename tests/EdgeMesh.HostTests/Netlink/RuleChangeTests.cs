using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Netfilter;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Netlink;

public sealed class RuleChangeTests
{
    private static readonly RuleWatch _watch = new() { ChainPrefixes = ["EDGEMESH-"], Tables = ["edgemesh"] };

    [Theory]
    [InlineData("iptables-nft", KubeProxyRules.IptablesNft)]
    [InlineData("ip6tables-nft", KubeProxyRules.None)]
    public async Task ARuleAboveOursWakesWithin100MillisecondsAndChainsOfOthersDoNot(string iptables, KubeProxyRules kubeProxy)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = kubeProxy, PodServers = false });
        await RestoreAsync(lab, iptables, "*nat\n:EDGEMESH-PORTALS-HOST - [0:0]\n:KUBE-SVC-TEST - [0:0]\n-I OUTPUT -j EDGEMESH-PORTALS-HOST\nCOMMIT\n");
        using var monitor = lab.Node.Run(() => RuleChangeMonitor.Start(_watch));

        // 2,000 rules of a kube-proxy chain: read, and of no interest.
        var churn = new StringBuilder("*nat\n");
        for (var i = 0; i < 2_000; i++)
            churn.Append($"-A KUBE-SVC-TEST -p udp -m udp --dport {1 + i} -m comment --comment \"a service port\" -j RETURN\n");
        await RestoreAsync(lab, iptables, churn.Append("COMMIT\n").ToString());
        await Eventually.HoldsAsync(() => monitor.Messages >= 2_000, TimeSpan.FromSeconds(5));
        var wake = monitor.WaitAsync(CancellationToken.None).AsTask();
        Assert.False(wake.IsCompleted);

        var watch = Stopwatch.StartNew();
        await RestoreAsync(lab, iptables, "*nat\n-I OUTPUT -j KUBE-SVC-TEST\nCOMMIT\n");
        var inserted = watch.Elapsed;
        Assert.Equal(RuleChanges.HookChain, await wake.WaitAsync(TimeSpan.FromSeconds(5).Here()));
        // The event comes with the commit, and the program ends after it: the difference is an upper bound.
        Assert.InRange((watch.Elapsed - inserted).TotalMilliseconds, 0, 100);

        await RestoreAsync(lab, iptables, "*nat\n-F EDGEMESH-PORTALS-HOST\n-A EDGEMESH-PORTALS-HOST -j RETURN\nCOMMIT\n");
        Assert.Equal(RuleChanges.WatchedChain, await monitor.WaitAsync(CancellationToken.None).AsTask().WaitAsync(TimeSpan.FromSeconds(5).Here()));
    }

    [Fact]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task OurNativeTableIsWatchedButNotTheHeartbeatInIt()
    {
        await using var lab = await ListenDeviceTests.BareLabAsync();
        await NftHeartbeatTests.MakeSetsAsync(lab);
        using var monitor = lab.Node.Run(() => RuleChangeMonitor.Start(_watch));
        using var heartbeat = NftHeartbeatTests.Start(lab);
        for (var beat = 1; beat <= 5; beat++)
        {
            heartbeat.Beat();
            await Eventually.HoldsAsync(() => heartbeat.Written == 2 * beat, TimeSpan.FromSeconds(5));
        }

        var wake = monitor.WaitAsync(CancellationToken.None).AsTask();
        (await lab.RunAsync("node", "nft", "delete", "table", "ip6", "edgemesh")).Succeeded();
        Assert.Equal(RuleChanges.WatchedTable, await wake.WaitAsync(TimeSpan.FromSeconds(5).Here()));
        // Ten heartbeat transactions were dropped inside the kernel: only the deletion was ever read.
        Assert.InRange(monitor.Messages, 1, 20);
    }

    [Theory]
    [InlineData("nft", "add table ip edgemesh", "flush ruleset")]
    [InlineData("iptables-nft-restore", "*nat\n:EDGEMESH-A - [0:0]\nCOMMIT\n", "*nat\n:EDGEMESH-B - [0:0]\nCOMMIT\n")]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task WhatOurOwnProgramsChangeIsToldFromWhatOthersChangeByTheSender(string program, string ours, string others)
    {
        await using var lab = await ListenDeviceTests.BareLabAsync();
        var senders = new ConcurrentDictionary<uint, byte>();
        var own = true;
        using var monitor = lab.Node.Run(() => RuleChangeMonitor.Start(_watch with { IsOwn = sender =>
        {
            senders.TryAdd(sender, 0);
            return Volatile.Read(ref own);
        } }));
        // `ip netns exec` becomes the program, so the process that is started is the one that speaks to the kernel.
        var id = 0;
        var commands = new HostCommands(TimeProvider.System, new ProgramRuns(TimeProvider.System, started => id = started));
        async Task RunAsync(string text) => Assert.Equal(0, (await commands.RunAsync(
            "ip", ["netns", "exec", lab.Node.Name, program, .. program == "nft" ? (string[])["-f", "-"] : ["--noflush", "-w", "5"]], [text.AsMemory()], TimeSpan.FromSeconds(20), CancellationToken.None)).ExitCode);

        var wake = monitor.WaitAsync(CancellationToken.None).AsTask();
        await RunAsync(ours);
        await Eventually.HoldsAsync(() => senders.ContainsKey((uint)id), TimeSpan.FromSeconds(5));
        Assert.False(wake.IsCompleted);

        Volatile.Write(ref own, false);
        await RunAsync(others);
        Assert.NotEqual(RuleChanges.None, await wake.WaitAsync(TimeSpan.FromSeconds(5).Here()));
        Assert.Contains((uint)id, senders.Keys);
    }

    [Theory]
    [InlineData("iptables-legacy", false)]
    [InlineData("ip6tables-legacy", true)]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task TheFingerprintOfALegacyTableChangesWithARuleAndAskingMakesNoTable(string iptables, bool ipv6)
    {
        await using var lab = await ListenDeviceTests.BareLabAsync();
        using var table = lab.Node.Run(() => LegacyTable.Open(ipv6));
        var read = () => lab.Node.Run(table.Read);
        Assert.Null(read());
        Assert.Null(read());

        (await lab.RunAsync("node", iptables, "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-j", "RETURN")).Succeeded();
        var first = read();
        Assert.NotNull(first);
        Assert.Equal(first, read());
        (await lab.RunAsync("node", iptables, "-t", "nat", "-I", "PREROUTING", "-p", "tcp", "-j", "RETURN")).Succeeded();
        var second = read();
        Assert.Equal(first.Value.Entries + 1, second!.Value.Entries);
        Assert.NotEqual(first.Value.Hooks.Out, second.Value.Hooks.Out);
    }

    private static async Task RestoreAsync(NamespaceLab lab, string iptables, string rules) =>
        (await lab.RunWithInputAsync("node", rules, $"{iptables}-restore", "--noflush", "-w", "5")).Succeeded();
}
