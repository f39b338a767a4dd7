using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using Xunit;

namespace EdgeMesh.Testing.Netfilter.Iptables;

/// <summary>Cases for every kernel behind the iptables commands: the fake, iptables-nft, iptables-legacy.</summary>
public abstract class IptablesCases
{
    private const string JumpToContainer =
        "-m comment --comment \"handle ClusterIPs; NOTE: this must be before the NodePort rules\" -j EDGEMESH-PORTALS-CONTAINER";

    protected abstract ICommands Commands { get; }

    protected abstract IptablesVariant Variant { get; }

    [Fact]
    public async Task WhatIsSentIsWhatTheKernelPrints()
    {
        var portals = await NewAsync();
        await portals.SyncAsync(EveryKind(), Cancel);
        Assert.Empty((await portals.RepairAsync(Cancel)).Repairs);
        Assert.All(await portals.InspectAsync(Cancel), p => Assert.Equal(1, p.Position));
        var nat = await SaveAsync(IpFamily.IPv4, "nat");
        Assert.Contains("-A EDGEMESH-PORTALS-HOST -d 10.96.10.1/32 -p tcp -m comment --comment \"demo/web:http\" -m tcp --dport 80 -j DNAT --to-destination 169.254.96.16:20007", nat);
        Assert.Contains($"-A PREROUTING {JumpToContainer}", nat);
    }

    [Fact]
    public async Task ARestartWithTheSameDesiredStateSendsNothing()
    {
        await (await NewAsync()).SyncAsync(EveryKind(), Cancel);
        var second = await (await NewAsync()).SyncAsync(EveryKind(), Cancel);
        Assert.False(second.Changed);
    }

    [Fact]
    public async Task TheSamePortalsAgainSendNothing()
    {
        var portals = await NewAsync();
        await portals.SyncAsync(EveryKind(), Cancel);
        Assert.False((await portals.SyncAsync(EveryKind(), Cancel)).Changed);
    }

    [Fact]
    public async Task KubeProxyStartingLaterDoesNotTakeTheOrder()
    {
        var portals = await NewAsync();
        await portals.SyncAsync(EveryKind(), Cancel);
        await LoadAsync(KubeProxyJump);
        Assert.Contains(await portals.InspectAsync(Cancel), p => p is { HookChain: "PREROUTING", Position: 2 });

        var repair = Assert.Single((await portals.RepairAsync(Cancel)).Repairs);
        Assert.Contains("EDGEMESH-PORTALS-CONTAINER at 2, behind `-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES`", repair);
        Assert.All(await portals.InspectAsync(Cancel), p => Assert.Equal(1, p.Position));
        Assert.Empty((await portals.RepairAsync(Cancel)).Repairs);
    }

    [Fact]
    public async Task ATableThatWasFlushedIsBuiltAgain()
    {
        var portals = await NewAsync();
        await portals.SyncAsync(EveryKind(), Cancel);
        var before = await SaveAsync(IpFamily.IPv4, "nat");
        await LoadAsync("*nat\n-F\n-X\nCOMMIT\n");
        Assert.NotEmpty((await portals.RepairAsync(Cancel)).Repairs);
        Assert.Equal(before.Order(StringComparer.Ordinal), (await SaveAsync(IpFamily.IPv4, "nat")).Order(StringComparer.Ordinal));
        Assert.Empty((await portals.RepairAsync(Cancel)).Repairs);
    }

