using System.Net.Sockets;
using System.Security.Cryptography;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using Xunit;

namespace EdgeMesh.Tests.Tunnel;

/// <summary>Connections and datagrams through real sessions, node to node and over a relay.</summary>
public sealed class CarryingTests : IAsyncDisposable
{
    private readonly MeshLab _lab = new();

    [Fact]
    public async Task FirstBytesComeBackFromTheEndpointOfAnotherNode()
    {
        var (near, _, echo) = await TwoNodesAsync();
        var client = await _lab.CarryAsync(near, "far", echo, "hello"u8.ToArray());
        Assert.Equal("hello"u8.ToArray(), await client.ReceiveAsync(5));
        await client.SendAsync("again"u8.ToArray());
        Assert.Equal("again"u8.ToArray(), await client.ReceiveAsync(5));

        client.Socket.Shutdown(SocketShutdown.Send);
        Assert.Empty(await client.ReceiveAllAsync());
        var outcome = await client.Outcome;
        Assert.Equal((TunnelEnd.Completed, 10L, 10L), (outcome.End, outcome.BytesToEndpoint, outcome.BytesToClient));
        var service = Assert.Single(near.ReadStatus().Services);
        Assert.Equal(new TunnelServiceCounts(MeshLab.Web, 1, 0, 0, 10, 10), service);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task HalfCloseIsKeptWithTenMegabytesEachWay(bool relayed)
    {
        var endpoint = _lab.Endpoint(async (socket, token) =>
        {
            // Answers only once the client has ended: without half-close this never comes.
            var all = await MeshLab.ReceiveAllAsync(socket, token);
            await MeshLab.SendAsync(socket, all, token);
            socket.Shutdown(SocketShutdown.Send);
        });
        var near = relayed ? (await _lab.BehindRelayAsync(endpoint)).Near : (await TwoNodesAsync(endpoint)).Near;
        var sent = RandomNumberGenerator.GetBytes(10_000_000);
        var client = await _lab.CarryAsync(near, "far", endpoint, sent[..1000]);
        await client.SendAsync(sent.AsMemory(1000));
        client.Socket.Shutdown(SocketShutdown.Send);
        var received = await client.ReceiveAllAsync();
        Assert.Equal(SHA256.HashData(sent), SHA256.HashData(received));
        Assert.Equal(TunnelEnd.Completed, (await client.Outcome).End);
    }

    [Fact]
    public async Task ANodeThatIsOnlyKnownToARelayIsReachedThroughIt()
    {
        var echo = _lab.Echo();
        var (near, _, relay) = await _lab.BehindRelayAsync(echo);
        var client = await _lab.CarryAsync(near, "far", echo, "over"u8.ToArray());
        Assert.Equal("over"u8.ToArray(), await client.ReceiveAsync(4));
        var peer = MeshLab.Peer(near, "far");
        Assert.Equal((PeerState.Relayed, "relay"), (peer!.State, peer.Relay));
        Assert.Equal(1, relay.ReadStatus().Counts.Circuits);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task DatagramsKeepTheirBorders(bool relayed)
    {
        var echo = _lab.DatagramEcho();
        MeshNode near, far;
        if (relayed)
            (near, far, _) = await _lab.BehindRelayAsync(echo);
        else
            (near, far, _) = await TwoNodesAsync(echo);
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Udp));
        var descriptor = near.TryOpenDatagrams(MeshLab.Destination("far", echo, TransportProtocol.Udp));
        Assert.True(descriptor >= 0);
        using var socket = MeshLab.Own(descriptor);
        var buffer = new byte[70_000];
        foreach (var length in new[] { 5, 1, 0, 1400, 9000, 60_000 })
        {
            var datagram = RandomNumberGenerator.GetBytes(length);
            await socket.SendAsync(datagram, _lab.Token);
            var count = await socket.ReceiveAsync(buffer, _lab.Token);
            Assert.Equal(datagram, buffer[..count]);
        }
    }

