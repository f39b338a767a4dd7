using System.Net.Sockets;
using System.Security.Cryptography;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using Xunit;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Yamux;

namespace EdgeMesh.Tests.Tunnel;

/// <summary>Bytes that no honest peer sends, below the level of streams, to a node whose sessions the loop drives.</summary>
public sealed class BadBytesTests : IAsyncDisposable
{
    private const int Pings = 200_000;

    private readonly MeshLab _lab = new();

    [Theory]
    [InlineData("a frame longer than any window")]
    [InlineData("a frame of an unknown version")]
    [InlineData("bytes that are no frames")]
    public async Task ASessionThatBreaksTheProtocolEndsAndNoOther(string what)
    {
        var (far, echo) = await FarAsync();
        var standing = await StandingAsync(far, echo);
        await using var stream = await UpgradedAsync(far);
        var header = new byte[YamuxFrame.HeaderSize];
        new YamuxFrame(YamuxType.Data, YamuxFlags.Syn, 1, uint.MaxValue).Write(header);
        if (what == "a frame of an unknown version")
            header[0] = 7;
        await stream.WriteAsync(what == "bytes that are no frames" ? RandomNumberGenerator.GetBytes(100_000) : header, _lab.Token);
        await EndsAsync(stream);
        await GoesOnAsync(standing);
    }

    [Fact]
    public async Task AnEncryptedMessageThatNobodyCanOpenEndsItsSessionAlone()
    {
        var (far, echo) = await FarAsync();
        var standing = await StandingAsync(far, echo);
        using var socket = await ConnectAsync(far);
        await using var stream = await UpgradeAsync(socket, far);
        byte[] message = [0xFF, 0xFF, .. RandomNumberGenerator.GetBytes(65_535)];
        await MeshLab.SendAsync(socket, message, _lab.Token);
        await EndsAsync(stream);
        await GoesOnAsync(standing);
    }

    [Fact]
    public async Task APeerThatAsksForAnswersAndReadsNoneIsLeft()
    {
        var (far, echo) = await FarAsync();
        var standing = await StandingAsync(far, echo);
        await using var stream = await UpgradedAsync(far);
        var pings = new byte[Pings * YamuxFrame.HeaderSize];
        for (var i = 0; i < Pings; i++)
            new YamuxFrame(YamuxType.Ping, YamuxFlags.Syn, 0, (uint)i).Write(pings.AsSpan(i * YamuxFrame.HeaderSize));
        await Assert.ThrowsAnyAsync<IOException>(async () =>
        {
            while (true)
                await stream.WriteAsync(pings, _lab.Token);
        });
        await GoesOnAsync(standing);
    }

    private async Task<(MeshNode Far, InetEndpoint Echo)> FarAsync()
    {
        var far = await _lab.RelayAsync("far", "127.0.63.1");
        var echo = _lab.Echo();
        MeshLab.Serve(far, new TransportAddress(echo, TransportProtocol.Tcp));
        return (far, echo);
    }

    private async Task<CarriedClient> StandingAsync(MeshNode far, InetEndpoint echo)
    {
        var near = await _lab.NodeAsync("near", "127.0.63.2", [far]);
        await MeshLab.UntilState(near, "far", PeerState.Direct);
        var client = await _lab.CarryAsync(near, "far", echo, [1]);
        Assert.Equal([1], await client.ReceiveAsync(1));
        return client;
    }

    private static async Task GoesOnAsync(CarriedClient standing)
    {
        await standing.SendAsync(new byte[] { 2, 3 });
        Assert.Equal([2, 3], await standing.ReceiveAsync(2));
    }

    private async Task<Stream> UpgradedAsync(MeshNode far) => await UpgradeAsync(await ConnectAsync(far), far);

    private async Task<Socket> ConnectAsync(MeshNode far)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(far.Listeners[0].Address.ToIPAddress(), far.Listeners[0].Port, _lab.Token);
        return socket;
    }

    /// <summary>A connection of a holder of the key that is encrypted and agreed on yamux, and has said nothing since.</summary>
    private async Task<Stream> UpgradeAsync(Socket socket, MeshNode far)
    {
        var identity = MeshLab.Keys().DeriveOwn("rude");
        var options = new PeerHostOptions { Identity = identity, Admission = MeshLab.Keys().DeriveAdmission(identity.PeerId), Security = [NoiseSession.Protocol] };
        var upgraded = await ConnectionUpgrade.RunAsync(options, tls: null!, new NetworkStream(socket, ownsSocket: true), dialer: true, expected: null, [PeerId.Parse(far.PeerId)], remoteAddress: null, _lab.Token);
        return upgraded.Stream;
    }

    private async Task EndsAsync(Stream stream)
    {
        var buffer = new byte[4096];
        try
        {
            while (await stream.ReadAsync(buffer, _lab.Token) > 0)
            {
            }
        }
        catch (IOException)
        {
            // A reset is an end too.
        }
    }

    public ValueTask DisposeAsync() => _lab.DisposeAsync();
}
