using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using EdgeMesh.Tunnel.Proxy;
using EdgeMesh.Tunnel.Sessions;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Relay;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.LibP2P.Yamux;

namespace EdgeMesh.Tests.Tunnel;

/// <summary>Peers that are wrong, hostile or broken: bounded, refused and counted, and the others go on.</summary>
public sealed class BadPeerTests : IAsyncDisposable
{
    private const string OtherKey = "Zk3Wv8Qe5Rt1Yb7Un2Im6Op0As4Df9Gh3Jk7Lx5Cv1Bn=";

    private static readonly byte[] ChoiceOfNoise = [.. "\x13/multistream/1.0.0\n\x07/noise\n"u8];

    private readonly MeshLab _lab = new();
    private readonly List<IAsyncDisposable> _peers = [];

    [Fact]
    public async Task WithAnotherKeyOnOneSideBothSaySoAndNeitherShowsAKey()
    {
        var relay = await _lab.RelayAsync("relay", "127.0.60.1");
        var near = await _lab.NodeAsync("near", "127.0.60.2", [relay], o => o with { Keys = MeshLab.Keys(OtherKey) });
        await MeshLab.Until(() => _lab.Logs.Warnings.Count() >= 2);
        var dialer = Assert.Single(_lab.Logs.Warnings, w => w.Contains("is not relay, or has another key", StringComparison.Ordinal));
        Assert.Contains(relay.Listeners[0].ToString(), dialer, StringComparison.Ordinal);
        var listener = Assert.Single(_lab.Logs.Warnings, w => w.Contains("has another key than this one", StringComparison.Ordinal));
        Assert.Contains("127.0.0.1", listener, StringComparison.Ordinal);

        // It goes on trying, and says no more.
        await MeshLab.Until(() => relay.ReadStatus().Counts.StrangersRefused >= 4);
        Assert.Equal(2, _lab.Logs.Warnings.Count());
        Assert.DoesNotContain(_lab.Logs.All, l => l.Contains(OtherKey[..12], StringComparison.Ordinal) || l.Contains(MeshLab.KeyText[..12], StringComparison.Ordinal));
        Assert.Equal(PeerState.Connecting, MeshLab.Peer(near, "relay")!.State);
    }

    [Fact]
    public async Task APeerThatLiesAboutItsNameIsRefused()
    {
        var (far, echo) = await FarAsync();
        var liar = Peer(host: "liar");
        var connection = await DialAsync(liar, far);
        await Assert.ThrowsAnyAsync<IOException>(() => HelloAsync(connection, "honest"));
        await connection.Closed.WaitAsync(_lab.Token);
        Assert.Contains(_lab.Logs.Warnings, w => w.Contains("calls itself honest", StringComparison.Ordinal));
        Assert.Equal(1, far.ReadStatus().Counts.StrangersRefused);
        await OthersGoOnAsync(far, echo);
    }

    [Fact]
    public async Task WithoutAHelloNothingIsServed()
    {
        var (far, echo) = await FarAsync(o => o with { SessionWait = TimeSpan.FromMilliseconds(500) });
        var stranger = Peer("nobody", OtherKey, proves: MeshLab.KeyText);
        var connection = await DialAsync(stranger, far);
        var stream = await OpenAsync(connection, echo);
        await connection.Closed.WaitAsync(_lab.Token);
        await Assert.ThrowsAnyAsync<IOException>(() => Negotiation.ReadMessageAsync(stream, 512, _lab.Token));
        Assert.Equal(0, far.ReadStatus().Counts.StreamsServed);
        await OthersGoOnAsync(far, echo);
    }

    [Fact]
    public async Task AHundredThousandStreamsAreCutAtTheLimit()
    {
        var (far, echo) = await FarAsync(o => o with { Limits = new TunnelLimits { StreamsInPerPeer = 50 } });
        var (connection, _) = await MemberAsync(far, "greedy", new YamuxOptions { MaxUnacknowledged = 200_000, MaxOutboundStreams = 200_000 });
        var worst = 0;
        for (var i = 0; i < 100_000; i++)
        {
            try
            {
                await OpenAsync(connection, echo);
            }
            catch (IOException)
            {
                // The session itself was ended, which is the other side's right.
                break;
            }

            if (i % 1000 == 0)
                worst = Math.Max(worst, far.ReadStatus().Counts.StreamsIn);
        }

        Assert.True(worst <= 50, $"{worst} streams stood");
        await OthersGoOnAsync(far, echo);
        Assert.True(far.ReadStatus().Counts.RefusedIn["Limit"] > 0);
    }

