using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Identify;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Ping;
using EdgeMesh.LibP2P.PrivateNetwork;
using EdgeMesh.LibP2P.Relay;
using EdgeMesh.LibP2P.Tls;
using EdgeMesh.LibP2P.Yamux;
using EdgeMesh.Testing.Lab;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.Tests.LibP2P;

/// <summary>Whole hosts against each other over loopback.</summary>
public sealed class PeerHostTests : IAsyncDisposable
{
    private const string Echo = "/test/echo/1.0.0";

    private readonly CancellationTokenSource _deadline = new(TimeSpan.FromSeconds(30));
    private readonly List<PeerHost> _hosts = [];

    private CancellationToken Token => _deadline.Token;

    [Theory]
    [InlineData(NoiseSession.Protocol)]
    [InlineData(TlsSecurity.Protocol)]
    public async Task TwoHostsCarryMegabytesBothWaysWithHalfClose(string security)
    {
        var (one, other) = (Host(o => o with { Security = [security] }), Host());
        var connection = await one.DialAsync(other.Listen(Loopback), Token);
        Assert.Equal((other.PeerId, security), (connection.RemotePeer, connection.Security));

        var sent = RandomNumberGenerator.GetBytes(3_000_000);
        await using var stream = await connection.OpenStreamAsync(Echo, Token);
        var writing = WriteAllAsync(stream, sent);
        Assert.Equal(sent, await ReadAllAsync(stream));
        await writing;
    }

    [Fact]
    public async Task AnAddressWhereNobodyAnswersIsSaidToBeThat()
    {
        // Its queue holds one connection; while nobody accepts, the kernel drops what comes after.
        using var silent = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        silent.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        silent.Listen(0);
        using var first = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await first.ConnectAsync(silent.LocalEndPoint!, Token);

        var fault = await Assert.ThrowsAsync<IOException>(
            () => Host(o => o with { ConnectTimeout = TimeSpan.FromSeconds(0.2) }).DialAsync(Multiaddr.FromEndPoint((IPEndPoint)silent.LocalEndPoint!), Token));

        Assert.Equal($"{silent.LocalEndPoint} could not be reached: no answer within 0.2 s", fault.Message);
    }

    [Fact]
    public async Task ManyStreamsAtOnceEachKeepTheirOwnBytes()
    {
        var (one, other) = (Host(), Host());
        var connection = await one.DialAsync(other.Listen(Loopback), Token);
        await Task.WhenAll(Enumerable.Range(0, 300).Select(async i =>
        {
            var sent = new byte[1000 + i];
            Array.Fill(sent, (byte)i);
            await using var stream = await connection.OpenStreamAsync(Echo, Token);
            await WriteAllAsync(stream, sent);
            Assert.Equal(sent, await ReadAllAsync(stream));
        }));
        await Until(() => connection.StreamCount == 0);
    }

    [Fact]
    public async Task OneSlowReaderDoesNotStopTheOthers()
    {
        var (one, other) = (Host(), Host());
        var released = new TaskCompletionSource();
        other.Handle("/test/slow", async (stream, token) =>
        {
            await released.Task.WaitAsync(token);
            Assert.Equal(2_000_000, (await ReadAllAsync(stream)).Length);
        });
        var connection = await one.DialAsync(other.Listen(Loopback), Token);
        await using var slow = await connection.OpenStreamAsync("/test/slow", Token);
        var writing = WriteAllAsync(slow, new byte[2_000_000]);

        await using var quick = await connection.OpenStreamAsync(Echo, Token);
        var echoed = WriteAllAsync(quick, new byte[500_000]);
        Assert.Equal(500_000, (await ReadAllAsync(quick)).Length);
        await echoed;
        Assert.False(writing.IsCompleted);
        released.SetResult();
        await writing;
        Assert.Empty(await ReadAllAsync(slow));
    }

    [Fact]
    public async Task AProtocolThatNobodyServesIsRefused()
    {
        var (one, other) = (Host(), Host());
        var connection = await one.DialAsync(other.Listen(Loopback), Token);
        var refused = await Assert.ThrowsAsync<IOException>(() => connection.OpenStreamAsync("/test/nobody", Token));
        Assert.Contains("/test/nobody", refused.Message, StringComparison.Ordinal);
        await Until(() => connection.StreamCount == 0);
    }

