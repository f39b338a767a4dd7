using System.Net;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Identify;
using EdgeMesh.LibP2P.Ping;
using EdgeMesh.LibP2P.PrivateNetwork;
using EdgeMesh.LibP2P.Relay;
using EdgeMesh.Testing.Lab;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.InteropTests;

/// <summary>Relays and private networks with js-libp2p, in both directions.</summary>
[Collection(nameof(InteropTest))]
public sealed class JsRelayTests : InteropTest
{
    [Fact]
    public async Task APrivateNetworkHoldsBothWaysAndKeepsOthersOut()
    {
        var swarmKey = $"/key/swarm/psk/1.0.0/\n/base16/\n{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32))}";
        Assert.True(PreSharedKey.TryParse(swarmKey, out var key));
        var js = await JsAsync(new JsonObject { ["psk"] = swarmKey });
        var host = Host(key);
        await ExchangeAsync(await host.DialAsync(js.Addresses[0], Token), 1_000_000);

        var another = Host(key);
        await js.DoAsync("dial", new JsonObject { ["address"] = another.Listen(Loopback).ToString() });
        Assert.Equal(1_000_000, (int)(await js.DoAsync("echo", With(another, "size", 1_000_000)))["received"]!);

        var outsider = Host(handshake: TimeSpan.FromSeconds(1));
        await Assert.ThrowsAnyAsync<Exception>(() => outsider.DialAsync(js.Addresses[0], Token));
        Assert.Empty(outsider.Connections);
    }

    [Fact]
    public async Task TwoJsNodesMeetThroughOurRelay()
    {
        var relay = Host();
        var server = RelayServer.Attach(relay, new RelayServerOptions());
        var address = relay.Listen(Loopback).ToString();
        var reachable = await JsAsync(new JsonObject { ["listen"] = new JsonArray($"{address}/p2p-circuit") });
        await Eventually.SeesAsync(() => server.ReservationCount, count => count == 1, TimeSpan.FromSeconds(20));
        var dialer = await JsAsync([]);
        var dialled = await dialer.DoAsync("dial", new JsonObject { ["address"] = $"{address}/p2p-circuit/p2p/{reachable.Peer}" });
        Assert.Equal(reachable.Peer.ToString(), (string)dialled["peer"]!);
        var echoed = await dialer.DoAsync("echo", new JsonObject { ["peer"] = reachable.Peer.ToString(), ["size"] = 1_000_000 });
        Assert.Equal(1_000_000, (int)echoed["received"]!);
        Assert.Equal(1, server.CircuitCount);
    }

    [Fact]
    public async Task TwoOfOursMeetThroughAJsRelay()
    {
        var relay = await JsAsync(new JsonObject { ["relay"] = true });
        var (one, other) = (Host(), Host());
        var (mine, theirs) = (RelayClient.Attach(one), RelayClient.Attach(other));
        var reservation = await theirs.ReserveAsync(await other.DialAsync(relay.Addresses[0], Token), Token);
        Assert.True(reservation.Expires > TimeProvider.System.GetUtcNow());

        var connection = await mine.DialAsync(await one.DialAsync(relay.Addresses[0], Token), other.PeerId, Token);
        Assert.Equal(other.PeerId, connection.RemotePeer);
        await ExchangeAsync(connection, 1_000_000);
    }

    [Fact]
    public async Task JsRefusesAPlaceToWhomHasNone()
    {
        var relay = await JsAsync(new JsonObject { ["relay"] = true });
        var host = Host();
        var client = RelayClient.Attach(host);
        var connection = await host.DialAsync(relay.Addresses[0], Token);
        var refused = await Assert.ThrowsAsync<RelayRefusedException>(() => client.DialAsync(connection, Host().PeerId, Token));
        Assert.Equal(RelayStatus.NoReservation, refused.Status);
    }
}