    [Fact]
    public async Task GiantLengthsAreRefusedWithTheirStreamAlone()
    {
        var (far, echo) = await FarAsync();
        var (connection, _) = await MemberAsync(far, "giant");
        foreach (var protocol in new[] { OpenMessage.ProtocolName, RelayServer.HopProtocol })
        {
            await using var stream = await connection.OpenStreamAsync(protocol, _lab.Token);
            await stream.WriteAsync(new byte[] { 0xFF, 0xFF, 0xFF, 0xFF, 0x7F }, _lab.Token);
            await Assert.ThrowsAnyAsync<IOException>(async () =>
            {
                var answer = AnswerMessage.Decode(await Negotiation.ReadMessageAsync(stream, 512, _lab.Token));
                Assert.Equal(AnswerCode.Malformed, answer.Code);
                throw new IOException("it was refused with a reason");
            });
        }

        await using var first = await connection.OpenStreamAsync(LegacyProxyMessage.ProtocolName, _lab.Token);
        await first.WriteAsync(new byte[] { 0xFF, 0xFF, 0xFF, 0xFF, 0x7F }, _lab.Token);
        Assert.Equal(LegacyProxyType.Failed, LegacyProxyMessage.Decode(await Negotiation.ReadMessageAsync(first, 512, _lab.Token)).Type);

        // In one flight with the proposal it is no matter for the host.
        await using var eager = await connection.OpenEagerlyAsync(OpenMessage.ProtocolName, new byte[] { 0xFF, 0xFF, 0xFF, 0xFF, 0x7F }, _lab.Token);
        Assert.Equal(AnswerCode.Malformed, AnswerMessage.Decode(await Negotiation.ReadMessageAsync(eager, 512, _lab.Token)).Code);

        await using var good = await OpenAsync(connection, echo);
        Assert.Equal(AnswerCode.Ok, AnswerMessage.Decode(await Negotiation.ReadMessageAsync(good, 512, _lab.Token)).Code);
        Assert.Equal(3, far.ReadStatus().Counts.RefusedIn["Malformed"]);
    }

    [Fact]
    public async Task StreamsWhoseRequestNeverEndsAreGivenUpInTimeAndOthersAreServedMeanwhile()
    {
        var (far, echo) = await FarAsync(o => o with { DialTimeout = TimeSpan.FromMilliseconds(300), EndpointTimeout = TimeSpan.FromMilliseconds(300) });
        var (connection, _) = await MemberAsync(far, "slow", new YamuxOptions { MaxUnacknowledged = 5_000 });
        var stalled = new List<PeerStream>();
        for (var i = 0; i < 1_000; i++)
        {
            // A length, and less behind it; every other one says nothing at all.
            var half = i % 2 == 0 ? new byte[] { 100, 1, 2, 3 } : [];
            stalled.Add(await connection.OpenEagerlyAsync(OpenMessage.ProtocolName, half, _lab.Token));
        }

        await using var good = await OpenAsync(connection, echo);
        Assert.Equal(AnswerCode.Ok, AnswerMessage.Decode(await Negotiation.ReadMessageAsync(good, 512, _lab.Token)).Code);
        await OthersGoOnAsync(far, echo);
        foreach (var stream in stalled)
            await Assert.ThrowsAnyAsync<IOException>(async () => AnswerMessage.Decode(await Negotiation.ReadMessageAsync(stream, 512, _lab.Token)));
        Assert.Equal(2, far.ReadStatus().Counts.StreamsServed);
    }

    [Fact]
    public async Task HandshakesThatStallKeepNobodyElseOut()
    {
        var (far, echo) = await FarAsync(o => o with { DialTimeout = TimeSpan.FromMilliseconds(500) });
        var silent = new List<Socket>();
        for (var i = 0; i < 100; i++)
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(far.Listeners[0].Address.ToIPAddress(), far.Listeners[0].Port, _lab.Token);
            // Some say nothing, some stop in the middle: after the choice of Noise, and within its first message. What is too
            // many of one address is closed before it can.
            if (i % 3 > 0)
                await Record.ExceptionAsync(() => MeshLab.SendAsync(socket, i % 3 == 1 ? ChoiceOfNoise : [.. ChoiceOfNoise, 0, 32, 1, 2, 3], _lab.Token));
            silent.Add(socket);
        }