    [Theory]
    [InlineData("-F EDGEMESH-PORTALS-HOST", "EDGEMESH-PORTALS-HOST had been flushed")]
    [InlineData("-D EDGEMESH-PORTALS-HOST 1", "EDGEMESH-PORTALS-HOST had been changed")]
    [InlineData("-I EDGEMESH-PORTALS-CONTAINER 1 -j ACCEPT", "EDGEMESH-PORTALS-CONTAINER had been changed")]
    [InlineData("-F EDGEMESH-POSTROUTING", "EDGEMESH-POSTROUTING had been flushed")]
    [InlineData("-D POSTROUTING 1", "POSTROUTING had no jump")]
    [InlineData("-D PREROUTING 1", "PREROUTING had no jump")]
    [InlineData("-A PREROUTING " + JumpToContainer, "PREROUTING had 2 jumps")]
    [InlineData("-D PREROUTING 1\n-I PREROUTING -j EDGEMESH-PORTALS-CONTAINER", "PREROUTING had another jump")]
    public async Task DamageIsRepairedOnce(string damage, string said)
    {
        var portals = await NewAsync();
        await portals.SyncAsync(EveryKind(), Cancel);
        var before = await SaveAsync(IpFamily.IPv4, "nat");
        await LoadAsync($"*nat\n{damage}\nCOMMIT\n");
        Assert.Contains(said, Assert.Single((await portals.RepairAsync(Cancel)).Repairs));
        Assert.Equal(before, await SaveAsync(IpFamily.IPv4, "nat"));
        Assert.Empty((await portals.RepairAsync(Cancel)).Repairs);
    }

    [Fact]
    public async Task EveryStepOfAChurnLeavesExactlyWhatIsDesired()
    {
        var portals = await NewAsync();
        var random = new Random(20007);
        var pool = Enumerable.Range(1, 120).Select(i => Portal(i, random.Next(4))).ToArray();
        var present = new SortedSet<int>(Enumerable.Range(0, 100));
        await portals.SyncAsync([Family(present.Select(i => pool[i]))], Cancel);
        for (var step = 0; step < 40; step++)
        {
            for (var change = random.Next(1, 4); change > 0; change--)
            {
                var i = random.Next(pool.Length);
                if (!present.Remove(i))
                    present.Add(i);
                pool[random.Next(pool.Length)] = Portal(random.Next(1, 121), random.Next(4));
            }

            var desired = Family(present.Select(i => pool[i]));
            await portals.SyncAsync([desired], Cancel);
            Assert.Empty((await portals.RepairAsync(Cancel)).Repairs);
            Assert.False((await (await NewAsync()).SyncAsync([desired], Cancel)).Changed, $"step {step}");
        }
    }

    [Fact]
    public async Task WithdrawingTakesOutWhatNeedsTheProcessAndNothingElse()
    {
        var portals = await NewAsync();
        await portals.SyncAsync(EveryKind(), Cancel);
        await portals.WithdrawListenersAsync(Cancel);
        var nat = await SaveAsync(IpFamily.IPv4, "nat");
        Assert.DoesNotContain(nat, l => l.Contains("PORTALS", StringComparison.Ordinal) && l.Contains("DNAT", StringComparison.Ordinal));
        Assert.Contains(nat, l => l.StartsWith("-A EDGEMESH-PORTALS-HOST -d 10.96.10.3/32", StringComparison.Ordinal));
        Assert.Empty((await portals.RepairAsync(Cancel)).Repairs);
    }

    [Theory]
    [InlineData(ChainPrefix.EdgeMesh)]
    [InlineData(ChainPrefix.Kube)]
    public async Task CleanupLeavesEveryTableAsItWas(ChainPrefix prefix)
    {
        await LoadAsync(Fixture("iptables.rules"));
        await LoadAsync("*nat\nCOMMIT\n", IpFamily.IPv6);
        var before = await SaveAllAsync();
        var portals = await NewAsync(prefix);
        await portals.SyncAsync(EveryKind(), Cancel);
        Assert.NotEqual(before, await SaveAllAsync());
        await portals.RemoveAsync(Cancel);
        Assert.Equal(before, await SaveAllAsync());
    }

