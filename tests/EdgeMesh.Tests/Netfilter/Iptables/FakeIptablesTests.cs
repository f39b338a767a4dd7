using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using EdgeMesh.Testing;
using EdgeMesh.Testing.Netfilter.Iptables;
using Xunit;

namespace EdgeMesh.Tests.Netfilter.Iptables;

public sealed class FakeIptablesNftTests : IptablesCases
{
    protected override ICommands Commands { get; } = new FakeIptables();

    protected override IptablesVariant Variant => IptablesVariant.Nft;
}

/// <summary>The names of chains come from the kernel and not from a program.</summary>
public sealed class FakeIptablesThatTellsChainsTests : IptablesCases
{
    private readonly FakeIptables kernel = new() { TellsChains = true };

    protected override ICommands Commands => kernel;

    protected override IptablesVariant Variant => IptablesVariant.Nft;

    [Fact]
    public async Task NoTableIsPrintedToFindKubeProxyAndToSeeThatTheOtherIptablesHasNothingOfOurs()
    {
        await LoadAsync("*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n");
        kernel.Saved.Clear();
        var found = await new IptablesChoice(kernel, TimeProvider.System).DetectAsync(Cancel);
        Assert.Equal((Variant, true), (found.Variant, found.KubeProxyWrote));
        var portals = await NewAsync();
        await portals.RemoveFromOtherAsync(Cancel);
        Assert.Empty(await IptablesPortals.RemoveEverywhereAsync(kernel, Cancel));
        Assert.Empty(kernel.Saved);
    }

    [Fact]
    public async Task WhateverALeftoverMayBeCalledIsLookedFor()
    {
        string[] names = ["EDGE-MESH", "EDGEMESH-PORTALS-HOST", "KUBE-PORTALS-CONTAINER", "KUBE-NODEPORT-HOST", "KUBE-NODEPORT-NON-LOCAL", "EDGEMESH-SVC-X", "EDGEMESH-POSTROUTING", "EDGEMESH-MASQUERADE",
            "EDGEMESH-LISTENER", "EDGEMESH-PROBE", "EDGEMESH-INVALID", "EDGEMESH-FORWARD", "EDGEMESH-INPUT", "KUBE-SERVICES", "KUBE-SVC-X", "PREROUTING"];
        await LoadAsync($"*nat\n{string.Concat(names.Select(name => name == "PREROUTING" ? "" : $":{name} - [0:0]\n"))}COMMIT\n");
        var saved = SavedTables.Parse(string.Join('\n', ["*nat", .. await SaveAsync(IpFamily.IPv4, "nat")]));
        foreach (var name in names)
        {
            foreach (var table in (string[])["nat", "filter", "mangle"])
                Assert.True(!Leftovers.IsLeftover(saved, table, name, current: null, []) || Leftovers.CanBe(table, name), $"{table} {name}");
        }

        Assert.False(Leftovers.CanBe("nat", "KUBE-SERVICES"));
        Assert.False(Leftovers.CanBe("filter", "KUBE-FORWARD"));
    }
}

public sealed class FakeIptablesLegacyTests : IptablesCases
{
    private readonly FakeIptables kernel = new();

    protected override ICommands Commands => kernel;

    protected override IptablesVariant Variant => IptablesVariant.Legacy;

    [Fact]
    public async Task WithoutRecentTheHeartbeatIsLeftOutAndSaid()
    {
        kernel.Unsupported.Add("-m recent");
        var portals = await NewAsync();
        Assert.False(portals.HeartbeatAvailable);
        Assert.False(portals.CanExpress(IpFamily.IPv4, BackendChoice.ClientAffinity, 2));
        Assert.True(portals.CanExpress(IpFamily.IPv4, BackendChoice.RoundRobin, 2));
        await portals.SyncAsync([Family([Portal(1, 0)])], Cancel);
        Assert.DoesNotContain(await SaveAsync(IpFamily.IPv4, "nat"), l => l.Contains("edgemesh-alive", StringComparison.Ordinal));
    }

    [Fact]
    public async Task WithoutIPv6OnlyIPv4IsServed()
    {
        kernel.Missing.Add("ip6tables-legacy");
        Assert.Equal([IpFamily.IPv4], (await NewAsync()).Families);
    }

    [Fact]
    public async Task WithoutAnyIptablesTheMessageSaysWhatToInstall()
    {
        kernel.Missing.UnionWith(["iptables", "iptables-nft", "iptables-legacy"]);
        var e = await Assert.ThrowsAsync<NetfilterException>(() => new IptablesChoice(kernel, TimeProvider.System).DetectAsync(Cancel));
        Assert.Contains("Install the package `iptables`", e.Message);
    }

