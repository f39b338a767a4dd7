using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using Xunit;
using static EdgeMesh.Tests.Forwarding.LoopbackForwarder;

namespace EdgeMesh.Tests.Tunnel;

/// <summary>What TCP promises to both ends holds through the tunnel, as it does on the user-mode path: direct and over a relay.</summary>
public sealed class TunnelPromisesTests : IAsyncDisposable
{
    private readonly MeshLab _lab = new();
    private readonly LoopClock _clock = new();
    private readonly TcpListener _backend = StartBackend();

    private InetEndpoint Endpoint => InetEndpoint.Parse(_backend.LocalEndpoint.ToString()!);

    [Fact]
    public async Task AReaderThatPausesForAnHourStaysAndOneThatIsGoneDoesNot()
    {
        var (near, _) = await NearAsync(o => o with { PeerWatch = new PeerWatch { UnacknowledgedSeconds = 1, ClosedWindowSeconds = 1 } });
        var (paused, sendsToPaused) = await CarryAsync(near);
        var (gone, sendsToGone) = await CarryAsync(near);
        var floods = new[] { FloodAsync(sendsToPaused), FloodAsync(sendsToGone) };
        Assert.Single(await paused.ReceiveAsync(1));
        Assert.Single(await gone.ReceiveAsync(1));
        // Both take no more from here on, and one of them answers nothing either.
        Deafen(gone.Socket);
        _clock.Leap(TimeSpan.FromHours(1));

        Assert.Equal(TunnelEnd.ClientReset, (await gone.Outcome).End);

        Assert.False(paused.Outcome.IsCompleted);
        Assert.Equal(20_000_000, (await paused.ReceiveAsync(20_000_000)).Length);
        paused.Socket.Close();
        await Task.WhenAll(floods).WaitAsync(_lab.Token);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnAnswerThatWasSentBeforeTheUploadEndedReachesTheClientAndTheResetBehindIt(bool relayed)
    {
        var (near, far) = relayed ? await NearBehindRelayAsync() : await NearAsync();
        for (var i = 0; i < 10; i++)
        {
            var (client, server) = await CarryAsync(near);
            var upload = Record.ExceptionAsync(() => client.SendAsync(new byte[20_000_000]));
            Assert.Equal(1_000, await server.ReceiveAsync(new byte[1_000], _lab.Token));
            await MeshLab.SendAsync(server, "HTTP/1.1 413 Payload Too Large\r\n\r\n"u8.ToArray(), _lab.Token);
            // With the rest of the upload unread, which the kernel answers with a reset.
            server.Close();
            // As on the direct path: the reset comes while it is sent.
            Assert.IsType<SocketException>(await upload);
            Assert.StartsWith("HTTP/1.1 413", Encoding.ASCII.GetString(await client.ReceiveAsync(34)), StringComparison.Ordinal);
            Assert.Equal(TunnelEnd.EndpointReset, (await client.Outcome).End);
        }

        await MeshLab.Until(() => near.ReadStatus().Counts.StreamsOut == 0 && far.ReadStatus().Counts.StreamsIn == 0);
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, false)]
    [InlineData(true, true)]
    [InlineData(false, true)]
    public async Task WhatWasSentBeforeAResetIsDeliveredWhenItsReaderIsSlow(bool toClient, bool relayed)
    {
        var (near, _) = relayed ? await NearBehindRelayAsync() : await NearAsync();
        var (client, server) = await CarryAsync(near);
        var (sender, reader) = toClient ? (server, client.Socket) : (client.Socket, server);
        // More than the reader's buffers take, but not more than what reaches the tunnel before the reset.
        reader.ReceiveBufferSize = 65_536;
        var (sent, arrived) = await SendAllThatIsTakenAsync(sender);

        Reset(sender);

        Assert.InRange(await ReceiveUntilResetAsync(reader), arrived, sent);
        Assert.Equal(toClient ? TunnelEnd.EndpointReset : TunnelEnd.ClientReset, (await client.Outcome).End);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task WhatNobodyTakesBeforeAResetIsGivenUpInTheEnd(bool toClient)
    {
        var (near, far) = await NearAsync();
        var (client, server) = await CarryAsync(near);
        var (sender, reader) = toClient ? (server, client.Socket) : (client.Socket, server);
        reader.ReceiveBufferSize = 65_536;
        await SendAllThatIsTakenAsync(sender);

        Reset(sender);

        await MeshLab.Until(() =>
        {
            _clock.Leap(TimeSpan.FromSeconds(31));
            return near.ReadStatus().Counts.StreamsOut == 0 && far.ReadStatus().Counts.StreamsIn == 0;
        });
        await ReceiveUntilResetAsync(reader);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AServerThatHasSaidAllStillReadsTwoMegabytes(bool relayed)
    {
        var (near, _) = relayed ? await NearBehindRelayAsync() : await NearAsync();
        var (client, server) = await CarryAsync(near);
        server.Shutdown(SocketShutdown.Send);
        Assert.Empty(await client.ReceiveAllAsync());
        var reading = MeshLab.ReceiveAllAsync(server, _lab.Token);
        await client.SendAsync(new byte[2_000_000]);
        client.Socket.Shutdown(SocketShutdown.Send);
        Assert.Equal(2_000_000, (await reading).Length);
        Assert.Equal(TunnelEnd.Completed, (await client.Outcome).End);
    }

    [Fact]
    public async Task AReaderThatIsSlowGetsTheRestAfterBothSidesHaveClosed()
    {
        var (near, _) = await NearAsync();
        var (client, server) = await CarryAsync(near);
        client.Socket.ReceiveBufferSize = 65_536;
        client.Socket.Shutdown(SocketShutdown.Send);
        var sending = MeshLab.SendAsync(server, new byte[20_000_000], _lab.Token);
        await client.ReceiveAsync(1);
        var rest = client.ReceiveAsync(19_999_999);
        await sending;
        server.Close();
        _clock.Leap(TimeSpan.FromMinutes(10));
        Assert.Equal(19_999_999, (await rest).Length);
        Assert.Empty(await client.ReceiveAllAsync());
    }

    private async Task<(MeshNode Near, MeshNode Far)> NearAsync(Func<MeshOptions, MeshOptions>? change = null) => await _lab.TwoNodesAsync(Endpoint, change, _clock);

    private async Task<(MeshNode Near, MeshNode Far)> NearBehindRelayAsync()
    {
        var (near, far, _) = await _lab.BehindRelayAsync(Endpoint);
        return (near, far);
    }

    private async Task<(CarriedClient Client, Socket Server)> CarryAsync(MeshNode near)
    {
        var client = await _lab.CarryAsync(near, "far", Endpoint);
        return (client, await _backend.AcceptSocketAsync(_lab.Token));
    }

    private async Task FloodAsync(Socket sender)
    {
        try
        {
            while (true)
                await sender.SendAsync(new byte[256 * 1024], _lab.Token);
        }
        catch (SocketException)
        {
            // Its reader is gone.
        }
    }

    /// <summary>How much was written, and how much of it the tunnel has.</summary>
    private async Task<(int Sent, int Arrived)> SendAllThatIsTakenAsync(Socket sender)
    {
        var sent = 0;
        sender.Blocking = false;
        while (sent < 3_000_000)
        {
            var count = sender.Send(new byte[100_000], 0, 100_000, SocketFlags.None, out var error);
            if (error == SocketError.WouldBlock)
                break;
            sent += count;
        }

        // Until nothing goes on, which a reader that takes nothing brings about.
        var last = -1;
        await MeshLab.Until(() => Unacknowledged() is var left && (left == 0 || left == last) | (last = left) < 0);
        return (sent, sent - Unacknowledged());

        int Unacknowledged() => TcpSocket.Unacknowledged((int)sender.Handle);
    }

    private async Task<int> ReceiveUntilResetAsync(Socket socket)
    {
        var received = 0;
        var buffer = new byte[65_536];
        try
        {
            while (await socket.ReceiveAsync(buffer, _lab.Token) is > 0 and var count)
                received += count;
            Assert.Fail("The stream ended without a reset.");
        }
        catch (SocketException e)
        {
            Assert.Equal(SocketError.ConnectionReset, e.SocketErrorCode);
        }

        return received;
    }

    private static void Reset(Socket socket)
    {
        socket.LingerState = new LingerOption(enable: true, seconds: 0);
        socket.Close();
    }

    /// <summary>Its kernel drops whatever comes for it from here on (SO_ATTACH_FILTER, a program of one instruction), as if its
    /// machine had been switched off.</summary>
    private static unsafe void Deafen(Socket socket)
    {
        const int SOL_SOCKET = 1;
        const int SO_ATTACH_FILTER = 26;
        // ret #0
        byte* program = stackalloc byte[8] { 6, 0, 0, 0, 0, 0, 0, 0 };
        Span<byte> filter = stackalloc byte[2 * sizeof(nint)];
        filter.Clear();
        filter[0] = 1;
        var address = (nint)program;
        MemoryMarshal.Write(filter[sizeof(nint)..], in address);
        socket.SetRawSocketOption(SOL_SOCKET, SO_ATTACH_FILTER, filter);
    }

    public async ValueTask DisposeAsync()
    {
        _backend.Dispose();
        await _lab.DisposeAsync();
    }
}
