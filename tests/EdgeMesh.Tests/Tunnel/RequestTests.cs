using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using EdgeMesh.Catalog;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Identify;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using EdgeMesh.Tunnel.Proxy;
using EdgeMesh.Tunnel.Sessions;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.Tests.Tunnel;

/// <summary>Requests of both protocols, from peers that send them otherwise than this program does; and peers that know the first
/// protocol alone, as Go agents do.</summary>
public sealed class RequestTests : IAsyncDisposable
{
    private readonly MeshLab _lab = new();
    private readonly List<PeerHost> _peers = [];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task ARequestIsReadHoweverItIsCut(int version)
    {
        var protocol = Protocol(version);
        var (connection, echo) = await MemberAsync();
        byte[] request = Request(protocol, echo, TransportProtocol.Tcp);
        byte[] whole = [.. request, .. "behind"u8];
        for (var cut = 0; cut <= whole.Length; cut++)
        {
            // The proposal is with the first piece; each piece is a frame of its own.
            await using var stream = await connection.OpenEagerlyAsync(protocol.Name, whole.AsMemory(0, cut), _lab.Token);
            await stream.WriteAsync(whole.AsMemory(cut), _lab.Token);
            await AssertTakenAsync(protocol, stream);
            Assert.Equal("behind"u8.ToArray(), await ReadAsync(stream, 6));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task ADialerThatWaitsForEachAnswerIsServedToo(int version)
    {
        var protocol = Protocol(version);
        var (connection, echo) = await MemberAsync();
        foreach (var sendsByteByByte in new[] { false, true })
        {
            await using var stream = await connection.OpenStreamAsync(protocol.Name, _lab.Token);
            byte[] request = Request(protocol, echo, TransportProtocol.Tcp);
            for (var sent = 0; sent < request.Length;)
            {
                var count = sendsByteByByte ? 1 : request.Length;
                await stream.WriteAsync(request.AsMemory(sent, count), _lab.Token);
                sent += count;
            }

            await AssertTakenAsync(protocol, stream);
            await stream.WriteAsync("after"u8.ToArray(), _lab.Token);
            stream.CloseWrite();
            Assert.Equal("after"u8.ToArray(), await ReadAsync(stream, 5));
            Assert.Equal(0, await stream.ReadAsync(new byte[1], _lab.Token));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task TheProposalIsAnsweredBeforeTheRequestIsThere(int version)
    {
        var protocol = Protocol(version);
        var (connection, echo) = await MemberAsync();
        await using var stream = await connection.OpenEagerlyAsync(protocol.Name, ReadOnlyMemory<byte>.Empty, _lab.Token);
        // What the peer has read stays the negotiation's until the proposal is answered.
        await MeshLab.Until(() => stream.Selection is null);
        await stream.WriteAsync(Request(protocol, echo, TransportProtocol.Tcp), _lab.Token);
        await AssertTakenAsync(protocol, stream);
    }

    [Fact]
    public async Task DatagramsOfTheFirstProtocolComeAndGoBare()
    {
        var echo = _lab.DatagramEcho();
        var (connection, _) = await MemberAsync(new TransportAddress(echo, TransportProtocol.Udp));
        await using var stream = await connection.OpenStreamAsync(TunnelProtocol.V1.Name, _lab.Token);
        await stream.WriteAsync(Request(TunnelProtocol.V1, echo, TransportProtocol.Udp), _lab.Token);
        await AssertTakenAsync(TunnelProtocol.V1, stream);
        foreach (var length in new[] { 1, 1400, 9000 })
        {
            var datagram = RandomNumberGenerator.GetBytes(length);
            await stream.WriteAsync(datagram, _lab.Token);
            Assert.Equal(datagram, await ReadAsync(stream, length));
        }
    }

    [Fact]
    public async Task APeerOfTheFirstProtocolGetsTheClientsFirstBytesOnlyWhenItHasTaken()
    {
        var (sentEarly, first) = (true, RandomNumberGenerator.GetBytes(60_000));
        var near = await BesideFirstAsync(async (stream, asked, token) =>
        {
            // What came in the same flight as the request would be here.
            sentEarly = stream.WaitToReadAsync(token).AsTask().IsCompleted;
            await AnswerAsync(stream, asked, LegacyProxyType.Success, token);
            await EchoAsync(stream, token);
        });
        var client = await _lab.CarryAsync(near, "old", InetEndpoint.Parse("10.1.1.1:80"), first);
        Assert.Equal(first, await client.ReceiveAsync(first.Length));
        Assert.False(sentEarly);
        client.Socket.Shutdown(SocketShutdown.Send);
        Assert.Empty(await client.ReceiveAllAsync());
        var outcome = await client.Outcome;
        Assert.Equal((TunnelEnd.Completed, 60_000L, 60_000L), (outcome.End, outcome.BytesToEndpoint, outcome.BytesToClient));
    }

    [Fact]
    public async Task WhatAPeerOfTheFirstProtocolRefusesOrLosesGoesToTheNextDestination()
    {
        var near = await BesideFirstAsync(async (stream, asked, token) =>
        {
            if (asked.Endpoint!.Value.Port == 81)
                throw new IOException("the stream is reset");
            await AnswerAsync(stream, asked, asked.Endpoint.Value.Port == 80 ? LegacyProxyType.Failed : LegacyProxyType.Success, token);
            await EchoAsync(stream, token);
        });
        var client = await _lab.CarryAsync(near, "old", InetEndpoint.Parse("10.1.1.1:80"), "first"u8.ToArray(), (d, _) => d with { Endpoint = d.Endpoint with { Port = (ushort)(d.Endpoint.Port + 1) } });
        Assert.Equal("first"u8.ToArray(), await client.ReceiveAsync(5));
        Assert.Equal([TunnelRefusal.DialFailed, TunnelRefusal.NoSession], client.Refusals);
    }

    [Fact]
    public async Task AUdpFlowToAPeerOfTheFirstProtocolGoesBothWays()
    {
        var near = await BesideFirstAsync(async (stream, asked, token) =>
        {
            Assert.Equal(TransportProtocol.Udp, asked.Protocol);
            await AnswerAsync(stream, asked, LegacyProxyType.Success, token);
            await EchoAsync(stream, token);
        });
        using var socket = MeshLab.Own(near.TryOpenDatagrams(MeshLab.Destination("old", InetEndpoint.Parse("10.1.1.1:53"), TransportProtocol.Udp)));
        foreach (var text in new[] { "one", "another" })
        {
            var datagram = System.Text.Encoding.ASCII.GetBytes(text);
            await socket.SendAsync(datagram, _lab.Token);
            var buffer = new byte[100];
            Assert.Equal(datagram, buffer[..await socket.ReceiveAsync(buffer, _lab.Token)]);
        }

        Assert.Equal(1, near.ReadStatus().Counts.StreamsOut);
        socket.Dispose();
        await MeshLab.Until(() => near.ReadStatus().Counts.StreamsOut == 0);
    }

    private static TunnelProtocol Protocol(int version) => version == 1 ? TunnelProtocol.V1 : TunnelProtocol.V2;

    /// <summary>Without the preamble.</summary>
    private static byte[] Request(TunnelProtocol protocol, InetEndpoint endpoint, TransportProtocol transport)
    {
        using var request = protocol.Request(MeshLab.Destination("far", endpoint, transport), []);
        return request.Data[protocol.Preamble.Length..].ToArray();
    }

    private async Task AssertTakenAsync(TunnelProtocol protocol, PeerStream stream) =>
        Assert.Equal(AnswerMessage.Ok, protocol.ReadAnswer(await Negotiation.ReadMessageAsync(stream, 1024, _lab.Token)));

    private async Task<byte[]> ReadAsync(PeerStream stream, int count)
    {
        var bytes = new byte[count];
        await stream.ReadExactlyAsync(bytes, _lab.Token);
        return bytes;
    }

    private static Task AnswerAsync(PeerStream stream, LegacyProxyMessage asked, LegacyProxyType type, CancellationToken token) =>
        Negotiation.WriteMessageAsync(stream, (asked with { Type = type }).Encode(), token);

    private static async Task EchoAsync(PeerStream stream, CancellationToken token)
    {
        var buffer = new byte[1024];
        int count;
        while ((count = await stream.ReadAsync(buffer, token)) > 0)
            await stream.WriteAsync(buffer.AsMemory(0, count), token);
    }

    /// <summary>A node that serves an echo, and a session to it whose streams are the test's.</summary>
    private async Task<(PeerConnection Connection, InetEndpoint Echo)> MemberAsync(params TransportAddress[] served)
    {
        var echo = _lab.Echo();
        var far = await _lab.NodeAsync("far", "127.0.64.1");
        MeshLab.Serve(far, [new TransportAddress(echo, TransportProtocol.Tcp), .. served]);
        var at = new IPEndPoint(far.Listeners[0].Address.ToIPAddress(), far.Listeners[0].Port);
        var connection = await Peer("member").DialAsync(Multiaddr.FromEndPoint(at).Append($"/p2p/{far.PeerId}"), _lab.Token);
        await using var stream = await connection.OpenStreamAsync(HelloMessage.Protocol, _lab.Token);
        await Negotiation.WriteMessageAsync(stream, new HelloMessage { Node = "member", ProxyVersions = [1, 2] }.Encode(), _lab.Token);
        HelloMessage.Decode(await Negotiation.ReadMessageAsync(stream, HelloMessage.MaxLength, _lab.Token));
        return (connection, echo);
    }

    /// <summary>A node whose only neighbour knows the key and speaks nothing of ours but the first protocol.</summary>
    private async Task<MeshNode> BesideFirstAsync(Func<PeerStream, LegacyProxyMessage, CancellationToken, Task> serve)
    {
        var old = Peer("old");
        IdentifyProtocol.Attach(old);
        old.Handle(LegacyProxyMessage.ProtocolName, async (stream, token) =>
            await serve(stream, LegacyProxyMessage.Decode(await Negotiation.ReadMessageAsync(stream, 1024, token)), token));
        Assert.True(old.Listen(new IPEndPoint(IPAddress.Parse("127.0.64.2"), 0)).TryGetTcpEndPoint(out var at));
        var near = await _lab.NodeAsync("near", "127.0.64.3", change: o => o with { Relays = [new RelayNode("old", [new InetEndpoint(InetAddress.From(at!.Address), (ushort)at.Port)])] });
        await MeshLab.UntilState(near, "old", PeerState.Direct);
        return near;
    }

    private PeerHost Peer(string name)
    {
        var identity = MeshLab.Keys().DeriveOwn(name);
        var peer = new PeerHost(new PeerHostOptions { Identity = identity, Admission = MeshLab.Keys().DeriveAdmission(identity.PeerId), Security = [NoiseSession.Protocol] }, NullLogger.Instance);
        _peers.Add(peer);
        return peer;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var peer in _peers)
            await peer.DisposeAsync();
        await _lab.DisposeAsync();
    }
}
