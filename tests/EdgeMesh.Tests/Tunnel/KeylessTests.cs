using System.Net;
using System.Net.Sockets;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using EdgeMesh.Tunnel.Admission;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Admission;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.Tests.Tunnel;

/// <summary>Whoever does not have the key, at a node's door.</summary>
public sealed class KeylessTests : IAsyncDisposable
{
    private readonly MeshLab _lab = new();
    private readonly List<Socket> _sockets = [];

    [Fact]
    public async Task AStrangerHearsNothingAndGetsNoSession()
    {
        var far = await FarAsync();
        using var identity = Ed25519KeyPair.Create();
        await using var stranger = new PeerHost(new PeerHostOptions { Identity = identity, Security = [NoiseSession.Protocol] }, NullLogger.Instance);
        await Assert.ThrowsAnyAsync<IOException>(() => stranger.DialAsync(Multiaddr.FromEndPoint(At(far)), _lab.Token));
        foreach (var said in new[] { "GET / HTTP/1.1\r\n\r\n"u8.ToArray(), [.. "\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n"u8], [0x16, 3, 1, 0, 100] })
        {
            var socket = await ConnectAsync(far, "127.0.0.1");
            await MeshLab.SendAsync(socket, said, _lab.Token);
            // Not a byte comes back.
            var heard = await Record.ExceptionAsync(async () => Assert.Empty(await MeshLab.ReceiveAllAsync(socket, _lab.Token)));
            Assert.True(heard is null or SocketException, heard?.ToString());
        }

        await MeshLab.Until(() => Refused(far, AdmissionRefusal.Foreign) == 3);
        Assert.Empty(far.ReadStatus().Peers);
        await AMemberGetsInAsync(far);
    }

    [Fact]
    public async Task ARecordedFlightIsWorthNothingASecondTimeNorAtAnotherNode()
    {
        var far = await FarAsync();
        var other = await _lab.NodeAsync("other", "127.0.64.3");
        var flight = Flight(far);
        foreach (var (node, refusal) in new[] { (far, (AdmissionRefusal?)null), (far, AdmissionRefusal.Replayed), (other, AdmissionRefusal.NotProven) })
        {
            var socket = await ConnectAsync(node, "127.0.0.1");
            await MeshLab.SendAsync(socket, flight, _lab.Token);
            if (refusal is { } expected)
            {
                await MeshLab.Until(() => Refused(node, expected) == 1);
                continue;
            }

            // The first one gets as far as the key exchange, as a node would.
            Assert.True(await socket.ReceiveAsync(new byte[1000], _lab.Token) > 0);
        }

        Assert.Equal(1, far.ReadStatus().Counts.Admitted);
        Assert.Equal(0, other.ReadStatus().Counts.Admitted);
        await AMemberGetsInAsync(far);
    }

    [Fact]
    public async Task AnAddressThatBeginsHandshakesAndEndsNoneIsTurnedAwayAndOthersAreNot()
    {
        var far = await FarAsync();
        for (var i = 0; Refused(far, AdmissionRefusal.Unfinished) == 0; i++)
        {
            Assert.True(i < 500);
            using var socket = await ConnectAsync(far, "127.0.65.1");
            await MeshLab.SendAsync(socket, Flight(far), _lab.Token);
            await Record.ExceptionAsync(() => socket.ReceiveAsync(new byte[1000], _lab.Token).AsTask());
        }

        await AMemberGetsInAsync(far);
    }

    [Fact]
    public async Task SilentAndSlowConnectionsOfManyAddressesKeepNoNodeOut()
    {
        var far = await FarAsync();
        for (var address = 1; address <= 24; address++)
        {
            for (var i = 0; i < 66; i++)
            {
                var socket = await ConnectAsync(far, $"127.0.66.{address}");
                if (i % 3 > 0)
                    await Record.ExceptionAsync(() => MeshLab.SendAsync(socket, Flight(far).AsMemory(0, 1 + (i % 3 - 1) * 60), _lab.Token));
            }
        }

        await AMemberGetsInAsync(far);
        // Each is closed in the end.
        await MeshLab.Until(() => Refused(far, AdmissionRefusal.Silent) + Refused(far, AdmissionRefusal.Displaced) > 500);
    }