    [Theory]
    [InlineData(ChainPrefix.EdgeMesh)]
    [InlineData(ChainPrefix.Kube)]
    public async Task LeftOversOfOlderReleasesAreRemovedAtStart(ChainPrefix prefix)
    {
        await LoadAsync(Fixture("iptables.rules"));
        await LoadAsync(OlderReleases);
        var portals = await NewAsync(prefix);
        await portals.SyncAsync([Family([Portal(1, 0)])], Cancel);
        var lines = (await SaveAsync(IpFamily.IPv4, "nat")).Concat(await SaveAsync(IpFamily.IPv4, "filter")).ToList();
        string[] gone = ["EDGE-MESH", "KUBE-NODEPORT-", prefix == ChainPrefix.Kube ? "EDGEMESH-PORTALS-" : "KUBE-PORTALS-"];
        Assert.All(gone, name => Assert.DoesNotContain(lines, l => l.Contains(name, StringComparison.Ordinal)));
        Assert.Contains(lines, l => l.Contains("KUBE-SERVICES", StringComparison.Ordinal));
        Assert.All((await portals.InspectAsync(Cancel)).Where(p => p.Family == IpFamily.IPv4), p => Assert.Equal(1, p.Position));
        Assert.Single(portals.Notices);
    }

    [Fact]
    public async Task ChangingThePrefixMovesThePortals()
    {
        await (await NewAsync(ChainPrefix.Kube)).SyncAsync(EveryKind(), Cancel);
        var portals = await NewAsync();
        await portals.SyncAsync(EveryKind(), Cancel);
        Assert.DoesNotContain(await SaveAsync(IpFamily.IPv4, "nat"), l => l.Contains("KUBE-", StringComparison.Ordinal));
        Assert.Empty((await portals.RepairAsync(Cancel)).Repairs);
    }

    [Fact]
    public async Task TheChainsOfTheOtherIptablesAreRemovedOnASwitch()
    {
        var other = Variant == IptablesVariant.Nft ? IptablesVariant.Legacy : IptablesVariant.Nft;
        var before = await new IptablesChoice(Commands, TimeProvider.System).CreateAsync(ChainPrefix.EdgeMesh, other, Cancel);
        await before.SyncAsync(EveryKind(), Cancel);
        await (await NewAsync()).SyncAsync(EveryKind(), Cancel);
        Assert.DoesNotContain(await SaveAsync(IpFamily.IPv4, "nat", other), l => l.Contains("EDGEMESH", StringComparison.Ordinal));
    }

    [Fact]
    public async Task TheVariantOfKubeProxyIsFound()
    {
        await LoadAsync(Fixture("iptables.rules"));
        Assert.Equal(Variant, (await new IptablesChoice(Commands, TimeProvider.System).DetectAsync(Cancel)).Variant);
    }

    [Fact]
    public async Task SomebodysRuleThatLeadsToAChainOfOursDoesNotFreezeTheTable()
    {
        var portals = await NewAsync();
        await portals.SyncAsync([Family([Portal(1, 1), Portal(2, 1)])], Cancel);
        var chain = (await SaveAsync(IpFamily.IPv4, "nat")).First(l => l.StartsWith(":EDGEMESH-SVC-", StringComparison.Ordinal)).Split(' ')[0][1..];
        await LoadAsync($"*nat\n-A PREROUTING -p udp -j {chain}\nCOMMIT\n");
        await Assert.ThrowsAsync<NetfilterException>(() => portals.SyncAsync([Family([])], Cancel));
        Assert.True((await portals.SyncAsync([Family([])], Cancel)).Changed);
        Assert.Empty((await portals.RepairAsync(Cancel)).Repairs);
    }

    [Fact]
    public async Task ARefusedTransactionNamesItsLine()
    {
        var tables = new IptablesCommands(Commands, Variant, IpFamily.IPv4);
        var transaction = new Transaction("nat");
        transaction.Append("OUTPUT", new Rule("-j RETURN"));
        transaction.Delete("OUTPUT", new Rule("-j ACCEPT"));
        var refused = await Assert.ThrowsAsync<NetfilterException>(() => tables.RestoreAsync(transaction, Cancel));
        Assert.Contains("line 3 is `-D OUTPUT -j ACCEPT`", refused.Message);
        Assert.DoesNotContain(await SaveAsync(IpFamily.IPv4, "nat"), l => l == "-A OUTPUT -j RETURN");
    }

