using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Hosts;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using Xunit;
using static EdgeMesh.Tests.Hosts.TestHost;

namespace EdgeMesh.Tests.Hosts;

public sealed class HostDecisionTests
{
    private static readonly FilterChain Forward = new("ip", "filter", "FORWARD", FilterHook.Forward, IsLegacy: false, PolicyDrops: true, EndsInDrop: false);

    [Fact]
    public void AnOrdinaryHostCarriesBothFamilies()
    {
        var host = Ordinary.Decide();
        foreach (var family in (HostCarriage[])[host.IPv4, host.IPv6])
        {
            Assert.Equal(HostCode.Carries, family.Code);
            Assert.Empty(family.SelfThroughListener);
            Assert.Empty(family.Masquerade.Inside);
            Assert.False(family.NeedsServiceRoute);
            Assert.Empty(family.Notices);
        }
    }

    [Fact]
    public void OnlyPodsOfThisNodeKeepTheirAddress()
    {
        var host = Ordinary.Decide();
        Assert.Equal(["10.244.1.0/24", "10.245.7.9/32"], host.IPv4.Masquerade.Local.Select(n => n.ToString()));
        Assert.Equal(["fd00:244::/64"], host.IPv6.Masquerade.Local.Select(n => n.ToString()));
    }

    [Theory]
    [InlineData(LocalDetection.Auto, "10.0.0.0/8")]
    [InlineData(LocalDetection.ClusterCidr, "10.0.0.0/8")]
    [InlineData(LocalDetection.PodCidr, "10.250.1.0/24")]
    [InlineData(LocalDetection.Bridge, "10.244.1.0/24 10.245.7.9/32")]
    public void TheConfigurationSaysHowPodsAreKnown(LocalDetection detection, string local)
    {
        var policy = new HostPolicy { Detection = detection, ClusterRanges = [AddressRange.Parse("10.0.0.0/8")], PodRanges = [AddressRange.Parse("10.250.1.0/24")] };
        Assert.Equal(local, string.Join(' ', Ordinary.Decide(policy).IPv4.Masquerade.Local));
    }

    [Fact]
    public void WhoKnowsNoPodsMasqueradesEverybody()
    {
        var host = Ordinary.Decide(new HostPolicy { Detection = LocalDetection.PodCidr });
        Assert.True(host.IPv4.Masquerade is { DependsOnAddresses: true, Local.IsEmpty: true });
        Assert.True(Ordinary.Decide(new HostPolicy { MasqueradeAll = true }).IPv4.Masquerade.All);
    }

    [Fact]
    public void ABridgeWhoseTrafficDoesNotPassNetfilterIsMasqueradedInside()
    {
        foreach (bool? off in (bool?[])[false, null])
        {
            var host = (Ordinary with { BridgeFilterIPv4 = off }).With(FirstPort, link => link with { Hairpin = false }).Decide();
            Assert.Equal(HostCode.CarriesWithRules, host.IPv4.Code);
            Assert.Equal([(IPNetwork.Parse("10.244.1.0/24"), IPNetwork.Parse("10.244.1.0/24"))], host.IPv4.Masquerade.Inside);
            Assert.Empty(host.IPv4.SelfThroughListener);
            Assert.Equal(HostCode.CarriesWithRules, host.IPv6.Code);
            Assert.Empty(host.IPv6.Masquerade.Inside);
        }
    }

    /// <summary>Pods with a second network, as Multus gives it to them: on another bridge of the node.</summary>
    [Fact]
    public void WhatGoesToAnotherBridgeThatHasPodsOfThisOneIsMasqueradedIfItsAnswersPassNoNetfilter()
    {
        const int second = 8;
        var both = Ordinary.With(FirstPort, link => link with { PeerNamespace = 0 }).With(SecondPort, link => link with { PeerNamespace = 1 });
        both = both with
        {
            Links = [.. both.Links, Link(second, "br1", "bridge"), Link(9, "net1", "veth") with { Master = second, Hairpin = true, PeerNamespace = 1 }],
            Routes = [.. both.Routes, Route("192.168.50.0/24", second)],
            Settings = [.. both.Settings, new HostDeviceSettings(IsIPv6: false, second, Forwarding: true, 0)],
        };
        Assert.Empty(both.Decide().IPv4.Masquerade.Inside);
        var split = both with { BridgeFilterIPv4 = false };
        Assert.Equal(
            ["10.244.1.0/24 10.244.1.0/24", "10.244.1.0/24 192.168.50.0/24", "192.168.50.0/24 192.168.50.0/24", "192.168.50.0/24 10.244.1.0/24"],
            split.Decide().IPv4.Masquerade.Inside.Select(pair => $"{pair.From} {pair.To}"));
        Assert.Contains("so are those from cni0 to br1, from br1 to cni0, since pods that stand on both answer past this node", split.Decide().IPv4.Sentence, StringComparison.Ordinal);
        // Other pods' bridges, as Docker's beside that of CNI.
        Assert.Equal(
            ["10.244.1.0/24 10.244.1.0/24", "192.168.50.0/24 192.168.50.0/24"],
            split.With(9, link => link with { PeerNamespace = 7 }).Decide().IPv4.Masquerade.Inside.Select(pair => $"{pair.From} {pair.To}"));
    }