    [Fact]
    public async Task AHandlerThatFailsResetsItsStreamAndNothingElse()
    {
        var (one, other) = (Host(), Host());
        other.Handle("/test/fails", async (stream, token) =>
        {
            await stream.ReadExactlyAsync(new byte[1], token);
            throw new InvalidOperationException("on purpose");
        });
        var connection = await one.DialAsync(other.Listen(Loopback), Token);
        await using var failing = await connection.OpenStreamAsync("/test/fails", Token);
        await failing.WriteAsync(new byte[1], Token);
        await Assert.ThrowsAsync<StreamResetException>(() => ReadAllAsync(failing));
        await using var stream = await connection.OpenStreamAsync(Echo, Token);
        await WriteAllAsync(stream, [1]);
        Assert.Equal([1], await ReadAllAsync(stream));
    }

    [Fact]
    public async Task APeerOtherThanTheDialledOneIsRefused()
    {
        var (one, other, third) = (Host(), Host(), Host());
        var address = other.Listen(Loopback).ToString().Replace(other.PeerId.ToString(), third.PeerId.ToString(), StringComparison.Ordinal);
        foreach (var security in new[] { NoiseSession.Protocol, TlsSecurity.Protocol })
        {
            var dialer = Host(o => o with { Security = [security] });
            var refused = await Assert.ThrowsAnyAsync<IOException>(() => dialer.DialAsync(Multiaddr.Parse(address), Token));
            Assert.Contains(third.PeerId.ToString(), refused.Message, StringComparison.Ordinal);
        }

        Assert.Empty(one.Connections);
    }

    [Fact]
    public async Task OnlyHoldersOfTheKeyOfAPrivateNetworkConnect()
    {
        var key = new PreSharedKey(RandomNumberGenerator.GetBytes(32));
        var member = Host(o => o with { PreSharedKey = key });
        var address = member.Listen(Loopback);
        var connection = await Host(o => o with { PreSharedKey = key }).DialAsync(address, Token);
        await using var stream = await connection.OpenStreamAsync(Echo, Token);
        await WriteAllAsync(stream, new byte[100_000]);
        Assert.Equal(100_000, (await ReadAllAsync(stream)).Length);

        var stranger = Host(o => o with { PreSharedKey = new PreSharedKey(RandomNumberGenerator.GetBytes(32)), HandshakeTimeout = TimeSpan.FromSeconds(2) });
        await Assert.ThrowsAnyAsync<Exception>(() => stranger.DialAsync(address, Token));
        Assert.Empty(stranger.Connections);
    }

    [Fact]
    public async Task WhoLetsHandshakesStallKeepsOnlyItsOwnAddressOut()
    {
        var host = Host(o => o with { MaxHandshakesPerAddress = 2, MaxHandshakes = 4 });
        var address = host.Listen(Loopback);
        Assert.True(address.TryGetTcpEndPoint(out var at));
        var stalled = new List<Socket>();
        for (var i = 0; i < 3; i++)
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(at!, Token);
            stalled.Add(socket);
        }

