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

/// <summary>Security, yamux, identify and ping against js-libp2p, in both directions.</summary>
[Collection(nameof(InteropTest))]
public sealed class JsSessionTests : InteropTest
{
    private const int TenMegabytes = 10_000_000;

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
        var known = await Eventually.SeesAsync(() => js.DoAsync("identified", With(host)), k => k["protocols"]!.AsArray().Count > 0, TimeSpan.FromSeconds(20));
        Assert.Contains(Echo, known["protocols"]!.AsArray().Select(p => (string)p!));
        Assert.Equal("interop/1", (string)known["agent"]!);
    }
}
