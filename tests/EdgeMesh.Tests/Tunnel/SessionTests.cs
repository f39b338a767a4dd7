using System.Collections.Immutable;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using Xunit;

namespace EdgeMesh.Tests.Tunnel;

/// <summary>How sessions come, settle, move and come back.</summary>
public sealed class SessionTests : IAsyncDisposable
{
    private readonly MeshLab _lab = new();
    private readonly List<Door> _doors = [];

    [Fact]
    public async Task TwoNodesThatDialEachOtherAtOnceSettleOnOneSession()
    {
        var one = await _lab.RelayAsync("one", "127.0.50.1");
        var other = await _lab.RelayAsync("other", "127.0.50.2");
        one.ReloadRelays([MeshLab.RelayOf(other)]);
        other.ReloadRelays([MeshLab.RelayOf(one)]);
        await MeshLab.UntilState(one, "other", PeerState.Direct);
        await MeshLab.UntilState(other, "one", PeerState.Direct);
        var echo = _lab.Echo();
        MeshLab.Serve(one, new TransportAddress(echo, TransportProtocol.Tcp));
        MeshLab.Serve(other, new TransportAddress(echo, TransportProtocol.Tcp));
        await MeshLab.Until(() => one.SessionsTo("other") == 1 && other.SessionsTo("one") == 1);
        foreach (var (from, to) in new[] { (one, "other"), (other, "one") })
        {
            var client = await _lab.CarryAsync(from, to, echo, [7]);
            Assert.Equal([7], await client.ReceiveAsync(1));
        }
    }

