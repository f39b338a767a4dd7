using System.Runtime.CompilerServices;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Nftables;
using Xunit;
using static EdgeMesh.Tests.Netfilter.Nftables.NftCases;

namespace EdgeMesh.Tests.Netfilter.Nftables;

public sealed class NftTextTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public void EveryKindOfPortalInIPv4() => AssertGolden("everything-ipv4.nft", Full(V4(Everything)));

    [Fact]
    public void EveryKindOfPortalInIPv6() => AssertGolden("everything-ipv6.nft", Full(V6(EverythingV6)));

    [Fact]
    public void MasqueradeAllMarksEveryConnection() =>
        AssertGolden("masquerade-all.nft", Full(V4(Everything[0], Everything[3]) with { Masquerade = MasqueradePolicy.Everything }));

    [Fact]
    public void WhatAHostNeedsInIPv4() => AssertGolden("host-ipv4.nft", Full(HostV4));

    [Fact]
    public void WhatAHostNeedsInIPv6() => AssertGolden("host-ipv6.nft", Full(HostV6));

    [Fact]
    public void AChangedEndpointIsOneElement() => AssertGolden(
        "change-endpoint.nft",
        Change(Everything, Replace(0, To(BackendChoice.RoundRobin, "10.244.1.1:8080", "10.244.1.9:8080"))));

    [Fact]
    public void AnAddedEndpointIsOneElementAndOneChain() => AssertGolden(
        "add-endpoint.nft",
        Change(Everything, Replace(1, To(BackendChoice.Random, "10.244.1.1:8080", "10.244.1.2:8080", "10.244.1.3:8080", "10.244.1.4:8080"))));

    [Fact]
    public void AnEndpointThatLeavesForgetsItsClientsOnly() => AssertGolden(
        "affinity-endpoint-leaves.nft",
        Change(Everything, Replace(3, To(BackendChoice.ClientAffinity, "10.244.1.2:8080"))));

    [Fact]
    public void AServiceThatGoesToTheListenerLosesItsChain() =>
        AssertGolden("to-listener.nft", Change(Everything, Replace(0, PortalTarget.Listener.Instance)));

    [Fact]
    public void ARemovedServiceLeavesNothing() => AssertGolden("remove.nft", Change(Everything, Everything[1..]));

    [Fact]
    public void RulesThatAreEqualButNotTheSameObjectsSendNothing()
    {
        var copies = Everything.Select(r => r with
        {
            Target = r.Target is PortalTarget.Backends b ? b with { Endpoints = [.. b.Endpoints] } : r.Target,
        });
        Assert.Equal(string.Empty, Change(Everything, [.. copies]));
    }

    [Fact]
    public async Task ARefusedTransactionIsFollowedByTheWholeTable()
    {
        var nft = new FakeNft();
        var backend = new NftablesBackend(nft, [IpFamily.IPv4], TimeProvider.System);
        await backend.SyncAsync([V4(Everything)], Cancel);
        nft.RefuseWith = "Error: Could not process rule: Cannot allocate memory";
        var failure = await Assert.ThrowsAsync<NetfilterException>(() => backend.SyncAsync([V4(Everything[1..])], Cancel));
        Assert.Contains("Cannot allocate memory", failure.Message, StringComparison.Ordinal);
        nft.RefuseWith = null;
        await backend.SyncAsync([V4(Everything[1..])], Cancel);
        Assert.StartsWith("add table ip edgemesh\ndelete table ip edgemesh\n", nft.Applied[^1], StringComparison.Ordinal);
        Assert.Empty(await backend.CompareAsync(IpFamily.IPv4, Cancel));
    }

    [Fact]
    public async Task OneFamilyThatFailsDoesNotStopTheOther()
    {
        var nft = new FakeNft();
        var backend = new NftablesBackend(nft, [IpFamily.IPv6], TimeProvider.System);
        Assert.True((await backend.SyncAsync([V4(Everything), V6(EverythingV6)], Cancel)).Changed);
        Assert.True((await nft.ListAsync("table ip edgemesh", Cancel)).NotFound);
        Assert.True((await nft.ListAsync("table ip6 edgemesh", Cancel)).Worked);
    }

    [Theory]
    [InlineData("a\"; flush ruleset; \"", "a__ flush ruleset_ _")]
    [InlineData("demo/web\n{x},", "demo/web__x__")]
    public void CommentsCannotLeaveTheirQuotes(string comment, string written)
    {
        Assert.Equal(written, NftNames.Comment(comment));
        Assert.Matches("^svc-[A-Z2-7]{8}-[A-Za-z0-9/_.-]*$", NftNames.ServiceChain(Rule("10.0.0.1:1", comment, PortalTarget.Listener.Instance), affinity: false));
    }

    [Fact]
    public void LongNamesAreCutAndStayDifferent()
    {
        var comment = new string('n', 63) + "/" + new string('s', 63) + ":" + new string('p', 15);
        var one = NftNames.ServiceChain(Rule("10.0.0.1:1", comment, PortalTarget.Listener.Instance), affinity: false);
        var other = NftNames.ServiceChain(Rule("10.0.0.1:2", comment, PortalTarget.Listener.Instance), affinity: false);
        Assert.NotEqual(one, other);
        Assert.InRange(one.Length, 1, NftNames.NameLimit);
        Assert.InRange(NftNames.Comment(comment).Length, 1, NftNames.CommentLimit);
    }

    [Fact]
    public void SlotsAreUsedAgain()
    {
        var slots = new BackendSlots(TransportProtocol.Tcp);
        var runs = Enumerable.Range(0, 1000).Select(_ => slots.Take(3)).ToList();
        foreach (var run in runs)
            slots.Return(run);
        var again = Enumerable.Range(0, 1000).Select(_ => slots.Take(4)).ToList();
        Assert.Equal(runs.Select(r => r.Offset).Order(), again.Select(r => r.Offset).Order());
        Assert.DoesNotContain(again, r => r.NewMap);
    }

    [Theory]
    [InlineData(true, "iptables-nft", true, BackendKind.Nftables)]
    [InlineData(true, "iptables-nft", false, BackendKind.Iptables)]
    [InlineData(true, "", true, BackendKind.Nftables)]
    [InlineData(false, "iptables-legacy", true, BackendKind.Iptables)]
    [InlineData(false, "", true, BackendKind.Nftables)]
    [InlineData(false, "", false, BackendKind.None)]
    [InlineData(true, "", false, BackendKind.None)]
    public void TheBackendFollowsKubeProxy(bool kubeProxyNftables, string variant, bool nft, BackendKind expected)
    {
        var decision = BackendDecision.Decide(new BackendFacts(kubeProxyNftables, variant.Length == 0 ? [] : [variant], nft));
        Assert.Equal(expected, decision.Backend);
        Assert.NotEmpty(decision.Reason);
    }

    private static string Full(FamilyPortals portals)
    {
        using var transaction = new NftTransaction();
        var table = new PortalTable(portals);
        table.WriteReplace(transaction);
        table.Write(transaction, portals.Rules);
        return transaction.ToString();
    }

    private static string Change(PortalRule[] from, PortalRule[] to)
    {
        using var first = new NftTransaction();
        var table = new PortalTable(V4(from));
        table.Write(first, [.. from]);
        using var second = new NftTransaction();
        table.Write(second, [.. to]);
        return second.ToString();
    }

    private static PortalRule[] Replace(int index, PortalTarget target)
    {
        PortalRule[] rules = [.. Everything];
        rules[index] = rules[index] with { Target = target };
        return rules;
    }

    /// <summary>With EDGEMESH_WRITE_GOLDEN=1 the files are written instead of compared; read the difference before committing it.</summary>
    private static void AssertGolden(string name, string text, [CallerFilePath] string here = "")
    {
        var path = Path.Combine(Path.GetDirectoryName(here)!, "golden", name);
        if (Environment.GetEnvironmentVariable("EDGEMESH_WRITE_GOLDEN") == "1")
            File.WriteAllText(path, text);
        Assert.Equal(File.ReadAllText(path), text);
    }
}
