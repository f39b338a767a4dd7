using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.Net;
using EdgeMesh.Testing;
using EdgeMesh.Tunnel;
using EdgeMesh.Tunnel.Identity;
using EdgeMesh.Tunnel.Proxy;
using EdgeMesh.Tunnel.Sessions;
using Xunit;

namespace EdgeMesh.Tests.Tunnel;

/// <summary>The small parts by themselves.</summary>
public sealed class SessionPartsTests
{
    [Fact]
    public void WaitsDoubleUpToTheirBoundWithJitter()
    {
        var backOff = new BackOff();
        var longest = TimeSpan.FromSeconds(3);
        double[] expected = [0.25, 0.5, 1, 2, 3, 3, 3];
        foreach (var most in expected)
            Assert.InRange(backOff.AfterFailure(longest).TotalSeconds, most / 2, most);
        backOff.Succeeded();
        Assert.InRange(backOff.AfterFailure(longest).TotalSeconds, 0.125, 0.25);
    }

    [Fact]
    public void ABudgetIsKeptInAllAndPerNodeAndIsGivenBack()
    {
        var budget = new StreamBudget(3, 2);
        Assert.True(budget.TryTake("a") && budget.TryTake("a"));
        Assert.False(budget.TryTake("a"));
        Assert.True(budget.TryTake("b"));
        Assert.False(budget.TryTake("c"));
        budget.Return("a");
        Assert.True(budget.TryTake("c"));
        Assert.Equal(3, budget.Count);
    }

    [Fact]
    public void ADirectoryBelievesTheDerivationAloneAndStaysBounded()
    {
        var directory = new NodeDirectory(MeshLab.Keys(), limit: 2);
        var peers = MeshLab.Keys().PeersNamed("c");
        Assert.False(directory.Is("a", peers[0]));
        Assert.True(directory.Is("c", peers[0]));
        Assert.Equal("c", directory.NameOf(peers[0]));
        directory.Learn("d");
        Assert.Equal(MeshLab.Keys().PeersNamed("e"), directory.Learn("e"));
        Assert.Null(directory.NameOf(MeshLab.Keys().PeersNamed("e")[0]));
        directory.Forget("c");
        Assert.Null(directory.NameOf(peers[0]));
    }

    [Theory]
    [InlineData("10.1.2.3", true)]
    [InlineData("192.0.2.1", true)]
    [InlineData("fd00::1", true)]
    [InlineData("127.0.0.1", false)]
    [InlineData("::1", false)]
    [InlineData("::ffff:127.0.0.1", false)]
    [InlineData("0.0.0.0", false)]
    [InlineData("0.1.2.3", false)]
    [InlineData("::", false)]
    [InlineData("169.254.169.254", false)]
    [InlineData("224.0.0.251", false)]
    [InlineData("255.255.255.255", false)]
    [InlineData("ff02::fb", false)]
    [InlineData("fe80::1", false)]
    public void WhatLeadsBackHereIsNotDialledOnAnothersWord(string address, bool dialable) =>
        Assert.Equal(dialable, AnnouncedAddress.IsDialable(InetAddress.Parse(address), loopback: false));

    [Fact]
    public void AFaultIsToldOnceAMinutePerAddress()
    {
        var (logger, time) = (new CollectingLogger<MeshFaults>(), new ManualTime());
        var faults = new MeshFaults(logger, time);
        for (var port = 1000; port < 1010; port++)
            faults.BrokeOff(Multiaddr.Parse($"/ip4/10.0.0.1/tcp/{port}"));
        Assert.Single(logger.Lines);
        Assert.Contains("10.0.0.1:1000", logger.Lines.First().Text, StringComparison.Ordinal);
        faults.BrokeOff(Multiaddr.Parse("/ip4/10.0.0.2/tcp/1"));
        faults.OtherPeer(Multiaddr.Parse("/ip4/10.0.0.1/tcp/1"), "edge-1");
        Assert.Equal(3, logger.Lines.Count);
        time.Advance(TimeSpan.FromMinutes(1));
        faults.BrokeOff(Multiaddr.Parse("/ip4/10.0.0.1/tcp/1"));
        Assert.Equal(4, logger.Lines.Count);
    }

    [Fact]
    public void FaultsOfVeryManyAddressesAreNotTold()
    {
        var logger = new CollectingLogger<MeshFaults>();
        var faults = new MeshFaults(logger, new ManualTime());
        for (var i = 0; i < 10_000; i++)
            faults.BrokeOff(Multiaddr.Parse($"/ip4/10.0.{i / 256}.{i % 256}/tcp/1"));
        Assert.Equal(256, logger.Lines.Count);
    }

    [Fact]
    public void AnnouncedAddressesAreDialledAtTheMeshPortAlone()
    {
        var options = new MeshOptions { NodeName = "n", Keys = MeshLab.Keys(), Listen = [], AnnouncedPort = 20006 };
        Assert.True(AnnouncedAddress.IsDialable(InetEndpoint.Parse("192.0.2.1:20006"), options));
        foreach (var other in new[] { "192.0.2.1:22", "192.0.2.1:6443", "192.0.2.1:0", "169.254.169.254:20006", "127.0.0.1:20006", "[fe80::1]:20006" })
            Assert.False(AnnouncedAddress.IsDialable(InetEndpoint.Parse(other), options));
    }
}
