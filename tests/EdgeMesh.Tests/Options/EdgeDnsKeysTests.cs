using EdgeMesh.Agent.Options;
using Xunit;

namespace EdgeMesh.Tests.Options;

public sealed class EdgeDnsKeysTests
{
    [Fact]
    public void AFullSectionIsRead()
    {
        var options = ConfigSample.Options(Dns("""
                enable: true
                listenPort: 5353
                clusterDomain: Plant.Example.
                upstreamServers: [10.0.0.53, "10.0.0.54:5353", "tls://9.9.9.9#dns.quad9.net"]
                stubDomains: {corp.example: [10.0.1.53], site.example: 10.0.2.53}
                resolvConf: /run/systemd/resolve/resolv.conf
                listenAddresses: [10.1.0.1]
                allowedClients: [10.1.0.0/24]
            """)).Dns;
        Assert.Equal((true, 5353, null, "/run/systemd/resolve/resolv.conf"), (options.Enable, options.ListenPort, options.CacheOnly, options.ResolvConf));
        Assert.Equal(["plant.example"], options.Domains);
        Assert.Equal(["10.0.0.53:53", "10.0.0.54:5353", "tls://9.9.9.9:853#dns.quad9.net"], options.Upstream.Servers.Select(server => server.ToString()));
        Assert.Equal(["corp.example 10.0.1.53:53", "site.example 10.0.2.53:53"], options.Upstream.StubDomains.Select(stub => $"{stub.Domain} {stub.Servers[0]}"));
        Assert.Equal(["10.1.0.1", "10.1.0.0/24"], [options.ListenAddresses[0].ToString(), options.AllowedClients[0].ToString()]);
    }

    [Theory]
    [InlineData("enable: maybe", "wants true or false")]
    [InlineData("upstreamServers: [dns.example]", "is no IP address")]
    [InlineData("upstreamServers: [\"tls://9.9.9.9\"]", "must name the server's certificate")]
    [InlineData("stubDomains: [10.0.0.1]", "wants a mapping of domains to servers")]
    [InlineData("stubDomains: {a..b: [10.0.0.1]}", "is not the name of a domain")]
    [InlineData("stubDomains: {corp.example: []}", "has no server")]
    [InlineData("clusterDomain: []", "wants a domain")]
    [InlineData("clusterDomain: [cluster.local, \"a b..c\"]", "wants a domain")]
    [InlineData("listenAddresses: [0.0.0.0]", "would take the port on every address")]
    [InlineData("listenPort: 20007", "is also modules.edgeProxy.listenPort")]
    [InlineData("cacheDNS: {enable: true, autoDetect: false}", "keeps answers of nobody")]
    [InlineData("resolvConf: resolv.conf", "wants an absolute path")]
    public void WhatCannotBeIsAFaultWithItsPlace(string line, string says)
    {
        var fault = ConfigSample.OneFault(Dns(line));
        Assert.Contains(says, fault.What, StringComparison.Ordinal);
        Assert.True(fault.Line > 0);
    }

    [Fact]
    public void InCacheModeItsOwnServersAreAskedAndTheOthersAreNamed()
    {
        var loaded = ConfigSample.Read(Dns("enable: true\n    upstreamServers: [10.0.0.53]\n    cacheDNS: {enable: true, upstreamServers: [10.96.0.10], cacheTTL: 5}"));
        Assert.Equal("10.96.0.10:53", Assert.Single(loaded.Options!.Dns.Upstream.Servers).ToString());
        Assert.Equal((TimeSpan.FromSeconds(5), true), (loaded.Options.Dns.CacheOnly, loaded.Options.Dns.Upstream.FindClusterDns));
        Assert.Contains("is not looked at while", Assert.Single(loaded.Warnings).What, StringComparison.Ordinal);
    }

    /// <summary>Where there is no kube-proxy nobody else would bring its questions there.</summary>
    [Theory]
    [InlineData("cacheDNS: {enable: true}", "default/kubernetes")]
    [InlineData("enable: true", "default/kubernetes kube-system/kube-dns kube-system/coredns")]
    [InlineData("cacheDNS: {enable: true}\n  edgeProxy:\n    enable: true\n    excludeServices: [kube-system/kube-dns]", "kube-system/kube-dns")]
    public void TheClustersDnsIsCarriedWhereItIsAsked(string lines, string excluded)
    {
        var text = lines.Contains("edgeProxy", StringComparison.Ordinal) ? $"modules:\n  edgeDNS:\n    {lines}\n" : Dns(lines);
        Assert.Equal(excluded, string.Join(' ', ConfigSample.Options(text).Proxy.ExcludeServices));
    }

    private static string Dns(string lines) => $"modules:\n  edgeProxy:\n    enable: true\n  edgeDNS:\n    {lines.Trim()}\n".Replace("\n        ", "\n    ", StringComparison.Ordinal);
}
