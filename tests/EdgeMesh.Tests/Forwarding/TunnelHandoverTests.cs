using System.Net.Sockets;
using System.Text;
using EdgeMesh.Forwarding;
using EdgeMesh.Tunnel;
using Xunit;
using static EdgeMesh.Tests.Forwarding.LoopbackForwarder;

namespace EdgeMesh.Tests.Forwarding;

/// <summary>Connections to endpoints of other nodes leave the loop for the tunnel.</summary>
public sealed class TunnelHandoverTests
{
    private readonly FakeTunnel _tunnel = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AConnectionLeavesWithItsFirstBytesAndIsCountedLikeAnyOther()
    {
        using var backend = StartBackend();
        await using var forwarder = Start([backend.LocalEndpoint], "edge-b");
        using var client = await forwarder.ConnectAsync();
        await client.SendAsync("hello"u8.ToArray(), Stop);
        using var server = await backend.AcceptSocketAsync(Stop);

        Assert.Equal("hello", await ReadAsync(server, 5));
        Assert.Equal((1, 1, 1), (forwarder.Forwarder.ReadStatistics().Active, forwarder.Forwarder.ReadStatistics().Carried, forwarder.Forwarder.ReadServices()[0].Active));
        await server.SendAsync("good day"u8.ToArray(), Stop);
        Assert.Equal("good day", await ReadAsync(client, 8));
        client.Shutdown(SocketShutdown.Send);
        server.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await client.ReceiveAsync(new byte[1], Stop));