    protected static CancellationToken Cancel => TestContext.Current.CancellationToken;

    protected const string KubeProxyJump =
        "*nat\n:KUBE-SERVICES - [0:0]\n-I PREROUTING 1 -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\nCOMMIT\n";

    private const string OlderReleases = """
        *nat
        :EDGE-MESH - [0:0]
        :KUBE-PORTALS-CONTAINER - [0:0]
        :KUBE-PORTALS-HOST - [0:0]
        :EDGEMESH-PORTALS-CONTAINER - [0:0]
        :EDGEMESH-PORTALS-HOST - [0:0]
        :KUBE-NODEPORT-CONTAINER - [0:0]
        :KUBE-NODEPORT-HOST - [0:0]
        -I PREROUTING 1 -p tcp -j EDGE-MESH
        -I PREROUTING 1 -m comment --comment "handle ClusterIPs; NOTE: this must be before the NodePort rules" -j KUBE-PORTALS-CONTAINER
        -I PREROUTING 1 -m comment --comment "handle ClusterIPs; NOTE: this must be before the NodePort rules" -j EDGEMESH-PORTALS-CONTAINER
        -I OUTPUT 1 -m comment --comment "handle ClusterIPs; NOTE: this must be before the NodePort rules" -j KUBE-PORTALS-HOST
        -I OUTPUT 1 -m comment --comment "handle ClusterIPs; NOTE: this must be before the NodePort rules" -j EDGEMESH-PORTALS-HOST
        -A PREROUTING -m addrtype --dst-type LOCAL -m comment --comment "handle service NodePorts; NOTE: this must be the last rule in the chain" -j KUBE-NODEPORT-CONTAINER
        -A OUTPUT -m addrtype --dst-type LOCAL -m comment --comment "handle service NodePorts; NOTE: this must be the last rule in the chain" -j KUBE-NODEPORT-HOST
        -A EDGE-MESH -j RETURN
        -A KUBE-PORTALS-CONTAINER -d 10.96.10.1/32 -p tcp -m comment --comment "demo/web:http" -m tcp --dport 80 -j DNAT --to-destination 169.254.96.16:41234
        COMMIT
        *filter
        :KUBE-NODEPORT-NON-LOCAL - [0:0]
        -A INPUT -m comment --comment "Ensure that non-local NodePort traffic can flow" -j KUBE-NODEPORT-NON-LOCAL
        COMMIT

        """;

    protected Task<IptablesPortals> NewAsync(ChainPrefix prefix = ChainPrefix.EdgeMesh) =>
        new IptablesChoice(Commands, TimeProvider.System).CreateAsync(prefix, Variant, Cancel);

    protected async Task LoadAsync(string text, IpFamily family = IpFamily.IPv4)
    {
        var result = await Commands.RunAsync(
            IptablesCommands.Name(Variant, family) + "-restore", ["--noflush"], [text.AsMemory()], TimeSpan.FromSeconds(30), Cancel);
        Assert.True(result.ExitCode == 0, result.Error);
    }

    /// <summary>Without comments and counters.</summary>
    protected async Task<List<string>> SaveAsync(IpFamily family, string table, IptablesVariant? variant = null)
    {
        var result = await Commands.RunAsync(
            IptablesCommands.Name(variant ?? Variant, family) + "-save", ["-t", table], input: null, TimeSpan.FromSeconds(30), Cancel);
        return [.. result.Output.Split('\n').Where(l => l.Length > 0 && l[0] != '#').Select(l => l[0] == ':' ? l[..l.IndexOf('[', StringComparison.Ordinal)] : l)];
    }

