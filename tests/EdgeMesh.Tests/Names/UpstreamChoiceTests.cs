using System.Net;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Names;
using EdgeMesh.Testing.Cluster;
using Xunit;

namespace EdgeMesh.Tests.Names;

/// <summary>Who is asked for other names follows from the configuration, the host's resolv.conf and the cluster.</summary>
public sealed class UpstreamChoiceTests
{
    private static readonly IPAddress[] Own = [IPAddress.Parse("169.254.96.16")];

    private static ClusterFacts Facts { get; } = ClusterObjects.Facts(
        ClusterObjects.Service("kube-system/kube-dns", "10.96.0.10", "dns:53/UDP"),
        ClusterObjects.Service("kube-system/coredns", "None", "dns:53/UDP"),
        ClusterObjects.Service("other/names", "10.96.0.11", "dns:53/UDP").Labelled(Service.AppLabel, "kube-dns"),
        ClusterObjects.Service("demo/web", "10.96.0.12", "http:80"));

    [Theory]
    [InlineData("nameserver 192.0.2.1\nnameserver 2001:db8::1\n", "192.0.2.1:53, [2001:db8::1]:53", null)]
    [InlineData("nameserver 169.254.96.16\nnameserver 192.0.2.1\n", "192.0.2.1:53", "names this agent itself (169.254.96.16); it is left out")]
    [InlineData("nameserver 169.254.96.16\n", "nobody", "names only this agent itself (169.254.96.16)")]
    [InlineData("search example\n", "nobody", "names no nameserver")]
    [InlineData(null, "nobody", "cannot be read")]
    public void TheHostsNameserversAreAskedButNeverThisOne(string? resolvConf, string asked, string? notice)
    {
        var choice = UpstreamChoice.Decide(new UpstreamRules(), resolvConf, Own, Facts);
        Assert.Equal(asked, choice.Table.ToString());
        if (notice is null)
            Assert.Null(choice.Notice);
        else
            Assert.Contains(notice, choice.Notice, StringComparison.Ordinal);
    }

    [Fact]
    public void WhatTheUserNamesTakesTheirPlaceAndDomainsGoElsewhere()
    {
        var rules = new UpstreamRules { Servers = [Server("tls://9.9.9.9#dns.quad9.net")], StubDomains = [new StubDomain("Corp.Example", [Server("10.0.0.53:5353")])] };
        var choice = UpstreamChoice.Decide(rules, "nameserver 192.0.2.1\n", Own, Facts);
        Assert.Equal("corp.example: 10.0.0.53:5353; tls://9.9.9.9:853#dns.quad9.net", choice.Table.ToString());
        Assert.Null(choice.Notice);
    }

    [Fact]
    public void TheClustersDnsIsFoundByNameAndByLabelAndWithoutHeadlessOnes()
    {
        var rules = new UpstreamRules { FindClusterDns = true };
        Assert.Equal("10.96.0.10:53, 10.96.0.11:53", UpstreamChoice.Decide(rules, "nameserver 192.0.2.1\n", Own, Facts).Table.ToString());
        Assert.Contains("is not known", UpstreamChoice.Decide(rules, "nameserver 192.0.2.1\n", Own, ClusterObjects.Facts()).Notice, StringComparison.Ordinal);
        var named = UpstreamChoice.Decide(rules with { Servers = [Server("10.1.1.1")] }, null, Own, facts: null);
        Assert.Equal(("10.1.1.1:53", null), (named.Table.ToString(), named.Notice));
    }

    [Fact]
    public void TheSameChoiceIsTheSameTable()
    {
        var one = UpstreamChoice.Decide(new UpstreamRules(), "nameserver 192.0.2.1\n", Own, Facts).Table;
        Assert.True(one.IsSameAs(UpstreamChoice.Decide(new UpstreamRules(), "nameserver 192.0.2.1\nnameserver 169.254.96.16\n", Own, Facts).Table));
        Assert.False(one.IsSameAs(UpstreamChoice.Decide(new UpstreamRules(), "nameserver 192.0.2.2\n", Own, Facts).Table));
    }

    private static UpstreamServer Server(string text) => UpstreamServer.Parse(text, out _)!;
}