    [Fact]
    public void ABridgesOwnSwitchDoesForTheNodes()
    {
        var host = (Ordinary with { BridgeFilterIPv4 = false }).With(Bridge, link => link with { FilterIPv4 = true }).Decide();
        Assert.Equal(HostCode.Carries, host.IPv4.Code);
    }

    [Fact]
    public void WithoutHairpinModeAnEndpointAsksItselfThroughTheListener()
    {
        var host = Ordinary.With(SecondPort, link => link with { Hairpin = false }).Decide();
        Assert.Equal(HostCode.CarriesWithRules, host.IPv4.Code);
        Assert.True(host.IPv4.GoesThroughListener(InetAddress.Parse("10.244.1.7")));
        Assert.False(host.IPv4.GoesThroughListener(InetAddress.Parse("10.245.7.9")));
        Assert.True(host.IPv6.GoesThroughListener(InetAddress.Parse("fd00:244::7")));
    }

    [Fact]
    public void ABridgeWithACardInItHoldsNoPods()
    {
        var host = Ordinary.With(SecondPort, link => link with { Kind = "" }).Decide();
        Assert.Equal(["10.245.7.9/32"], host.IPv4.Masquerade.Local.Select(n => n.ToString()));
    }

    [Fact]
    public void ACardThatIsAVethHoldsNoPods()
    {
        var host = Ordinary.With(Card, link => link with { Kind = "veth" }).Decide();
        Assert.DoesNotContain("192.168.1.0/24", host.IPv4.Masquerade.Local.Select(n => n.ToString()));
    }

    [Theory]
    [InlineData(All, Card, Bridge, RoutedPod, "net.ipv4.ip_forward is 0")]
    [InlineData(Card, Card, Card, Card, "by eth0")]
    [InlineData(Bridge, Bridge, RoutedPod, RoutedPod, "by cni0, cali1")]
    public void WhoDoesNotForwardGoesThroughTheListener(int a, int b, int c, int d, string said)
    {
        var host = Ordinary.WithoutForwarding(a, b, c, d).Decide();
        Assert.Equal(HostCode.NotForwarding, host.IPv4.Code);
        Assert.Contains(said, host.IPv4.Sentence, StringComparison.Ordinal);
        Assert.Equal(a == All ? HostCode.NotForwarding : HostCode.Carries, host.IPv6.Code);
    }

    [Fact]
    public void APolicyThatDropsIsAnsweredByARuleOfOurs()
    {
        var host = Ordinary.WithChain(Forward).Decide();
        Assert.Equal(HostCode.CarriesWithRules, host.IPv4.Code);
        Assert.True(host.IPv4.AcceptForwarded);
        Assert.Equal(HostCode.Carries, host.IPv6.Code);
    }

    [Fact]
    public void WhatNoRuleOfOursCanAnswerGoesThroughTheListener()
    {
        FilterChain[] chains =
        [
            Forward with { EndsInDrop = true },
            Forward with { IsLegacy = true },
            new("inet", "fw", "fwd", FilterHook.Forward, IsLegacy: false, PolicyDrops: true, EndsInDrop: false),
            new("inet", "firewalld", "filter_FORWARD", FilterHook.Forward, IsLegacy: false, PolicyDrops: false, EndsInDrop: true),
        ];
        foreach (var chain in chains)
        {
            var host = Ordinary.WithChain(chain).Decide();
            Assert.Equal(HostCode.ForwardDropped, host.IPv4.Code);
            Assert.False(host.IPv4.AcceptForwarded);
            Assert.Contains(chain.Name, host.IPv4.Sentence, StringComparison.Ordinal);
        }

        Assert.Equal(HostCode.ForwardDropped, Ordinary.WithChain(Forward).Decide(new HostPolicy { OwnFilterIsLegacy = null }).IPv4.Code);
        Assert.Equal(HostCode.ForwardDropped, Ordinary.WithChain(Forward).WithChain(chains[2]).Decide().IPv4.Code);
    }