        await UntilAsync(() => forwarder.Forwarder.ReadStatistics().Active == 0, "the connection is counted as ended");
        var service = forwarder.Forwarder.ReadServices()[0];
        Assert.Equal((1, 0, 5, 8), (service.Connections, service.Active, service.BytesToEndpoints, service.BytesToClients));
        var carried = Assert.Single(_tunnel.Carried);
        Assert.Equal(("edge-b", Name), (carried.Destination.Node, carried.Destination.Service));
        Assert.Equal(((System.Net.IPEndPoint)client.LocalEndPoint!).Port, carried.Destination.Client.Port);
    }

    [Fact]
    public async Task ANodeWithoutASessionIsDialledDirectly()
    {
        using var backend = StartBackend();
        await using var forwarder = Start([backend.LocalEndpoint], "edge-b");
        _tunnel.Unreachable["edge-b"] = true;
        using var client = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        Assert.Empty(_tunnel.Carried);
    }

    [Fact]
    public async Task ANodeThatRefusesIsFollowedByTheNextAndSetAsideAfterAWhile()
    {
        using var backend = StartBackend();
        using var dead = StartBackend();
        await using var forwarder = Start([dead.LocalEndpoint, backend.LocalEndpoint], "edge-a", "edge-b");
        _tunnel.Refuses["edge-a"] = TunnelRefusal.DialFailed;
        for (var i = 0; i < 30; i++)
        {
            using var client = await forwarder.ConnectAsync();
            using var server = await backend.AcceptSocketAsync(Stop);
        }

        // Each of the two loops remembers failures in a row, as it does of endpoints that it dials itself.
        Assert.InRange(_tunnel.Carried.Count(c => c.Destination.Node == "edge-a"), 1, 2 * new EdgeMesh.Balancing.SetAsidePolicy().Failures);
    }

    [Theory]
    [InlineData(TunnelRefusal.Draining)]
    [InlineData(TunnelRefusal.NotListed)]
    public async Task AConnectionThatANodeRefusesComesBackToAnEndpointOfThisNodeWithItsFirstBytes(TunnelRefusal refusal)
    {
        using var local = StartBackend();
        using var distant = StartBackend();
        await using var forwarder = Start([distant.LocalEndpoint, local.LocalEndpoint], "edge-b", null);
        _tunnel.Refuses["edge-b"] = refusal;
        for (var i = 1; i <= 6; i++)
        {
            using var client = await forwarder.ConnectAsync();
            await client.SendAsync("hello"u8.ToArray(), Stop);
            client.Shutdown(SocketShutdown.Send);
            using var server = await local.AcceptSocketAsync(Stop);
            Assert.Equal("hello", await ReadAsync(server, 5));
            Assert.Equal(0, await server.ReceiveAsync(new byte[1], Stop));
            await server.SendAsync("good day"u8.ToArray(), Stop);
            server.Shutdown(SocketShutdown.Send);
            Assert.Equal("good day", await ReadAsync(client, 8));
            Assert.Equal(0, await client.ReceiveAsync(new byte[1], Stop));
            await UntilAsync(() => forwarder.Forwarder.ReadStatistics().Active == 0, "the connection is counted as ended");
        }

        Assert.NotEmpty(_tunnel.Carried);
        var service = forwarder.Forwarder.ReadServices()[0];
        Assert.Equal((6, 0, 0, 6 * 5, 6 * 8), (service.Connections, service.Active, service.Failed, service.BytesToEndpoints, service.BytesToClients));
        Assert.Equal((0, 0), (forwarder.Forwarder.ReadStatistics().Carried, forwarder.Forwarder.ReadStatistics().PendingDials));
    }

    [Fact]
    public async Task NoMoreEndpointsAreTriedThanADialMayTryHoweverTheyAreReached()
    {
        var backends = Enumerable.Range(0, 8).Select(_ => StartBackend()).ToList();
        await using var forwarder = Start(backends.Select(b => b.LocalEndpoint), [.. backends.Select((_, i) => $"edge-{i}")]);
        for (var i = 0; i < backends.Count; i++)
            _tunnel.Refuses[$"edge-{i}"] = TunnelRefusal.Limit;
        await forwarder.AssertRefusesAsync();
        Assert.Equal(new ForwarderOptions { Listeners = [] }.DialLimits.Length, _tunnel.Carried.Count);
        Assert.Distinct(_tunnel.Carried.Select(c => c.Destination.Endpoint));
        backends.ForEach(backend => backend.Dispose());
    }

    [Fact]
    public async Task AConnectionThatComesBackToAForwarderThatHasEndedIsReset()
    {
        using var backend = StartBackend();
        await using var forwarder = Start([backend.LocalEndpoint], "edge-b");
        var decision = new TaskCompletionSource();
        _tunnel.Decides = decision.Task;
        using var client = await forwarder.ConnectAsync();
        await UntilAsync(() => !_tunnel.Carried.IsEmpty, "the tunnel has it");
        await forwarder.Forwarder.DisposeAsync();
        _tunnel.Refuses["edge-b"] = TunnelRefusal.NoSession;
        decision.SetResult();
        await Assert.ThrowsAsync<SocketException>(() => client.ReceiveAsync(new byte[1], Stop).AsTask());
        await UntilAsync(() => forwarder.Forwarder.ReadStatistics().Active == 0, "it is counted as ended");
    }

    [Fact]
    public async Task AClientIsResetWhenEveryNodeHasRefused()
    {
        using var one = StartBackend();
        using var other = StartBackend();
        await using var forwarder = Start([one.LocalEndpoint, other.LocalEndpoint], "edge-a", "edge-b");
        _tunnel.Refuses["edge-a"] = _tunnel.Refuses["edge-b"] = TunnelRefusal.NotListed;
        await forwarder.AssertRefusesAsync();
        await UntilAsync(() => forwarder.Refused(RefusalReason.AllEndpointsFailed) == 1, "the refusal is counted");
        Assert.Equal(0, forwarder.Forwarder.ReadStatistics().Active);
    }

    [Fact]
    public async Task DrainingWaitsForWhatTheTunnelCarriesAndCountsWhatIsLeft()
    {
        using var backend = StartBackend();
        await using var forwarder = Start([backend.LocalEndpoint], "edge-b");
        using var staying = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        Assert.Equal(1, await forwarder.Forwarder.DrainAsync(TimeSpan.FromMilliseconds(700)));
    }

    [Fact]
    public async Task CarriedConnectionsCountAgainstTheMostThatMayBeOpen()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([], options => options with { Tunnel = _tunnel, MaxConnections = 1 });
        forwarder.SetEndpoints([backend.LocalEndpoint], "edge-b");
        using var first = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        await forwarder.AssertRefusesAsync();
        Assert.Equal(1, forwarder.Refused(RefusalReason.ConnectionLimit));
    }

    [Fact]
    public async Task WhatTheTunnelCarriesGivesWayToOthersAsWhatTheLoopCarriesDoes()
    {
        const int Limit = 16;
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([], options => options with { Tunnel = _tunnel, MaxConnections = Limit, LoopCount = 1 });
        forwarder.SetEndpoints([backend.LocalEndpoint], "edge-b");
        var heavy = new List<(Socket Client, Socket Server)>();
        for (var i = 0; i < Limit; i++)
        {
            var client = await forwarder.ConnectAsync("127.0.0.2");
            heavy.Add((client, await backend.AcceptSocketAsync(Stop)));
            await client.SendAsync(new byte[1], Stop);
            await ReadAsync(heavy[i].Server, 1);
        }

        foreach (var (client, server) in heavy.Where((_, i) => i != 3))
        {
            await client.SendAsync(new byte[1], Stop);
            await ReadAsync(server, 1);
        }

        await UntilAsync(() => _tunnel.Carried.Where((_, i) => i != 3).All(carried => carried.LastActive > _tunnel.Carried.ElementAt(3).LastActive), "the clock has gone on");
        // Whoever has most gets no more; another takes the place that was idle longest.
        await forwarder.AssertRefusesAsync("127.0.0.2");
        using var other = await forwarder.ConnectAsync("127.0.0.3");
        using var served = await backend.AcceptSocketAsync(Stop);
        await other.SendAsync("here"u8.ToArray(), Stop);
        Assert.Equal("here", await ReadAsync(served, 4));

        await AssertResetAsync(heavy[3].Client);
        await UntilAsync(() => forwarder.Forwarder.ReadStatistics() is { Active: Limit, GaveWay: 1 }, "the place has changed hands");
        foreach (var (client, server) in heavy.Where((_, i) => i != 3))
        {
            await client.SendAsync(new byte[1], Stop);
            await ReadAsync(server, 1);
        }
    }

    private LoopbackForwarder Start(IEnumerable<System.Net.EndPoint> endpoints, params string?[] nodes)
    {
        var forwarder = new LoopbackForwarder([], options => options with { Tunnel = _tunnel });
        forwarder.SetEndpoints(endpoints, nodes);
        return forwarder;
    }

    private static async Task<string> ReadAsync(Socket socket, int bytes)
    {
        var buffer = new byte[bytes];
        for (var read = 0; read < bytes;)
            read += await socket.ReceiveAsync(buffer.AsMemory(read), Stop);
        return Encoding.ASCII.GetString(buffer);
    }
}
