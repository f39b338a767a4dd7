using System.Net;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Identify;
using EdgeMesh.LibP2P.Ping;
using EdgeMesh.LibP2P.PrivateNetwork;
using EdgeMesh.LibP2P.Relay;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.InteropTests;

/// <summary>This library and js-libp2p against each other over loopback, in both directions.</summary>
public sealed class JsLibp2pTests : IAsyncDisposable
{
    private const string Echo = "/test/echo/1.0.0";
    private const int TenMegabytes = 10_000_000;

    private readonly CancellationTokenSource _deadline = new(TimeSpan.FromSeconds(50));
    private readonly List<IAsyncDisposable> _ends = [];

    private CancellationToken Token => _deadline.Token;

    [Theory]
    [InlineData("noise", "/noise")]
    [InlineData("tls", "/tls/1.0.0")]
    public async Task WeDialJs(string security, string protocol)
    {
        var (js, host) = (await JsAsync(new JsonObject { ["security"] = security }), Host());
        var connection = await host.DialAsync(js.Addresses[0], Token);
        Assert.Equal((js.Peer, protocol), (connection.RemotePeer, connection.Security));

        await ExchangeAsync(connection, TenMegabytes);
        await Task.WhenAll(Enumerable.Range(0, 1000).Select(i => ExchangeAsync(connection, 100 + i)));
        Assert.True(await PingProtocol.PingAsync(connection, TimeProvider.System, Token) > TimeSpan.Zero);
        var identity = await IdentifyProtocol.Attach(host).AskAsync(connection, Token);
        Assert.StartsWith("js-libp2p/", identity.AgentVersion, StringComparison.Ordinal);
        Assert.Contains(Echo, identity.Protocols);
        Assert.NotNull(connection.RoundTrip);
    }

    [Theory]
    [InlineData("noise", "/noise")]
    [InlineData("tls", "/tls/1.0.0")]
    public async Task JsDialsUs(string security, string protocol)
    {
        var (js, host) = (await JsAsync(new JsonObject { ["security"] = security }), Host());
        var dialled = await js.DoAsync("dial", new JsonObject { ["address"] = host.Listen(Loopback).ToString() });
        Assert.Equal(host.PeerId.ToString(), (string)dialled["peer"]!);
        Assert.Equal((protocol, "/yamux/1.0.0"), ((string)dialled["encryption"]!, (string)dialled["multiplexer"]!));

        Assert.Equal(TenMegabytes, (int)(await js.DoAsync("echo", With(host, "size", TenMegabytes)))["received"]!);
        Assert.Equal(1000, (int)(await js.DoAsync("streams", With(host, "count", 1000)))["good"]!);
        Assert.True((double)(await js.DoAsync("ping", With(host)))["milliseconds"]! >= 0);
        var known = await UntilAsync(() => js.DoAsync("identified", With(host)), k => k["protocols"]!.AsArray().Count > 0);
        Assert.Contains(Echo, known["protocols"]!.AsArray().Select(p => (string)p!));
        Assert.Equal("interop/1", (string)known["agent"]!);
    }

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
        await UntilAsync(() => Task.FromResult(server.ReservationCount), count => count == 1);
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

    public async ValueTask DisposeAsync()
    {
        foreach (var end in _ends)
            await end.DisposeAsync();
        _deadline.Dispose();
    }

    private static IPEndPoint Loopback => new(IPAddress.Loopback, 0);

    private static JsonObject With(PeerHost host, string? name = null, int value = 0)
    {
        var arguments = new JsonObject { ["peer"] = host.PeerId.ToString() };
        if (name is not null)
            arguments[name] = value;
        return arguments;
    }

    private async Task<JsNode> JsAsync(JsonObject options)
    {
        var node = await JsNode.StartAsync(options);
        _ends.Add(node);
        return node;
    }

    private PeerHost Host(PreSharedKey? key = null, TimeSpan? handshake = null)
    {
        var host = new PeerHost(new PeerHostOptions { Identity = Ed25519KeyPair.Create(), PreSharedKey = key, AgentVersion = "interop/1", HandshakeTimeout = handshake ?? TimeSpan.FromSeconds(10) }, NullLogger.Instance);
        host.Handle(Echo, (stream, token) => stream.CopyToAsync(stream, token));
        IdentifyProtocol.Attach(host);
        PingProtocol.Attach(host);
        _ends.Add(host);
        return host;
    }

    /// <summary>Sends bytes, ends this direction while the other goes on, and compares what comes back.</summary>
    private async Task ExchangeAsync(PeerConnection connection, int size)
    {
        var sent = RandomNumberGenerator.GetBytes(size);
        await using var stream = await connection.OpenStreamAsync(Echo, Token);
        var sending = SendAsync(stream, sent);
        using var received = new MemoryStream();
        await stream.CopyToAsync(received, Token);
        await sending;
        Assert.Equal(SHA256.HashData(sent), SHA256.HashData(received.ToArray()));
    }

    private async Task SendAsync(PeerStream stream, byte[] bytes)
    {
        await stream.WriteAsync(bytes, Token);
        stream.CloseWrite();
    }

    private async Task<T> UntilAsync<T>(Func<Task<T>> look, Func<T, bool> good)
    {
        while (true)
        {
            var seen = await look();
            if (good(seen))
                return seen;
            await Task.Delay(20, Token);
        }
    }
}