    [Fact]
    public void AFirewallBeforeTheListenerKeepsTheKernelPathAndIsSaid()
    {
        var shut = new FilterChain("inet", "firewalld", "in", FilterHook.Input, IsLegacy: false, PolicyDrops: true, EndsInDrop: false);
        var host = Ordinary.WithChain(shut).Decide();
        Assert.Equal(HostCode.Carries, host.IPv4.Code);
        Assert.Equal("inet firewalld in", host.IPv4.ListenerShutBy);
        Assert.Equal(
            "IPv4: inet firewalld in drops what no rule accepts on the way in, so that services that need the agent are left to kube-proxy, unless only the tunnel reaches their endpoints; add a rule there that names and accepts the destination 169.254.96.16",
            Assert.Single(host.IPv4.Notices));
        Assert.EndsWith("fd0e:6d65:7368::10", Assert.Single(host.IPv6.Notices), StringComparison.Ordinal);
    }

    [Fact]
    public void AFirewallThatIsOpenToTheListenerIsNoFirewall()
    {
        var open = new FilterChain("inet", "firewalld", "in", FilterHook.Input, IsLegacy: false, PolicyDrops: true, EndsInDrop: false) { OpenToIPv4 = true };
        var host = Ordinary.WithChain(open).WithChain(Forward with { IsLegacy = true }).Decide();
        Assert.Null(host.IPv4.ListenerShutBy);
        Assert.Equal(HostCode.ForwardDropped, host.IPv4.Code);
        Assert.Equal("inet firewalld in", host.IPv6.ListenerShutBy);
    }

    [Fact]
    public void WithBothWaysShutNothingIsCarried()
    {
        var shut = new FilterChain("ip", "filter", "INPUT", FilterHook.Input, IsLegacy: true, PolicyDrops: true, EndsInDrop: false);
        var host = Ordinary.WithChain(shut).WithChain(Forward with { IsLegacy = true }).Decide();
        Assert.Equal(HostCode.Shut, host.IPv4.Code);
        Assert.Equal(
            "iptables-legacy ip filter FORWARD drops what it does not know when this node forwards it, and iptables-legacy ip filter INPUT when it comes in", host.IPv4.Sentence);
    }

    [Fact]
    public void APolicyOfInputIsAnsweredByARuleOfOurs()
    {
        var host = Ordinary.WithChain(Forward with { Name = "INPUT", Hook = FilterHook.Input }).Decide();
        Assert.True(host.IPv4.AcceptListener);
        Assert.Null(host.IPv4.ListenerShutBy);
        Assert.Empty(host.IPv4.Notices);
    }

    [Fact]
    public void WithoutADefaultRouteTheNodesOwnRequestsNeedOne()
    {
        var host = (Ordinary with { Routes = [.. Ordinary.Routes.Where(r => r.PrefixLength > 0 || r.Destination.IsIPv6)] }).Decide();
        Assert.True(host.IPv4.NeedsServiceRoute);
        Assert.False(host.IPv6.NeedsServiceRoute);
    }

    [Fact]
    public void AHostThatCannotBeLookedAtGoesThroughTheListener()
    {
        var host = HostDecision.Unknown("no netlink");
        Assert.False(host.IPv4.Carries);
        Assert.Contains("no netlink", Assert.Single(host.IPv6.Notices), StringComparison.Ordinal);
    }

    [Fact]
    public void ManyRoutedPodsAreTheirBlock()
    {
        var pods = Enumerable.Range(65, 8).Select(i => Route($"10.245.7.{i}/32", RoutedPod));
        var host = (Ordinary with { Routes = [.. Ordinary.Routes, .. pods] }).Decide();
        Assert.Equal(["10.244.1.0/24", "10.245.7.64/26", "10.245.7.9/32"], host.IPv4.Masquerade.Local.Select(n => n.ToString()));
    }

    [Fact]
    public void TheSameHostIsTheSameDecision()
    {
        Assert.True(Ordinary.Decide().IsSameAs(Ordinary.Decide()));
        Assert.False(Ordinary.Decide().IsSameAs((Ordinary with { BridgeFilterIPv4 = false }).Decide()));
        var copy = Ordinary with { Links = [.. Ordinary.Links], Routes = [.. Ordinary.Routes] };
        Assert.True(copy.IsSameAs(Ordinary));
        Assert.False(copy.With(FirstPort, link => link with { Hairpin = false }).IsSameAs(Ordinary));
    }
}