    [Fact]
    public async Task AFlightThatComesInPiecesIsTaken()
    {
        var far = await FarAsync();
        var socket = await ConnectAsync(far, "127.0.0.1");
        foreach (var one in Flight(far))
            await MeshLab.SendAsync(socket, new[] { one }, _lab.Token);
        Assert.True(await socket.ReceiveAsync(new byte[1000], _lab.Token) > 0);
        Assert.Equal(1, far.ReadStatus().Counts.Admitted);
    }

    [Fact]
    public void AddressesOfNodesAreKeptInMindUpToABound()
    {
        var time = new EdgeMesh.Testing.ManualTime();
        var known = new KnownAddresses(time, limit: 100);
        for (var i = 0u; i < 1_000; i++)
        {
            known.Note(AddressShare.OfIPv4(i));
            time.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.InRange(Enumerable.Range(0, 1_000).Count(i => known.Contains(AddressShare.OfIPv4((uint)i))), 50, 100);
        Assert.True(known.Contains(AddressShare.OfIPv4(999)));
    }

    [Fact]
    public void DebtsOfManyAddressesAreBoundedAndForgiven()
    {
        var time = new EdgeMesh.Testing.ManualTime();
        var debts = new HandshakeDebts(time);
        for (var i = 0; i < 40; i++)
            debts.Note(AddressShare.OfIPv4(1));
        Assert.True(debts.IsInDebt(AddressShare.OfIPv4(1)));
        Assert.False(debts.IsInDebt(AddressShare.OfIPv4(2)));
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.False(debts.IsInDebt(AddressShare.OfIPv4(1)));
        for (var i = 0u; i < 10_000; i++)
            debts.Note(AddressShare.OfIPv4(i));
    }

    private async Task<MeshNode> FarAsync() => await _lab.NodeAsync("far", "127.0.64.1", change: o => o with { DialTimeout = TimeSpan.FromSeconds(1) });

    private async Task AMemberGetsInAsync(MeshNode far)
    {
        var echo = _lab.Echo();
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Tcp));
        var near = await _lab.NodeAsync("near", "127.0.64.2", [far]);
        await MeshLab.UntilState(near, "far", PeerState.Direct, seconds: 5);
        var client = await _lab.CarryAsync(near, "far", echo, [1, 2, 3]);
        Assert.Equal([1, 2, 3], await client.ReceiveAsync(3));
    }

    private async Task<Socket> ConnectAsync(MeshNode node, string from)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        _sockets.Add(socket);
        socket.Bind(new IPEndPoint(IPAddress.Parse(from), 0));
        await socket.ConnectAsync(At(node), _lab.Token);
        return socket;
    }

    private static byte[] Flight(MeshNode to)
    {
        using var identity = MeshLab.Keys().DeriveOwn("recorded");
        using var output = new ByteQueue(1_000);
        var terms = new NoiseTerms { Admission = MeshLab.Keys().DeriveAdmission(identity.PeerId), ProvesTo = [PeerId.Parse(to.PeerId)] };
        using var session = new NoiseSession(true, identity, terms, [], output);
        return [.. "\x13/multistream/1.0.0\n\x07/noise\n"u8, .. output.Data];
    }

    private static IPEndPoint At(MeshNode node) => new(node.Listeners[0].Address.ToIPAddress(), node.Listeners[0].Port);

    private static long Refused(MeshNode node, AdmissionRefusal refusal) => node.ReadStatus().Counts.AdmissionRefused[refusal.ToString()];

    public async ValueTask DisposeAsync()
    {
        foreach (var socket in _sockets)
            socket.Dispose();
        await _lab.DisposeAsync();
    }
}