        await OthersGoOnAsync(far, echo);
        await MeshLab.Until(() => far.ReadStatus().Counts.StrangersRefused > 0);
        foreach (var socket in silent)
        {
            // Each was closed from the other side, some with its greeting unread.
            var closed = await Record.ExceptionAsync(() => MeshLab.ReceiveAllAsync(socket, _lab.Token));
            Assert.True(closed is null or SocketException);
            socket.Dispose();
        }
    }

    [Fact]
    public async Task APeerThatNeverReadsHoldsUpItsOwnStreamsOnly()
    {
        var flood = _lab.Endpoint(async (socket, token) =>
        {
            var bytes = new byte[64 * 1024];
            while (true)
                await MeshLab.SendAsync(socket, bytes, token);
        });
        var (far, echo) = await FarAsync();
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Tcp), new TransportAddress(flood, TransportProtocol.Tcp));
        var (connection, _) = await MemberAsync(far, "deaf");
        for (var i = 0; i < 20; i++)
        {
            var stream = await OpenAsync(connection, flood);
            await stream.WaitToReadAsync(_lab.Token);
        }

        await OthersGoOnAsync(far, echo);
        // The same session too: one stream's window is not another's.
        await using var good = await OpenAsync(connection, echo);
        Assert.Equal(AnswerCode.Ok, AnswerMessage.Decode(await Negotiation.ReadMessageAsync(good, 512, _lab.Token)).Code);
    }

    [Fact]
    public async Task APeerThatReadsNothingAnyMoreIsLeftWithAllItsStreamsAndBindsNoMemoryMeanwhile()
    {
        var sent = 0L;
        var flood = _lab.Endpoint(async (socket, token) =>
        {
            var bytes = new byte[64 * 1024];
            while (true)
                Interlocked.Add(ref sent, await socket.SendAsync(bytes, token));
        });
        var (far, echo) = await FarAsync();
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Tcp), new TransportAddress(flood, TransportProtocol.Tcp));
        await using var door = new Door(far.Listeners[0], "127.0.61.3");
        var host = Peer("stone");
        var connection = await host.DialAsync(Multiaddr.FromEndPoint(door.Address.ToIPEndPoint()).Append($"/p2p/{far.PeerId}"), _lab.Token);
        await HelloAsync(connection, "stone");
        for (var i = 0; i < 20; i++)
            await (await OpenAsync(connection, flood)).WaitToReadAsync(_lab.Token);
        Assert.Equal(20, far.ReadStatus().Counts.StreamsIn);

        door.Silence();

        await OthersGoOnAsync(far, echo);
        await MeshLab.Until(() => far.ReadStatus().Counts.StreamsIn == 1);
        // Windows of twenty streams, and what the kernel's buffers hold.
        Assert.InRange(Interlocked.Read(ref sent), 0, 256_000_000);
    }

    [Fact]
    public async Task WhatIsNoEndpointHereIsNotDialledWhoeverAsks()
    {
        var (far, echo) = await FarAsync();
        var hidden = _lab.Echo();
        var (connection, _) = await MemberAsync(far, "curious");
        foreach (var asked in new[] { InetEndpoint.Parse("127.0.0.1:22"), hidden, InetEndpoint.Parse("[::1]:22") })
        {
            await using var stream = await OpenAsync(connection, asked);
            Assert.Equal(AnswerCode.NotListed, AnswerMessage.Decode(await Negotiation.ReadMessageAsync(stream, 512, _lab.Token)).Code);
            await using var legacy = await connection.OpenStreamAsync(LegacyProxyMessage.ProtocolName, _lab.Token);
            var request = new LegacyProxyMessage(LegacyProxyType.Connect, TransportProtocol.Tcp, "far", asked);
            await Negotiation.WriteMessageAsync(legacy, request.Encode(), _lab.Token);
            Assert.Equal(LegacyProxyType.Failed, LegacyProxyMessage.Decode(await Negotiation.ReadMessageAsync(legacy, 1024, _lab.Token)).Type);
        }

        // The right address, and the wrong protocol.
        await using var datagrams = await OpenAsync(connection, echo, TransportProtocol.Udp);
        Assert.Equal(AnswerCode.NotListed, AnswerMessage.Decode(await Negotiation.ReadMessageAsync(datagrams, 512, _lab.Token)).Code);
        Assert.Equal(7, far.ReadStatus().Counts.RefusedIn["NotListed"]);
        Assert.Equal(0, far.ReadStatus().Counts.StreamsServed);
    }

    [Fact]
    public async Task AFloodOfReservationsTakesOnePlaceAndStrangersGetNone()
    {
        var relay = await _lab.RelayAsync("relay", "127.0.61.9");
        var (connection, host) = await MemberAsync(relay, "flood");
        var client = RelayClient.Attach(host);
        for (var i = 0; i < 500; i++)
            await client.ReserveAsync(connection, _lab.Token);
        Assert.Equal(1, relay.ReadStatus().Counts.Reservations);

        var stranger = Peer("nobody", OtherKey, proves: MeshLab.KeyText);
        var unknown = await DialAsync(stranger, relay);
        var refused = await Assert.ThrowsAsync<RelayRefusedException>(() => RelayClient.Attach(stranger).ReserveAsync(unknown, _lab.Token));
        Assert.Equal(RelayStatus.PermissionDenied, refused.Status);
        Assert.Equal(1, relay.ReadStatus().Counts.Reservations);
    }

    private async Task<(MeshNode Far, InetEndpoint Echo)> FarAsync(Func<MeshOptions, MeshOptions>? change = null)
    {
        var far = await _lab.NodeAsync("far", "127.0.61.1", change: o => (change?.Invoke(o) ?? o) with { IsRelay = true });
        var echo = _lab.Echo();
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Tcp));
        return (far, echo);
    }

    private async Task OthersGoOnAsync(MeshNode far, InetEndpoint echo)
    {
        var near = await _lab.NodeAsync($"near-{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4))}", "127.0.61.2", [far]);
        await MeshLab.UntilState(near, "far", PeerState.Direct);
        var client = await _lab.CarryAsync(near, "far", echo, [1, 2, 3]);
        Assert.Equal([1, 2, 3], await client.ReceiveAsync(3));
    }

    /// <summary>A peer with the identity of a node, whose behaviour is the test's.</summary>
    /// <param name="key">That its identity follows from.</param>
    /// <param name="proves">That it proves; the same, if null.</param>
    private PeerHost Peer(string host, string? key = null, YamuxOptions? yamux = null, string? proves = null)
    {
        var identity = MeshLab.Keys(key ?? MeshLab.KeyText).DeriveOwn(host);
        var peer = new PeerHost(
            new PeerHostOptions
            {
                Identity = identity,
                Admission = MeshLab.Keys(proves ?? key ?? MeshLab.KeyText).DeriveAdmission(identity.PeerId),
                Security = [NoiseSession.Protocol],
                Yamux = yamux ?? new YamuxOptions(),
            },
            NullLogger.Instance);
        _peers.Add(peer);
        return peer;
    }

    private Task<PeerConnection> DialAsync(PeerHost host, MeshNode node) =>
        host.DialAsync(Multiaddr.FromEndPoint(new IPEndPoint(node.Listeners[0].Address.ToIPAddress(), node.Listeners[0].Port)).Append($"/p2p/{node.PeerId}"), _lab.Token);

    private async Task<(PeerConnection Connection, PeerHost Host)> MemberAsync(MeshNode node, string name, YamuxOptions? yamux = null)
    {
        var host = Peer(name, yamux: yamux);
        var connection = await DialAsync(host, node);
        await HelloAsync(connection, name);
        return (connection, host);
    }

    private async Task HelloAsync(PeerConnection connection, string name)
    {
        await using var stream = await connection.OpenStreamAsync(HelloMessage.Protocol, _lab.Token);
        await Negotiation.WriteMessageAsync(stream, new HelloMessage { Node = name, ProxyVersions = [2] }.Encode(), _lab.Token);
        HelloMessage.Decode(await Negotiation.ReadMessageAsync(stream, HelloMessage.MaxLength, _lab.Token));
    }

    private async Task<PeerStream> OpenAsync(PeerConnection connection, InetEndpoint endpoint, TransportProtocol protocol = TransportProtocol.Tcp)
    {
        using var flight = new ByteQueue(OpenMessage.MaxLength);
        OpenMessage.Of(MeshLab.Destination("far", endpoint, protocol)).Append(flight);
        return await connection.OpenEagerlyAsync(OpenMessage.ProtocolName, flight.Memory, _lab.Token);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var peer in _peers)
            await peer.DisposeAsync();
        await _lab.DisposeAsync();
    }
}