    [Fact]
    public async Task AUdpFlowThatIsIdleIsClosedOnBothSides()
    {
        var echo = _lab.DatagramEcho();
        var (near, far, _) = await TwoNodesAsync(echo, o => o with { DatagramIdle = TimeSpan.FromMilliseconds(400) });
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Udp));
        using var socket = MeshLab.Own(near.TryOpenDatagrams(MeshLab.Destination("far", echo, TransportProtocol.Udp)));
        await socket.SendAsync(new byte[10], _lab.Token);
        Assert.Equal(10, await socket.ReceiveAsync(new byte[100], _lab.Token));
        await MeshLab.Until(() => near.ReadStatus().Counts.StreamsOut == 0 && far.ReadStatus().Counts.StreamsIn == 0);
        await Assert.ThrowsAsync<SocketException>(() => socket.SendAsync(new byte[1], _lab.Token).AsTask());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AUdpFlowWhoseUserIsGoneEndsAtOnceOnBothSidesAndNothingWaitsForIt(bool inTheMiddle)
    {
        var echo = _lab.DatagramEcho();
        var (near, far, _) = await TwoNodesAsync(echo);
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Udp));
        using (var socket = MeshLab.Own(near.TryOpenDatagrams(MeshLab.Destination("far", echo, TransportProtocol.Udp))))
        {
            if (inTheMiddle)
            {
                // An empty datagram is none of the end.
                await socket.SendAsync(Array.Empty<byte>(), _lab.Token);
                Assert.Equal(0, await socket.ReceiveAsync(new byte[100], _lab.Token));
                await socket.SendAsync(new byte[10], _lab.Token);
                Assert.Equal(10, await socket.ReceiveAsync(new byte[100], _lab.Token));
                Assert.Equal((1, 1), (near.ReadStatus().Counts.StreamsOut, far.ReadStatus().Counts.StreamsIn));
            }
        }

        Assert.Equal(0, await near.DrainAsync(TimeSpan.FromSeconds(30)));
        Assert.Equal(0, await far.DrainAsync(TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public async Task WhatTheCatalogDoesNotListIsNotDialled()
    {
        var (near, far, echo) = await TwoNodesAsync();
        var other = _lab.Echo();
        foreach (var asked in new[] { InetEndpoint.Parse("127.0.0.1:22"), other, echo with { Address = InetAddress.Parse("127.0.0.2") } })
        {
            var client = await _lab.CarryAsync(near, "far", asked, "x"u8.ToArray());
            Assert.Equal(TunnelEnd.Refused, (await client.Outcome).End);
            Assert.Equal([TunnelRefusal.NotListed], client.Refusals);
            await Assert.ThrowsAsync<SocketException>(client.ReceiveAllAsync);
        }

        Assert.Equal(3, far.ReadStatus().Counts.RefusedIn["NotListed"]);
        Assert.Equal(3, near.ReadStatus().Counts.RefusedOut["NotListed"]);
        Assert.Equal(0, far.ReadStatus().Counts.StreamsServed);
    }

    [Fact]
    public async Task ARefusedConnectionGoesToTheNextDestinationWithItsFirstBytes()
    {
        var (near, far, echo) = await TwoNodesAsync();
        var dead = InetEndpoint.Parse("127.0.0.1:1");
        MeshLab.Serve(far, new TransportAddress(dead, TransportProtocol.Tcp), new TransportAddress(echo, TransportProtocol.Tcp));
        var client = await _lab.CarryAsync(near, "far", dead, "first"u8.ToArray(), (d, _) => d.Endpoint == dead ? d with { Endpoint = echo } : null);
        Assert.Equal("first"u8.ToArray(), await client.ReceiveAsync(5));
        Assert.Equal([TunnelRefusal.DialFailed], client.Refusals);
    }

    [Fact]
    public async Task TheLimitsOfStreamsAreKeptOnBothSides()
    {
        var (near, far, echo) = await TwoNodesAsync(change: o => o.NodeName == "far"
            ? o with { Limits = new TunnelLimits { StreamsInPerPeer = 2 } }
            : o with { Limits = new TunnelLimits { StreamsOutPerPeer = 3 } });
        var standing = new List<CarriedClient>();
        for (var i = 0; i < 2; i++)
        {
            standing.Add(await _lab.CarryAsync(near, "far", echo, [(byte)i]));
            await standing[i].ReceiveAsync(1);
        }

        var third = await _lab.CarryAsync(near, "far", echo, [3]);
        Assert.Equal(TunnelEnd.Refused, (await third.Outcome).End);
        Assert.Equal([TunnelRefusal.Limit], third.Refusals);
        Assert.Equal(1, far.ReadStatus().Counts.RefusedIn["Limit"]);

        await standing[0].DisposeAsync();
        await standing[0].Outcome;
        await MeshLab.Until(() => far.ReadStatus().Counts.StreamsIn == 1);
        var fourth = await _lab.CarryAsync(near, "far", echo, [4]);
        Assert.Equal([4], await fourth.ReceiveAsync(1));
    }

    [Fact]
    public async Task WhoHasMostOfTheStreamsToANodeGivesWayToOthersByItsIdlestOne()
    {
        const int Limit = 16;
        var (near, far, echo) = await TwoNodesAsync(change: o => o.NodeName == "near" ? o with { Limits = new TunnelLimits { StreamsOutPerPeer = Limit } } : o);
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Tcp));
        var standing = new List<CarriedClient>();
        for (var i = 0; i < Limit; i++)
        {
            standing.Add(await _lab.CarryAsync(near, "far", echo, [1]));
            await standing[i].ReceiveAsync(1);
        }

        // Whoever has them all gets no more; all but one of them have moved something since.
        var more = await _lab.CarryAsync(near, "far", echo, [1]);
        Assert.Equal([TunnelRefusal.Limit], (await more.Outcome) is { End: TunnelEnd.Refused } ? more.Refusals : []);
        foreach (var busy in standing.Where((_, i) => i != 5))
        {
            // The clock of the tunnel's loop has gone on by then.
            await busy.SendAsync(new byte[] { 2 });
            await busy.ReceiveAsync(1);
        }

        var other = await _lab.CarryAsync(near, "far", echo, [3], change: Elsewhere);
        Assert.Equal([3], await other.ReceiveAsync(1));
        Assert.Equal(TunnelEnd.GaveWay, (await standing[5].Outcome).End);
        await Assert.ThrowsAsync<SocketException>(standing[5].ReceiveAllAsync);
        await MeshLab.Until(() => near.ReadStatus().Counts is { StreamsOut: Limit, GaveWay: 1 } && far.ReadStatus().Counts.StreamsIn == Limit);
        Assert.DoesNotContain(standing, client => client != standing[5] && client.Outcome.IsCompleted);

        static TunnelDestination Elsewhere(TunnelDestination asked) =>
            asked with { Service = MeshLab.Web with { Name = "other" }, Client = InetEndpoint.Parse("10.9.8.9:40000") };
    }

    [Fact]
    public async Task AUdpFlowGivesWayAsConnectionsDo()
    {
        var echo = _lab.DatagramEcho();
        var (near, far, tcp) = await TwoNodesAsync(change: o => o.NodeName == "near" ? o with { Limits = new TunnelLimits { StreamsOutPerPeer = 4 } } : o);
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Udp), new TransportAddress(tcp, TransportProtocol.Tcp));
        var flows = new List<Socket>();
        for (var i = 0; i < 4; i++)
        {
            flows.Add(MeshLab.Own(near.TryOpenDatagrams(MeshLab.Destination("far", echo, TransportProtocol.Udp))));
            await flows[i].SendAsync(new byte[1], _lab.Token);
            await flows[i].ReceiveAsync(new byte[1], _lab.Token);
        }

        var client = await _lab.CarryAsync(near, "far", tcp, [3]);
        Assert.Equal([3], await client.ReceiveAsync(1));
        await MeshLab.Until(() => near.ReadStatus().Counts is { StreamsOut: 4, GaveWay: 1 });
        foreach (var flow in flows)
            flow.Dispose();
    }

    [Fact]
    public async Task ANodeThatDrainsRefusesNewStreamsAndWaitsForTheOthers()
    {
        var (near, far, echo) = await TwoNodesAsync();
        var standing = await _lab.CarryAsync(near, "far", echo, [1]);
        await standing.ReceiveAsync(1);
        var draining = far.DrainAsync(TimeSpan.FromSeconds(30));
        var late = await _lab.CarryAsync(near, "far", echo, [2]);
        Assert.Equal(TunnelEnd.Refused, (await late.Outcome).End);
        Assert.Equal([TunnelRefusal.Draining], late.Refusals);
        Assert.False(draining.IsCompleted);
        standing.Socket.Shutdown(SocketShutdown.Send);
        Assert.Empty(await standing.ReceiveAllAsync());
        Assert.Equal(0, await draining);
    }

    [Fact]
    public async Task AResetOfEitherEndReachesTheOther()
    {
        var reset = new TaskCompletionSource<bool>();
        var endpoint = _lab.Endpoint(async (socket, token) =>
        {
            var one = new byte[1];
            await socket.ReceiveAsync(one, token);
            if (one[0] == 1)
            {
                socket.LingerState = new LingerOption(true, 0);
                return;
            }

            try
            {
                reset.SetResult(await socket.ReceiveAsync(one, token) < 0);
            }
            catch (SocketException)
            {
                reset.SetResult(true);
            }
        });
        var (near, far, _) = await TwoNodesAsync(endpoint);
        var first = await _lab.CarryAsync(near, "far", endpoint, [1]);
        Assert.Equal(TunnelEnd.EndpointReset, (await first.Outcome).End);
        await Assert.ThrowsAsync<SocketException>(first.ReceiveAllAsync);

        var second = await _lab.CarryAsync(near, "far", endpoint, [2]);
        await MeshLab.Until(() => far.ReadStatus().Counts.StreamsServed == 2);
        second.Socket.LingerState = new LingerOption(true, 0);
        second.Socket.Dispose();
        Assert.Equal(TunnelEnd.ClientReset, (await second.Outcome).End);
        Assert.True(await reset.Task.WaitAsync(_lab.Token));
    }

    [Fact]
    public async Task ANodeNobodyKnowsIsNotReached()
    {
        var alone = await _lab.NodeAsync("near", "127.0.41.1", change: o => o with { SessionWait = TimeSpan.FromMilliseconds(300) });
        Assert.False(alone.CanReach("far"));
        Assert.True(alone.TryOpenDatagrams(MeshLab.Destination("far", InetEndpoint.Parse("127.0.0.1:9"), TransportProtocol.Udp)) < 0);
        var client = await _lab.CarryAsync(alone, "far", InetEndpoint.Parse("127.0.0.1:9"));
        Assert.Equal(TunnelEnd.Refused, (await client.Outcome).End);
        Assert.Equal([TunnelRefusal.NoSession], client.Refusals);
    }

    private async Task<(MeshNode Near, MeshNode Far, InetEndpoint Endpoint)> TwoNodesAsync(InetEndpoint? endpoint = null, Func<MeshOptions, MeshOptions>? change = null)
    {
        var at = endpoint ?? _lab.Echo();
        var (near, far) = await _lab.TwoNodesAsync(at, change);
        return (near, far, at);
    }

    public ValueTask DisposeAsync() => _lab.DisposeAsync();
}
