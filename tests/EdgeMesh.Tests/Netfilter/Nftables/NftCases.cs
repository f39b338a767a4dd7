using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Nftables;
using Xunit;

namespace EdgeMesh.Tests.Netfilter.Nftables;

/// <summary>What the backend needs of nft; run over the fake and, as root in a namespace of its own, over the real one.</summary>
public abstract class NftCases
{
    internal abstract INft Nft { get; }

    internal NftablesBackend Backend => field ??= new NftablesBackend(Nft, [IpFamily.IPv4, IpFamily.IPv6], TimeProvider.System, Send);

    /// <summary>Null: every change goes through nft.</summary>
    internal virtual NftSend? Send => null;

    protected static CancellationToken Cancel => TestContext.Current.CancellationToken;

    internal static FamilyPortals V4(params PortalRule[] rules) => new()
    {
        Family = IpFamily.IPv4,
        Listener = InetEndpoint.Parse("169.254.96.16:20007"),
        Rules = [.. rules],
    };

    internal static FamilyPortals V6(params PortalRule[] rules) => new()
    {
        Family = IpFamily.IPv6,
        Listener = InetEndpoint.Parse("[fd0e:6d65:7368::10]:20007"),
        Rules = [.. rules],
    };

    internal static PortalRule Rule(string key, string comment, PortalTarget target, TransportProtocol protocol = TransportProtocol.Tcp)
    {
        var address = InetEndpoint.Parse(key);
        return new PortalRule { Key = new TransportAddress(address, protocol), Comment = comment, Target = target };
    }

    internal static PortalTarget.Backends To(BackendChoice choice, params string[] endpoints) => new()
    {
        Choice = choice,
        Endpoints = [.. endpoints.Select(InetEndpoint.Parse)],
        AffinityTimeout = TimeSpan.FromHours(3),
    };

    [Fact]
    public async Task EveryKindOfPortalStandsAsWritten()
    {
        var result = await Backend.SyncAsync([V4(Everything), V6(EverythingV6)], Cancel);
        Assert.True(result.Changed);
        Assert.Equal(Everything.Length + EverythingV6.Length, result.RulesAdded);
        await AssertStandsAsync(IpFamily.IPv4);
        await AssertStandsAsync(IpFamily.IPv6);
        Assert.Empty((await Backend.RepairAsync(Cancel)).Repairs);
    }

    [Fact]
    public async Task WhatAHostNeedsStandsAsWritten()
    {
        await Backend.SyncAsync([HostV4, HostV6], Cancel);
        await AssertStandsAsync(IpFamily.IPv4);
        await AssertStandsAsync(IpFamily.IPv6);
        // A host that needs nothing any more, and then again.
        await Backend.SyncAsync([HostV4 with { Masquerade = MasqueradePolicy.HairpinOnly, Invalid = null }, V6()], Cancel);
        await AssertStandsAsync(IpFamily.IPv4);
        await Backend.SyncAsync([HostV4, HostV6], Cancel);
        await AssertStandsAsync(IpFamily.IPv4);
        await AssertStandsAsync(IpFamily.IPv6);
    }

    [Fact]
    public async Task TheSameAgainSendsNothing()
    {
        await Backend.SyncAsync([V4(Everything)], Cancel);
        Assert.Equal(new SyncResult(Changed: false, 0, 0), await Backend.SyncAsync([V4(Everything)], Cancel));
    }

    [Fact]
    public async Task EveryStepFromAnySetOfPortalsToAnyOtherIsTakenByTheKernel()
    {
        var random = new Random(20007);
        for (var step = 0; step < 60; step++)
        {
            var rules = Enumerable.Range(0, 6).Where(_ => random.Next(4) > 0).Select(i => RandomRule(random, i)).ToArray();
            await Backend.SyncAsync([V4(rules)], Cancel);
            await AssertStandsAsync(IpFamily.IPv4);
        }
    }

    [Fact]
    public async Task WithdrawingLeavesTheKernelPath()
    {
        await Backend.SyncAsync([V4(Everything)], Cancel);
        await Backend.WithdrawListenersAsync(Cancel);
        var portals = NftListing.Parse((await Nft.ListAsync("table ip edgemesh", Cancel)).Output).Sets["portals"];
        Assert.DoesNotContain(portals, e => e.EndsWith("goto listener", StringComparison.Ordinal) || e.EndsWith("goto refused", StringComparison.Ordinal));
        Assert.Equal(Everything.Count(r => r.Target is PortalTarget.Backends), portals.Count);
        Assert.True((await Backend.SyncAsync([V4(Everything)], Cancel)).Changed);
        await AssertStandsAsync(IpFamily.IPv4);
    }

    [Fact]
    public async Task ATableThatSomebodyRemovedComesBack()
    {
        await Backend.SyncAsync([V4(Everything), V6(EverythingV6)], Cancel);
        await RunAsync("delete table ip edgemesh");
        var repairs = (await Backend.RepairAsync(Cancel)).Repairs;
        Assert.Contains("ip edgemesh", Assert.Single(repairs), StringComparison.Ordinal);
        await AssertStandsAsync(IpFamily.IPv4);
        await RunAsync("delete table ip6 edgemesh");
        Assert.Single((await Backend.RepairAsync(Cancel)).Repairs);
        await AssertStandsAsync(IpFamily.IPv6);
    }

