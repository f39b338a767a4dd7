using System.Collections.Immutable;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using Xunit;

namespace EdgeMesh.Tests.Tunnel;

/// <summary>Which addresses need no tunnel is decided by who answers there.</summary>
public sealed class ReachabilityTests : IAsyncDisposable
{
    private readonly MeshLab _lab = new();

    [Fact]
    public async Task ARangeIsDirectOnceTheNodeAnswersAtItsOwnAddressInside()
    {
        var far = await FarAsync("127.0.70.2", "127.0.70.2/24", "10.44.0.0/16");
        var near = await NearAsync(far);
        await MeshLab.Until(() => near.Reachability.IsDirect("far", InetAddress.Parse("127.0.70.200")));
        var reach = near.Reachability;
        Assert.False(reach.IsDirect("far", InetAddress.Parse("10.44.1.1")));
        Assert.Contains("no address inside", reach.Find("far", InetAddress.Parse("10.44.1.1"))!.Reason, StringComparison.Ordinal);
        Assert.False(reach.IsDirect("other", InetAddress.Parse("127.0.70.200")));
        Assert.NotNull(reach.Find("far", InetAddress.Parse("127.0.70.200"))!.RoundTrip);
    }

    [Fact]
    public async Task TheSameRangeOnAnotherNodeNeverLeadsToAStranger()
    {
        // Both say that the range around 127.0.71.5 is theirs, as every Docker host says of 172.17.0.0/16.
        var stranger = await _lab.NodeAsync("stranger", "127.0.71.5");
        var port = stranger.Listeners[0].Port;
        var far = await _lab.NodeAsync("far", "127.0.71.2", change: o => o with
        {
            IsRelay = true,
            Listen = [new InetEndpoint(InetAddress.Parse("127.0.71.2"), port)],
            Ranges = [AddressRange.Parse("127.0.71.5/24")],
        });
        var near = await NearAsync(far);
        await MeshLab.Until(() => near.Reachability.Find("far", InetAddress.Parse("127.0.71.77"))?.Reason.Contains("somebody else", StringComparison.Ordinal) == true);
        Assert.False(near.Reachability.IsDirect("far", InetAddress.Parse("127.0.71.77")));
        Assert.Empty(_lab.Logs.Warnings);
    }

    [Fact]
    public async Task ALostRangeFallsBackAndReturnsAfterSeveralAnswers()
    {
        // The door stands where the node says that it can be asked; the session itself leads past it.
        await using var entrance = new Door(default, "127.0.72.8", open: false);
        var changes = new System.Collections.Concurrent.ConcurrentQueue<bool>();
        var guarded = await _lab.NodeAsync("guarded", "127.0.72.4", change: o => o with
        {
            IsRelay = true,
            Advertise = [entrance.Address],
            Ranges = [AddressRange.Parse("127.0.72.8/32")],
        });
        entrance.Open(guarded.Listeners[0]);
        var near = await NearAsync(guarded);
        near.ReachabilityChanged = r => changes.Enqueue(r.IsDirect("guarded", entrance.Address.Address));
        await MeshLab.Until(() => near.Reachability.IsDirect("guarded", entrance.Address.Address));

        entrance.Silence();
        await MeshLab.Until(() => near.Reachability.Find("guarded", entrance.Address.Address)!.State == RangeState.Lost, 10);
        entrance.Speak();
        await MeshLab.Until(() => near.Reachability.Find("guarded", entrance.Address.Address)!.State == RangeState.Returning, 10);
        Assert.False(near.Reachability.IsDirect("guarded", entrance.Address.Address));
        await MeshLab.Until(() => near.Reachability.IsDirect("guarded", entrance.Address.Address));
        Assert.Equal([true, false, true], changes);
    }

    [Fact]
    public async Task RangesThatChangeAreAnnouncedAgain()
    {
        var far = await FarAsync("127.0.73.2", "127.0.73.2/32");
        var near = await NearAsync(far);
        await MeshLab.Until(() => near.Reachability.IsDirect("far", InetAddress.Parse("127.0.73.2")));
        await far.AdvertiseAsync([AddressRange.Parse("127.0.73.2/24")]);
        await MeshLab.Until(() => near.Reachability.IsDirect("far", InetAddress.Parse("127.0.73.99")));
        await far.AdvertiseAsync([]);
        await MeshLab.Until(() => !near.Reachability.IsDirect("far", InetAddress.Parse("127.0.73.2")));
    }

    [Theory]
    [InlineData("10.1.2.1/24", "10.1.2.0", true, "10.1.2.255", "10.1.3.0")]
    [InlineData("10.1.2.0/24", "10.1.2.0", false, "10.1.2.1", "10.1.1.255")]
    [InlineData("10.1.2.3", "10.1.2.3", true, "10.1.2.3", "10.1.2.4")]
    [InlineData("0.0.0.0/0", "0.0.0.0", false, "255.255.255.255", "::1")]
    [InlineData("fd00::1/64", "fd00::", true, "fd00::ffff", "fd00:0:0:1::")]
    public void ARangeHoldsItsAddressesAndKnowsItsHost(string text, string network, bool hasHost, string inside, string outside)
    {
        var range = AddressRange.Parse(text);
        Assert.Equal((InetAddress.Parse(network), hasHost), (range.Network, range.HasHost));
        Assert.True(range.Contains(InetAddress.Parse(inside)));
        Assert.False(range.Contains(InetAddress.Parse(outside)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("10.0.0.0/33")]
    [InlineData("10.0.0/8")]
    [InlineData("10.0.0.0/")]
    [InlineData("10.0.0.0/+8")]
    [InlineData("fd00::/129")]
    public void WhatIsNoRangeIsNotRead(string text) => Assert.False(AddressRange.TryParse(text, out _));

    private Task<MeshNode> FarAsync(string address, params string[] ranges) =>
        _lab.NodeAsync("far", address, change: o => o with { IsRelay = true, Ranges = [.. ranges.Select(AddressRange.Parse)] });

    private async Task<MeshNode> NearAsync(MeshNode far)
    {
        var near = await _lab.NodeAsync("near", "127.0.0.1", [far], o => o with { Listen = [] });
        near.KeepNodes([far.ReadStatus().NodeName]);
        await MeshLab.UntilState(near, far.ReadStatus().NodeName, PeerState.Direct);
        return near;
    }

    public ValueTask DisposeAsync() => _lab.DisposeAsync();
}