        // The third is over the bound and is closed; the first two go on waiting for a word.
        Assert.Equal(0, await stalled[2].ReceiveAsync(new byte[100], Token));
        var elsewhere = Host(o => o with { PrepareSocket = s => s.Bind(new IPEndPoint(IPAddress.Parse("127.0.0.7"), 0)) });
        Assert.Equal(host.PeerId, (await elsewhere.DialAsync(address, Token)).RemotePeer);
        stalled.ForEach(s => s.Dispose());
    }

    [Fact]
    public async Task AnEagerStreamCarriesItsFirstBytesAndIsResetWhereNobodyServesIt()
    {
        var (one, other) = (Host(), Host());
        var connection = await one.DialAsync(other.Listen(Loopback), Token);
        await using var stream = await connection.OpenEagerlyAsync(Echo, new byte[] { 1, 2, 3 }, Token);
        stream.CloseWrite();
        Assert.Equal([1, 2, 3], await ReadAllAsync(stream));

        await using var large = await connection.OpenEagerlyAsync(Echo, new byte[250_000], Token);
        large.CloseWrite();
        Assert.Equal(250_000, (await ReadAllAsync(large)).Length);

        await using var refused = await connection.OpenEagerlyAsync("/test/nobody", new byte[] { 1 }, Token);
        await Assert.ThrowsAsync<StreamResetException>(() => ReadAllAsync(refused));
    }

    [Fact]
    public async Task AStrangerHasFewStreamsUntilItIsAllowedMore()
    {
        var accepted = new TaskCompletionSource<PeerConnection>();
        var (one, other) = (Host(), Host(o => o with { StreamsOfStrangers = 1, Connected = c => accepted.TrySetResult(c) }));
        var connection = await one.DialAsync(other.Listen(Loopback), Token);
        await using var first = await connection.OpenStreamAsync(Echo, Token);
        await Assert.ThrowsAnyAsync<IOException>(() => connection.OpenStreamAsync(Echo, Token));
        (await accepted.Task).AllowStreams(2);
        await using var second = await connection.OpenStreamAsync(Echo, Token);
        await WriteAllAsync(second, [5]);
        Assert.Equal([5], await ReadAllAsync(second));
    }

    [Fact]
    public async Task APeerThatSaysNothingIsLeftAfterTheHandshakeTime()
    {
        using var silent = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        silent.Bind(Loopback);
        silent.Listen();
        var host = Host(o => o with { HandshakeTimeout = TimeSpan.FromMilliseconds(200) });
        await Assert.ThrowsAsync<TimeoutException>(() => host.DialAsync(Multiaddr.FromEndPoint((IPEndPoint)silent.LocalEndPoint!), Token));
    }

    [Fact]
    public async Task WhatIsNoLibp2pIsRefusedAndTheListenerLivesOn()
    {
        var (one, other) = (Host(), Host());
        var address = other.Listen(Loopback);
        address.TryGetTcpEndPoint(out var endPoint);
        var random = new Random(5);
        for (var round = 0; round < 30; round++)
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(endPoint!, Token);
            var noise = new byte[random.Next(1, 3000)];
            random.NextBytes(noise);
            await socket.SendAsync(noise, Token);
        }

        await using var stream = await (await one.DialAsync(address, Token)).OpenStreamAsync(Echo, Token);
        await WriteAllAsync(stream, [1]);
        Assert.Equal([1], await ReadAllAsync(stream));
    }

    [Fact]
    public async Task AClosedConnectionEndsItsStreamsOnBothSides()
    {
        var (one, other) = (Host(), Host());
        var connection = await one.DialAsync(other.Listen(Loopback), Token);
        await using var stream = await connection.OpenStreamAsync(Echo, Token);
        await connection.DisposeAsync();
        await Assert.ThrowsAnyAsync<IOException>(() => ReadAllAsync(stream));
        await Until(() => other.Connections.Count == 0 && one.Connections.Count == 0);
    }

    [Fact]
    public async Task PeersIdentifyThemselvesAndPushChangesAndAnswerPings()
    {
        var (one, other) = (Host(), Host(o => o with { AgentVersion = "other/7" }));
        var (mine, theirs) = (IdentifyProtocol.Attach(one), IdentifyProtocol.Attach(other));
        PingProtocol.Attach(other);
        var connection = await one.DialAsync(other.Listen(Loopback), Token);
        var identity = await mine.AskAsync(connection, Token);
        Assert.Equal("other/7", identity.AgentVersion);
        Assert.Contains(PingProtocol.Protocol, identity.Protocols);
        Assert.Equal(other.ListenAddresses, identity.ListenAddresses);
        Assert.Equal(other.PeerId, PeerId.FromPublicKey(identity.PublicKey!));
        Assert.True(await PingProtocol.PingAsync(connection, TimeProvider.System, Token) > TimeSpan.Zero);

        other.Handle("/test/new", (_, _) => Task.CompletedTask);
        await theirs.PushAsync(Token);
        await Until(() => connection.Identity!.Protocols.Contains("/test/new"));
    }

    [Fact]
    public async Task TwoPeersMeetThroughARelayThatCannotBeThem()
    {
        var (relay, one, other) = (Host(), Host(), Host());
        var server = RelayServer.Attach(relay, new RelayServerOptions());
        var (mine, theirs) = (RelayClient.Attach(one), RelayClient.Attach(other));
        var address = relay.Listen(Loopback);
        var atRelay = await other.DialAsync(address, Token);
        var reservation = await theirs.ReserveAsync(atRelay, Token);
        Assert.Contains(address, reservation.Addresses);
        Assert.Equal(1, server.ReservationCount);

        var toRelay = await one.DialAsync(address, Token);
        var connection = await mine.DialAsync(toRelay, other.PeerId, Token);
        Assert.Equal(other.PeerId, connection.RemotePeer);
        Assert.True(connection.RemoteAddress!.IsRelayed);
        await using var stream = await connection.OpenStreamAsync(Echo, Token);
        var sent = RandomNumberGenerator.GetBytes(1_000_000);
        var writing = WriteAllAsync(stream, sent);
        Assert.Equal(sent, await ReadAllAsync(stream));
        await writing;
        Assert.Equal(1, server.CircuitCount);
        await connection.DisposeAsync();
        await Until(() => server.CircuitCount == 0);
    }

    [Fact]
    public async Task ARelayRefusesWhatItsBoundsDoNotAllow()
    {
        var (relay, one, other, third) = (Host(), Host(), Host(), Host());
        RelayServer.Attach(relay, new RelayServerOptions { MaxReservations = 1, MaxCircuitsPerPeer = 1, Limit = new RelayLimit { Data = 200_000, Duration = TimeSpan.FromMinutes(1) } });
        var address = relay.Listen(Loopback);
        var clients = new[] { one, other, third }.Select(RelayClient.Attach).ToArray();
        var connections = new[] { await one.DialAsync(address, Token), await other.DialAsync(address, Token), await third.DialAsync(address, Token) };

        Assert.Equal(RelayStatus.NoReservation, (await Refused(() => clients[0].DialAsync(connections[0], other.PeerId, Token))).Status);
        var reservation = await clients[1].ReserveAsync(connections[1], Token);
        Assert.Equal(200_000, reservation.Limit!.Data);
        Assert.Equal(RelayStatus.ReservationRefused, (await Refused(() => clients[2].ReserveAsync(connections[2], Token))).Status);

        var through = await clients[0].DialAsync(connections[0], other.PeerId, Token);
        Assert.Equal(RelayStatus.ResourceLimitExceeded, (await Refused(() => clients[2].DialAsync(connections[2], other.PeerId, Token))).Status);

        await using var stream = await through.OpenStreamAsync(Echo, Token);
        await Assert.ThrowsAnyAsync<IOException>(async () =>
        {
            var writing = WriteAllAsync(stream, new byte[1_000_000]);
            await ReadAllAsync(stream);
            await writing;
        });
        await Until(() => through.Failure is not null);
    }

    [Fact]
    public async Task ARelayBehindARelayIsRefused()
    {
        var (relay, middle, one) = (Host(), Host(), Host());
        RelayServer.Attach(relay, new RelayServerOptions());
        RelayServer.Attach(middle, new RelayServerOptions());
        var address = relay.Listen(Loopback);
        await RelayClient.Attach(middle).ReserveAsync(await middle.DialAsync(address, Token), Token);
        var client = RelayClient.Attach(one);
        var toMiddle = await client.DialAsync(await one.DialAsync(address, Token), middle.PeerId, Token);
        Assert.Equal(RelayStatus.PermissionDenied, (await Refused(() => client.ReserveAsync(toMiddle, Token))).Status);
    }

    [Fact]
    public async Task AConnectionThroughARelayWithoutAReservationIsRefused()
    {
        var (relay, other) = (Host(), Host());
        RelayClient.Attach(other);
        var connection = await relay.DialAsync(other.Listen(Loopback), Token);
        await using var stream = await connection.OpenStreamAsync(RelayServer.StopProtocol, Token);
        var request = new RelayMessage { Type = RelayMessageType.Connect, Peer = relay.PeerId };
        await Negotiation.WriteMessageAsync(stream, request.EncodeStop(), Token);
        var answer = RelayMessage.DecodeStop(await Negotiation.ReadMessageAsync(stream, RelayMessage.MaxLength, Token));
        Assert.Equal(RelayStatus.PermissionDenied, answer!.Status);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var host in _hosts)
        {
            await host.DisposeAsync();
            host.Options.Identity.Dispose();
        }

        _deadline.Dispose();
    }

    private static IPEndPoint Loopback => new(IPAddress.Loopback, 0);

    private PeerHost Host(Func<PeerHostOptions, PeerHostOptions>? change = null)
    {
        var options = new PeerHostOptions { Identity = Ed25519KeyPair.Create(), Yamux = new YamuxOptions { MaxUnacknowledged = 64 } };
        var host = new PeerHost(change?.Invoke(options) ?? options, NullLogger.Instance);
        host.Handle(Echo, async (stream, token) =>
        {
            await stream.CopyToAsync(stream, token);
        });
        _hosts.Add(host);
        return host;
    }

    private static Task<RelayRefusedException> Refused(Func<Task> request) => Assert.ThrowsAsync<RelayRefusedException>(request);

    private async Task WriteAllAsync(PeerStream stream, byte[] bytes)
    {
        await stream.WriteAsync(bytes, Token);
        stream.CloseWrite();
    }

    private async Task<byte[]> ReadAllAsync(Stream stream)
    {
        using var all = new MemoryStream();
        await stream.CopyToAsync(all, Token);
        return all.ToArray();
    }

    private static Task Until(Func<bool> condition) => Eventually.HoldsAsync(condition, TimeSpan.FromSeconds(30));
}