    protected async Task<List<string>> SaveAllAsync()
    {
        var all = new List<string>();
        foreach (var family in Enum.GetValues<IpFamily>())
        {
            foreach (var table in (string[])["nat", "filter", "mangle"])
                all.AddRange(await SaveAsync(family, table));
        }

        return all;
    }

    protected static string Fixture(string name)
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "EdgeMesh.slnx")))
            folder = folder.Parent;
        return File.ReadAllText(Path.Combine(folder!.FullName, "tests", "fixtures", "kube-proxy", name));
    }

    protected static FamilyPortals Family(IEnumerable<PortalRule> rules) => new()
    {
        Family = IpFamily.IPv4,
        Listener = InetEndpoint.Parse("169.254.96.16:20007"),
        Rules = [.. rules],
    };

    protected static PortalRule Portal(int number, int kind) => new()
    {
        Key = new TransportAddress(InetAddress.Parse($"10.97.{number / 250}.{number % 250}"), 80, TransportProtocol.Tcp),
        Comment = $"churn/service-{number}:http",
        Target = kind switch
        {
            0 => PortalTarget.Listener.Instance,
            1 => Backends(BackendChoice.RoundRobin, number % 3 + 1),
            2 => PortalTarget.Refused.Instance,
            _ => Backends(BackendChoice.Random, 2),
        },
    };

    protected static List<FamilyPortals> EveryKind() =>
    [
        new()
        {
            Family = IpFamily.IPv4,
            Listener = InetEndpoint.Parse("169.254.96.16:20007"),
            Rules =
            [
                Rule("10.96.10.3", TransportProtocol.Tcp, "demo/robin:http", Backends(BackendChoice.RoundRobin, 3)),
                Rule("10.96.10.4", TransportProtocol.Udp, "demo/random:dns", Backends(BackendChoice.Random, 5)),
                Rule("10.96.10.5", TransportProtocol.Tcp, "demo/sticky:https", Backends(BackendChoice.ClientAffinity, 2) with { AffinityTimeout = TimeSpan.FromMinutes(10) }),
                Rule("10.96.10.6", TransportProtocol.Sctp, "demo/hashed:sctp", Backends(BackendChoice.SourceHash, 3) with { Local = [] }),
                Rule("10.96.10.1", TransportProtocol.Tcp, "demo/web:http", PortalTarget.Listener.Instance),
                Rule("10.96.10.2", TransportProtocol.Udp, "odd \"name\" of 'somebody' \\", PortalTarget.Refused.Instance),
                Rule("10.96.10.7", TransportProtocol.Tcp, "plain", PortalTarget.Listener.Instance),
            ],
        },
        new()
        {
            Family = IpFamily.IPv6,
            Listener = InetEndpoint.Parse("[fd0e:6d65:7368::10]:20007"),
            Masquerade = MasqueradePolicy.Everything,
            Rules =
            [
                Rule("fd00:96::3", TransportProtocol.Tcp, "demo/six:http", new PortalTarget.Backends
                {
                    Endpoints = [InetEndpoint.Parse("[fd00:244::1]:8080"), InetEndpoint.Parse("[fd00:244::2]:8080")],
                    Choice = BackendChoice.ClientAffinity,
                }),
                Rule("fd00:96::1", TransportProtocol.Udp, "demo/six:dns", PortalTarget.Listener.Instance),
            ],
        },
    ];

    private static PortalRule Rule(string address, TransportProtocol protocol, string comment, PortalTarget target) =>
        new() { Key = new TransportAddress(InetAddress.Parse(address), 80, protocol), Comment = comment, Target = target };

    protected static PortalTarget.Backends Backends(BackendChoice choice, int count) => new()
    {
        Endpoints = [.. Enumerable.Range(1, count).Select(i => new InetEndpoint(InetAddress.Parse($"10.244.0.{i}"), 8080))],
        Choice = choice,
    };
}