    [Fact]
    public async Task OneChangeOfAThousandSendsOneRulePerPortalChain()
    {
        var portals = await NewAsync();
        var rules = Enumerable.Range(1, 1000).Select(i => Portal(i, 0)).ToList();
        await portals.SyncAsync([Family(rules)], Cancel);
        rules.RemoveAt(500);
        await portals.SyncAsync([Family(rules)], Cancel);
        Assert.Equal(4, kernel.Restored[^1].Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
    }

    [Fact]
    public async Task WhatTheFirstSyncWroteIsNotReadBack()
    {
        var portals = await NewAsync();
        await portals.SyncAsync([Family([.. Enumerable.Range(1, 100).Select(i => Portal(i, 0))])], Cancel);
        Assert.DoesNotContain(kernel.Saved, text => text.Contains("EDGEMESH-PORTALS", StringComparison.Ordinal));
    }

    [Fact]
    public async Task WhatTookLongToWriteIsReadBackOnlyOnceInALongWhile()
    {
        var time = new ManualTime();
        var commands = new SlowToWrite(kernel, time);
        var portals = await new IptablesChoice(commands, time).CreateAsync(ChainPrefix.EdgeMesh, IptablesVariant.Nft, Cancel);
        await portals.SyncAsync([Family([Portal(1, 0), Portal(2, 3)])], Cancel);
        kernel.Saved.Clear();
        Assert.Empty((await portals.RepairAsync(Cancel)).Repairs);
        Assert.Empty(kernel.Saved);
        time.Advance(TimeSpan.FromHours(1));
        Assert.Empty((await portals.RepairAsync(Cancel)).Repairs);
        Assert.NotEmpty(kernel.Saved);
    }

    [Fact]
    public async Task ADeadUserspaceKubeProxysChainsAreLeftAlone()
    {
        await LoadAsync("*nat\n:KUBE-PORTALS-HOST - [0:0]\n-A KUBE-PORTALS-HOST -d 10.96.10.1/32 -p tcp -j DNAT --to-destination 192.168.1.5:4444\nCOMMIT\n");
        await (await NewAsync()).SyncAsync([Family([Portal(1, 0)])], Cancel);
        Assert.Contains(await SaveAsync(IpFamily.IPv4, "nat"), l => l.StartsWith(":KUBE-PORTALS-HOST", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AFilterTableThatIsHeldIsSaidAndFilledOrEmptiedByTheNextRepair(bool withdrawn)
    {
        var held = new FilterTableIsHeld(kernel);
        var portals = await new IptablesChoice(held, TimeProvider.System).CreateAsync(ChainPrefix.EdgeMesh, Variant, Cancel);
        var guarded = Family([Portal(1, 1)]) with { Invalid = new InvalidGuard([System.Net.IPNetwork.Parse("10.244.3.0/24")], []) };
        Assert.Null((await portals.SyncAsync([guarded], Cancel)).Incomplete);
        held.IsHeld = true;
        var next = withdrawn ? Family([]) : guarded with { Invalid = new InvalidGuard([System.Net.IPNetwork.Parse("10.244.0.0/24")], []) };
        Assert.Contains("xtables lock", (await portals.SyncAsync([next], Cancel)).Incomplete);
        Assert.Contains("xtables lock", (await portals.RepairAsync(Cancel)).Incomplete);
        Assert.Contains("xtables lock", (await portals.SyncAsync([next], Cancel)).Incomplete);
        Assert.Contains(await SaveAsync(IpFamily.IPv4, "filter"), line => line.Contains("10.244.3.0/24", StringComparison.Ordinal));

        held.IsHeld = false;
        Assert.Null((await portals.RepairAsync(Cancel)).Incomplete);
        var filter = await SaveAsync(IpFamily.IPv4, "filter");
        Assert.DoesNotContain(filter, line => line.Contains("10.244.3.0/24", StringComparison.Ordinal));
        Assert.Equal(!withdrawn, filter.Any(line => line.Contains("-s 10.244.0.0/24", StringComparison.Ordinal)));
    }
}

/// <summary>While somebody else holds its lock, nothing reads or writes the filter table.</summary>
internal sealed class FilterTableIsHeld(ICommands inner) : ICommands
{
    public bool IsHeld { get; set; }

    public bool Exists(string command) => inner.Exists(command);

    public Task<IReadOnlyList<string>?> ReadProcAsync(string path, CancellationToken cancellationToken) => inner.ReadProcAsync(path, cancellationToken);

    public Task<CommandResult> RunAsync(
        string command, IReadOnlyList<string> arguments, IEnumerable<ReadOnlyMemory<char>>? input, TimeSpan deadline, CancellationToken cancellationToken)
    {
        var text = input?.ToArray();
        return IsHeld && (arguments.Contains("filter") || text is not null && string.Concat(text).StartsWith("*filter", StringComparison.Ordinal))
            ? Task.FromResult(new CommandResult(4, "", "Another app is currently holding the xtables lock. Perhaps you want to use the -w option?\n"))
            : inner.RunAsync(command, arguments, text, deadline, cancellationToken);
    }
}

/// <summary>Writing takes a second.</summary>
internal sealed class SlowToWrite(ICommands inner, ManualTime time) : ICommands
{
    public bool Exists(string command) => inner.Exists(command);

    public Task<IReadOnlyList<string>?> ReadProcAsync(string path, CancellationToken cancellationToken) => inner.ReadProcAsync(path, cancellationToken);

    public Task<CommandResult> RunAsync(
        string command, IReadOnlyList<string> arguments, IEnumerable<ReadOnlyMemory<char>>? input, TimeSpan deadline, CancellationToken cancellationToken)
    {
        if (command.EndsWith("-restore", StringComparison.Ordinal))
            time.Advance(TimeSpan.FromSeconds(1));
        return inner.RunAsync(command, arguments, input, deadline, cancellationToken);
    }
}