    [Theory]
    [InlineData("flush chain ip edgemesh prerouting", "chain prerouting")]
    [InlineData("add rule ip edgemesh output return", "chain output")]
    [InlineData("delete element ip edgemesh portals { 10.96.0.1 . 6 . 80 }", "portals")]
    [InlineData("add chain ip edgemesh foreign", "not ours")]
    public async Task AnEditIsFoundAndUndone(string edit, string found)
    {
        await Backend.SyncAsync([V4(Everything)], Cancel);
        await RunAsync(edit);
        Assert.Contains(found, string.Join('\n', (await Backend.RepairAsync(Cancel)).Repairs), StringComparison.Ordinal);
        await AssertStandsAsync(IpFamily.IPv4);
    }

    [Fact]
    public async Task ANextRunTakesOverHeartbeatAndAffinity()
    {
        await Backend.SyncAsync([V4(Everything)], Cancel);
        var set = NftListing.Parse((await Nft.ListAsync("table ip edgemesh", Cancel)).Output).Sets.Keys.First(s => s.StartsWith("aff-", StringComparison.Ordinal));
        await RunAsync($"add element ip edgemesh {set} {{ 10.1.2.3 timeout 3600s }}\nadd element ip edgemesh alive {{ 6 timeout 60s }}");
        var next = new NftablesBackend(Nft, [IpFamily.IPv4], TimeProvider.System, Send);
        await next.SyncAsync([V4(Everything)], Cancel);
        var sets = NftListing.Parse((await Nft.ListAsync("table ip edgemesh", Cancel)).Output).Sets;
        Assert.StartsWith("10.1.2.3 timeout", Assert.Single(sets[set]), StringComparison.Ordinal);
        Assert.StartsWith("6 timeout", Assert.Single(sets["alive"]), StringComparison.Ordinal);
        await AssertStandsAsync(IpFamily.IPv4, next);
    }

    [Fact]
    public async Task RemovingLeavesNothingAndMayBeRepeated()
    {
        await Backend.SyncAsync([V4(Everything), V6(EverythingV6)], Cancel);
        await Backend.RemoveAsync(Cancel);
        await Backend.RemoveAsync(Cancel);
        Assert.True((await Nft.ListAsync("table ip edgemesh", Cancel)).NotFound);
        Assert.True((await Nft.ListAsync("table ip6 edgemesh", Cancel)).NotFound);
    }

    [Fact]
    public async Task PositionsAreThePriority()
    {
        Assert.All(await Backend.InspectAsync(Cancel), p => Assert.Equal(0, p.Position));
        await Backend.SyncAsync([V4(Everything), V6()], Cancel);
        var positions = await Backend.InspectAsync(Cancel);
        Assert.Equal(4, positions.Length);
        Assert.All(positions, p => Assert.Equal((1, "priority -105"), (p.Position, p.Detail)));
    }

    [Fact]
    public async Task TheProbeSeesKubeProxysTable()
    {
        Assert.False((await NftablesProbe.AskAsync(Nft, stands: null, Cancel)).KubeProxyTable);
        await RunAsync("add table ip6 kube-proxy");
        var ability = await NftablesProbe.AskAsync(Nft, stands: null, Cancel);
        Assert.True(ability.KubeProxyTable);
        Assert.Equal(string.Empty, ability.WhyNot);
        Assert.Equal(2, ability.Families.Length);
        Assert.False((await NftablesProbe.AskAsync(Nft, (_, _) => false, Cancel)).KubeProxyTable);
        Assert.True((await NftablesProbe.AskAsync(Nft, (family, table) => (family, table) == (IpFamily.IPv6, "kube-proxy"), Cancel)).KubeProxyTable);
        await RunAsync("delete table ip6 kube-proxy");
    }

    [Theory]
    [InlineData("create table ip edgemesh", "File exists")]
    [InlineData("add rule ip edgemesh nosuch return", "No such file or directory")]
    [InlineData("add rule ip edgemesh refused goto nosuch", "No such file or directory")]
    [InlineData("delete chain ip edgemesh listener", "Device or resource busy")]
    [InlineData("delete element ip edgemesh portals { 10.96.99.99 . 6 . 80 }", "No such file or directory")]
    [InlineData("add element ip edgemesh portals { 10.96.0.1 . 6 . 80 : goto refused }", "File exists")]
    [InlineData("delete set ip edgemesh hairpin", "Device or resource busy")]
    public async Task TheKernelRefusesAndChangesNothing(string command, string error)
    {
        await Backend.SyncAsync([V4(Everything)], Cancel);
        Assert.Contains(error, (await TryAsync($"add chain ip edgemesh half\n{command}")).Error, StringComparison.Ordinal);
        await AssertStandsAsync(IpFamily.IPv4);
    }

