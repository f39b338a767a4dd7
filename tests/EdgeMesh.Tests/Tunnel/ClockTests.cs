using EdgeMesh.Catalog;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using Xunit;

namespace EdgeMesh.Tests.Tunnel;

/// <summary>Clocks that jump or are years apart change nothing but what is written in logs.</summary>
public sealed class ClockTests : IAsyncDisposable
{
    private readonly MeshLab _lab = new();

    [Theory]
    [InlineData(-20_000, 0)]
    [InlineData(20_000, 0)]
    [InlineData(0, -20_000)]
    [InlineData(0, 20_000)]
    public async Task NodesWhoseClocksAreDecadesApartReserveAndReachEachOther(int daysOfRelay, int daysOfNode)
    {
        var relay = await _lab.NodeAsync("relay", "127.0.67.1", change: o => o with { IsRelay = true }, time: new Clock(daysOfRelay));
        var far = await _lab.NodeAsync("far", "127.0.67.2", [relay], o => o with { Listen = [] }, new Clock(daysOfNode));
        var near = await _lab.NodeAsync("near", "127.0.67.3", [relay], o => o with { Listen = [] });
        await ReachedAsync(relay, far, near);
    }

    [Fact]
    public async Task ARelayWhoseClockJumpsKeepsItsReservations()
    {
        var clock = new Clock(0);
        var relay = await _lab.NodeAsync("relay", "127.0.68.1", change: o => o with { IsRelay = true }, time: clock);
        var far = await _lab.NodeAsync("far", "127.0.68.2", [relay], o => o with { Listen = [] });
        await MeshLab.Until(() => relay.ReadStatus().Counts.Reservations == 1);
        clock.Days = 1;
        Assert.Equal(1, relay.ReadStatus().Counts.Reservations);
        clock.Days = -10_000;
        Assert.Equal(1, relay.ReadStatus().Counts.Reservations);
        var near = await _lab.NodeAsync("near", "127.0.68.3", [relay], o => o with { Listen = [] });
        await ReachedAsync(relay, far, near);
    }

    private async Task ReachedAsync(MeshNode relay, MeshNode far, MeshNode near)
    {
        var echo = _lab.Echo();
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Tcp));
        await MeshLab.Until(() => relay.ReadStatus().Counts.Reservations == 2);
        near.KeepNodes(["far"]);
        await MeshLab.UntilState(near, "far", PeerState.Relayed);
        var client = await _lab.CarryAsync(near, "far", echo, [1, 2]);
        Assert.Equal([1, 2], await client.ReceiveAsync(2));
    }

    public ValueTask DisposeAsync() => _lab.DisposeAsync();

    /// <summary>The date is so many days off; what is counted monotonically is right.</summary>
    private sealed class Clock(int days) : TimeProvider
    {
        internal int Days { get; set; } = days;

        public override DateTimeOffset GetUtcNow() => base.GetUtcNow().AddDays(Days);
    }
}
