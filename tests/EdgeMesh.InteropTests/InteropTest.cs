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

/// <summary>Both ends of a test: hosts of this library and js-libp2p nodes, over loopback, ended with the test.</summary>
public abstract class InteropTest : IAsyncDisposable
{
    protected const string Echo = "/test/echo/1.0.0";

    private readonly CancellationTokenSource _deadline = new(TimeSpan.FromSeconds(60));
    private readonly List<IAsyncDisposable> _ends = [];

    protected CancellationToken Token => _deadline.Token;

    public virtual async ValueTask DisposeAsync()
    {
        foreach (var end in _ends)
            await end.DisposeAsync();
        _deadline.Dispose();
        GC.SuppressFinalize(this);
    }

    protected static IPEndPoint Loopback => new(IPAddress.Loopback, 0);

    protected static JsonObject With(PeerHost host, string? name = null, int value = 0)
    {
        var arguments = new JsonObject { ["peer"] = host.PeerId.ToString() };
        if (name is not null)
            arguments[name] = value;
        return arguments;
    }

    private protected async Task<JsNode> JsAsync(JsonObject options)
    {
        var node = await JsNode.StartAsync(options);
        _ends.Add(node);
        return node;
    }

    protected PeerHost Host(PreSharedKey? key = null, TimeSpan? handshake = null)
    {
        var host = new PeerHost(new PeerHostOptions { Identity = Ed25519KeyPair.Create(), PreSharedKey = key, AgentVersion = "interop/1", HandshakeTimeout = handshake ?? TimeSpan.FromSeconds(10) }, NullLogger.Instance);
        host.Handle(Echo, (stream, token) => stream.CopyToAsync(stream, token));
        IdentifyProtocol.Attach(host);
        PingProtocol.Attach(host);
        _ends.Add(host);
        return host;
    }

    /// <summary>Sends bytes, ends this direction while the other goes on, and compares what comes back.</summary>
    protected async Task ExchangeAsync(PeerConnection connection, int size)
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
}