    internal static PortalRule[] Everything { get; } =
    [
        Rule("10.96.0.1:80", "demo/web:http", To(BackendChoice.RoundRobin, "10.244.1.1:8080", "10.244.1.2:8080")),
        Rule("10.96.0.2:80", "demo/any:http", To(BackendChoice.Random, "10.244.1.1:8080", "10.244.1.2:8080", "10.244.1.3:8080")),
        Rule("10.96.0.3:80", "demo/hash", To(BackendChoice.SourceHash, "10.244.1.1:8080", "10.244.1.2:8080")),
        Rule("10.96.0.4:80", "demo/sticky:http", To(BackendChoice.ClientAffinity, "10.244.1.1:8080", "10.244.1.2:8080")),
        Rule("10.96.0.5:53", "demo/dns:udp", To(BackendChoice.RoundRobin, "10.244.1.1:53"), TransportProtocol.Udp),
        Rule("10.96.0.5:53", "demo/dns:tcp", To(BackendChoice.ClientAffinity, "10.244.1.1:53")),
        Rule("10.96.0.6:9", "demo/sctp", To(BackendChoice.RoundRobin, "10.244.1.1:9"), TransportProtocol.Sctp),
        Rule("10.96.0.7:80", "demo/far:http", PortalTarget.Listener.Instance),
        Rule("10.96.0.8:80", "demo/none:http", PortalTarget.Refused.Instance),
    ];

    internal static PortalRule[] EverythingV6 { get; } =
    [
        Rule("[fd00:10::1]:80", "demo/web:http", To(BackendChoice.RoundRobin, "[fd00:1::1]:8080", "[fd00:1::2]:8080")),
        Rule("[fd00:10::3]:80", "demo/hash", To(BackendChoice.SourceHash, "[fd00:1::1]:8080", "[fd00:1::2]:8080")),
        Rule("[fd00:10::4]:80", "demo/sticky:http", To(BackendChoice.ClientAffinity, "[fd00:1::1]:8080", "[fd00:1::2]:8080")),
        Rule("[fd00:10::7]:53", "demo/far:dns", PortalTarget.Listener.Instance, TransportProtocol.Udp),
        Rule("[fd00:10::8]:80", "demo/none:http", PortalTarget.Refused.Instance),
    ];

    /// <summary>Pods of two networks, one of which is a bridge without netfilter; an endpoint that cannot reach itself.</summary>
    internal static FamilyPortals HostV4 { get; } = V4(
        Rule("10.96.0.1:80", "demo/web:http", To(BackendChoice.RoundRobin, "10.244.1.1:8080", "10.244.1.2:8080") with { ThroughListener = [InetAddress.Parse("10.244.1.1")] }),
        Everything[3]) with
    {
        Masquerade = MasqueradePolicy.Except([IPNetwork.Parse("10.244.1.0/24"), IPNetwork.Parse("10.245.0.9/32")], [(IPNetwork.Parse("10.244.1.0/24"), IPNetwork.Parse("10.244.1.0/24"))]),
        Invalid = new InvalidGuard([IPNetwork.Parse("10.244.1.0/24")], [IPNetwork.Parse("10.96.0.0/16"), IPNetwork.Parse("192.0.2.7/32")]),
    };

    internal static FamilyPortals HostV6 { get; } = V6(
        Rule("[fd00:10::1]:80", "demo/web:http", To(BackendChoice.Random, "[fd00:1::1]:8080", "[fd00:1::2]:8080") with { ThroughListener = [InetAddress.Parse("fd00:1::1")] }),
        EverythingV6[2]) with
    {
        Masquerade = MasqueradePolicy.Except([IPNetwork.Parse("fd00:1::/64"), IPNetwork.Parse("fd00:2::9/128")], [(IPNetwork.Parse("fd00:1::/64"), IPNetwork.Parse("fd00:1::/64"))]),
        Invalid = new InvalidGuard([IPNetwork.Parse("fd00:1::/64")], [IPNetwork.Parse("fd00:10::/112")]),
    };

    internal async Task<NftAnswer> TryAsync(string commands)
    {
        using var transaction = new NftTransaction();
        foreach (var command in commands.Split('\n'))
            transaction.Command(NftTransaction.Step.Table, command);
        return await Nft.RunAsync(transaction, checkOnly: false, Cancel);
    }

    internal async Task RunAsync(string commands)
    {
        var answer = await TryAsync(commands);
        Assert.True(answer.Worked, answer.Error);
    }

    internal static PortalRule RandomRule(Random random, int index)
    {
        PortalTarget target = random.Next(7) switch
        {
            0 => PortalTarget.Listener.Instance,
            1 => PortalTarget.Refused.Instance,
            var n => To(
                (BackendChoice)(n % 4),
                [.. Enumerable.Range(1, 9).Where(_ => random.Next(2) == 0).Select(i => $"10.244.1.{i}:80")]),
        };
        return Rule($"10.96.0.{index}:80", random.Next(8) == 0 ? "demo/renamed" : $"demo/s{index}", target);
    }

    private async Task AssertStandsAsync(IpFamily family, NftablesBackend? backend = null) =>
        Assert.Empty(await (backend ?? Backend).CompareAsync(family, Cancel));
}