    [Fact]
    public async Task ARelayedSessionMovesToTheDirectWayAndItsStreamsGoOn()
    {
        var relay = await _lab.RelayAsync("relay", "127.0.51.3");
        var entrance = Open(default, open: false);
        var far = await _lab.NodeAsync("far", "127.0.51.2", [relay], o => o with { Advertise = [entrance.Address] });
        var near = await _lab.NodeAsync("near", "127.0.51.1", [relay], o => o with { Listen = [] });
        var echo = _lab.Echo();
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Tcp));
        await MeshLab.Until(() => relay.ReadStatus().Counts.Reservations == 2);

        var before = await _lab.CarryAsync(near, "far", echo, [1]);
        Assert.Equal([1], await before.ReceiveAsync(1));
        Assert.Equal(PeerState.Relayed, MeshLab.Peer(near, "far")!.State);

        entrance.Open(far.Listeners[0]);
        await MeshLab.UntilState(near, "far", PeerState.Direct);
        var after = await _lab.CarryAsync(near, "far", echo, [2]);
        Assert.Equal([2], await after.ReceiveAsync(1));
        await before.SendAsync(new byte[] { 3 });
        Assert.Equal([3], await before.ReceiveAsync(1));
        Assert.Equal(1, relay.ReadStatus().Counts.Circuits);

        before.Socket.Shutdown(System.Net.Sockets.SocketShutdown.Send);
        Assert.Empty(await before.ReceiveAllAsync());
        await MeshLab.Until(() => relay.ReadStatus().Counts.Circuits == 0);

        // And back: without the direct way the relay has it again.
        entrance.Shut();
        await MeshLab.UntilState(near, "far", PeerState.Relayed);
        var again = await _lab.CarryAsync(near, "far", echo, [4]);
        Assert.Equal([4], await again.ReceiveAsync(1));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ADeadRelayIsLeftForAnotherOne(bool silently)
    {
        var (first, second) = (await BehindDoorsAsync("first", "127.0.52.1"), await BehindDoorsAsync("second", "127.0.52.2"));
        var (nearDoor, farDoor) = (Open(first.Listeners[0]), Open(first.Listeners[0]));
        var slow = Open(second.Listeners[0], delay: 20);
        var near = await BehindAsync("near", new RelayNode("first", [nearDoor.Address]), new RelayNode("second", [slow.Address]));
        var far = await BehindAsync("far", new RelayNode("first", [farDoor.Address]), new RelayNode("second", [slow.Address]));
        var echo = _lab.Echo();
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Tcp));
        await MeshLab.Until(() => first.ReadStatus().Counts.Reservations == 2 && second.ReadStatus().Counts.Reservations == 2);
        await MeshLab.Until(() => near.ReadStatus().Relays.All(r => r.RoundTrip is not null));

        var client = await _lab.CarryAsync(near, "far", echo, [1]);
        Assert.Equal([1], await client.ReceiveAsync(1));
        Assert.Equal("first", MeshLab.Peer(near, "far")!.Relay);

        foreach (var door in new[] { nearDoor, farDoor })
        {
            if (silently)
                door.Silence();
            else
                door.Shut();
        }

        await MeshLab.Until(() => MeshLab.Peer(near, "far") is { State: PeerState.Relayed, Relay: "second" }, 10, () => string.Join('\n', _lab.Logs.All));
        var next = await _lab.CarryAsync(near, "far", echo, [2]);
        Assert.Equal([2], await next.ReceiveAsync(1));
        Assert.Equal(TunnelEnd.SessionLost, (await client.Outcome).End);
    }

    [Fact]
    public async Task SessionsReturnWhenALinkThatSwallowedEverythingComesBack()
    {
        var relay = await BehindDoorsAsync("relay", "127.0.53.1");
        var door = Open(relay.Listeners[0]);
        var near = await BehindAsync("near", new RelayNode("relay", [door.Address]));
        await MeshLab.UntilState(near, "relay", PeerState.Direct);
        door.Silence();
        await MeshLab.UntilState(near, "relay", PeerState.Connecting);
        Assert.False(near.CanReach("somebody"));
        door.Speak();
        await MeshLab.UntilState(near, "relay", PeerState.Direct, 5);
        await MeshLab.Until(() => near.ReadStatus().Relays[0].Reserved is not null);
    }

    [Fact]
    public async Task RelaysAreChangedWhileItRuns()
    {
        var (first, second) = (await _lab.RelayAsync("first", "127.0.54.1"), await _lab.RelayAsync("second", "127.0.54.2"));
        var near = await BehindAsync("near", MeshLab.RelayOf(first));
        await MeshLab.Until(() => near.ReadStatus().Relays is [{ Name: "first", Reserved: not null }]);
        near.ReloadRelays([MeshLab.RelayOf(second)]);
        await MeshLab.Until(() => near.ReadStatus().Relays is [{ Name: "second", Reserved: not null }]);
        Assert.Equal(1, second.ReadStatus().Counts.Reservations);
    }

    [Fact]
    public async Task ANodeThatIsNoRelayIsNotTakenForOne()
    {
        var plain = await _lab.NodeAsync("plain", "127.0.55.1");
        var near = await BehindAsync("near", MeshLab.RelayOf(plain));
        await MeshLab.UntilState(near, "plain", PeerState.Direct);
        await MeshLab.Until(() => _lab.Logs.Warnings.Any(w => w.Contains("plain is configured as a relay", StringComparison.Ordinal)));
        Assert.False(near.CanReach("somebody"));
        Assert.Null(near.ReadStatus().Relays[0].Reserved);
    }

    [Fact]
    public async Task NodesOnOneLanFindEachOtherWithoutARelay()
    {
        var lan = ImmutableArray.Create(InetAddress.Parse("127.0.0.1"));
        var one = await _lab.NodeAsync("one", "127.0.56.1", change: o => o with { DiscoveryAddresses = lan });
        var other = await _lab.NodeAsync("other", "127.0.56.2", change: o => o with { DiscoveryAddresses = lan });
        await MeshLab.UntilState(one, "other", PeerState.Direct);
        await MeshLab.UntilState(other, "one", PeerState.Direct);
    }

    [Fact]
    public async Task EachOldKeyIsAcceptedWhileANewOneIsRolledOut()
    {
        const string New = "Zk3Wv8Qe5Rt1Yb7Un2Im6Op0As4Df9Gh3Jk7Lx5Cv1Bn=";
        var relay = await _lab.NodeAsync("relay", "127.0.57.1", change: o => o with { IsRelay = true, Keys = MeshLab.Keys(New, MeshLab.KeyText) });
        var old = await _lab.NodeAsync("old", "127.0.57.2", [relay], o => o with { Listen = [], Keys = MeshLab.Keys(MeshLab.KeyText, New) });
        await MeshLab.UntilState(old, "relay", PeerState.Direct);
        var done = await _lab.NodeAsync("done", "127.0.57.3", [relay], o => o with { Listen = [], Keys = MeshLab.Keys(New) });
        await MeshLab.UntilState(done, "relay", PeerState.Direct);
        await MeshLab.UntilState(relay, "old", PeerState.Direct);
    }

    /// <summary>A relay that announces none of its addresses: it is reached through doors alone.</summary>
    private Task<MeshNode> BehindDoorsAsync(string name, string address) =>
        _lab.NodeAsync(name, address, change: o => o with { IsRelay = true, Advertise = [InetEndpoint.Parse("127.0.0.1:1")] });

    private Task<MeshNode> BehindAsync(string name, params RelayNode[] relays) =>
        _lab.NodeAsync(name, "127.0.0.1", change: o => o with { Listen = [], Relays = [.. relays] });

    private Door Open(InetEndpoint behind, bool open = true, int delay = 0)
    {
        var door = new Door(behind, "127.0.59.1", open) { Delay = TimeSpan.FromMilliseconds(delay) };
        _doors.Add(door);
        return door;
    }

    public async ValueTask DisposeAsync()
    {
        await _lab.DisposeAsync();
        foreach (var door in _doors)
            await door.DisposeAsync();
    }
}
