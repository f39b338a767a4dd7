using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using EdgeMesh.Testing.Netfilter.Iptables;
using Xunit;

namespace EdgeMesh.Tests.Netfilter.Iptables;

public sealed class FakeIptablesNftTests : IptablesCases
{
    protected override ICommands Commands { get; } = new FakeIptables();

    protected override IptablesVariant Variant => IptablesVariant.Nft;
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
    public async Task ADeadUserspaceKubeProxysChainsAreLeftAlone()
    {
        await LoadAsync("*nat\n:KUBE-PORTALS-HOST - [0:0]\n-A KUBE-PORTALS-HOST -d 10.96.10.1/32 -p tcp -j DNAT --to-destination 192.168.1.5:4444\nCOMMIT\n");
        await (await NewAsync()).SyncAsync([Family([Portal(1, 0)])], Cancel);
        Assert.Contains(await SaveAsync(IpFamily.IPv4, "nat"), l => l.StartsWith(":KUBE-PORTALS-HOST", StringComparison.Ordinal));
    }
}
