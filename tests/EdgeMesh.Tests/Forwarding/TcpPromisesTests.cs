using System.Net.Sockets;
using EdgeMesh.Linux.Sockets;
using Xunit;
using static EdgeMesh.Tests.Forwarding.LoopbackForwarder;
using static EdgeMesh.Tests.Forwarding.TcpForwarderTests;

namespace EdgeMesh.Tests.Forwarding;

/// <summary>What TCP promises to both ends holds through the user-mode path.</summary>
public sealed class TcpPromisesTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AnAnswerThatWasSentBeforeTheUploadEndedReachesTheClientAndTheResetBehindIt()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        for (var i = 0; i < 30; i++)
        {
            using var client = await forwarder.ConnectAsync();
            using var server = await backend.AcceptSocketAsync(Stop);
            var upload = UploadUntilRefusedAsync(client);
            await ReceiveAsync(server, 1000);
            await SendAllAsync(server, "HTTP/1.1 413 Payload Too Large\r\n\r\n"u8.ToArray());
            // With the rest of the upload unread, which the kernel answers with a reset.
            server.Close();
            await upload;
            var answer = await ReceiveAsync(client, 34);
            Assert.StartsWith("HTTP/1.1 413", System.Text.Encoding.ASCII.GetString(answer), StringComparison.Ordinal);
        }

        await UntilAsync(() => forwarder.Forwarder.ReadStatistics().Active == 0, "all connections end");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task WhatWasSentBeforeAResetIsDeliveredWhenItsReaderIsSlow(bool toClient)
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        using var client = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        var (sender, reader) = toClient ? (server, client) : (client, server);
        await SendAllAsync(reader, new byte[1]);
        await ReceiveAsync(sender, 1);
        // More than the reader's buffers take, but not more than what reaches the forwarder before the reset.
        reader.ReceiveBufferSize = 65_536;
        var sent = 0;
        sender.Blocking = false;
        while (sent < 3_000_000)
        {
            var count = sender.Send(new byte[100_000], 0, 100_000, SocketFlags.None, out var error);
            if (error == SocketError.WouldBlock)
                break;
            sent += count;
        }

        await UntilAsync(() => TcpSocket.Unacknowledged((int)sender.Handle) == 0 || sent >= 3_000_000, "the forwarder has what it takes");
        var arrived = sent - TcpSocket.Unacknowledged((int)sender.Handle);
        sender.LingerState = new LingerOption(enable: true, seconds: 0);
        sender.Close();
        Assert.InRange(await ReceiveUntilResetAsync(reader), arrived, sent);
    }

    [Fact]
    public async Task AReaderThatIsSlowGetsTheRestAfterBothSidesHaveClosed()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        using var client = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        client.Shutdown(SocketShutdown.Send);
        var sending = SendAllAsync(server, new byte[20_000_000]);
        await UntilAsync(() => forwarder.Forwarder.ReadStatistics().BytesToClients > 0, "the answer begins");
        var answer = ReceiveToEndAsync(client);
        await sending;
        server.Close();
        Assert.Equal(20_000_000, (await answer).Length);
        await UntilAsync(() => forwarder.Forwarder.ReadStatistics().Active == 0, "the connection ends");
    }

    [Fact]
    public void APeerThatAnswersTheProbesOfItsClosedWindowIsAliveHoweverLong()
    {
        var watch = new PeerWatch();
        // The kernel asks every two minutes at last; the answer to the first probe since is on its way.
        Assert.False(new SignsOfLife { Probes = 1, SilentMilliseconds = 120_000 }.IsGone(watch));
        Assert.False(new SignsOfLife { Probes = 2, SilentMilliseconds = 240_000 }.IsGone(watch));
        Assert.False(new SignsOfLife { Retransmissions = 9, Unacknowledged = 3, SilentMilliseconds = 120_000 }.IsGone(watch));
        Assert.False(new SignsOfLife { Window = 65_535, SilentMilliseconds = 86_400_000 }.IsGone(watch));
    }

    [Fact]
    public void APeerThatAnswersNothingIsGone()
    {
        var watch = new PeerWatch();
        Assert.True(new SignsOfLife { Window = 65_535, Retransmissions = 9, Unacknowledged = 1, SilentMilliseconds = 120_000 }.IsGone(watch));
        Assert.True(new SignsOfLife { Probes = 3, SilentMilliseconds = 300_000 }.IsGone(watch));
    }

    [Fact]
    public async Task NoTimerOfOursEndsASocketWhoseWindowIsClosed()
    {
        using var backend = StartBackend();
        using var reader = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 4_096 };
        await reader.ConnectAsync(backend.LocalEndpoint, Stop);
        using var sender = await backend.AcceptSocketAsync(Stop);
        TcpSocket.WatchPeer((int)sender.Handle, new PeerWatch());
        const int TCP_USER_TIMEOUT = 18;
        var userTimeout = new byte[4];
        sender.GetRawSocketOption(6, TCP_USER_TIMEOUT, userTimeout);
        Assert.Equal(0, BitConverter.ToInt32(userTimeout));
        sender.Blocking = false;
        while (sender.Send(new byte[65_536], 0, 65_536, SocketFlags.None, out var error) > 0 && error == SocketError.Success)
        {
            // Until its window is closed and our buffer is full.
        }

        await UntilAsync(() => TcpSocket.ReadPeer((int)sender.Handle) is { Window: 0, Unacknowledged: 0 }, "the window is closed");
        Assert.True(TcpSocket.Unacknowledged((int)sender.Handle) > 0);
        Assert.False(TcpSocket.ReadPeer((int)sender.Handle).IsGone(new PeerWatch { UnacknowledgedSeconds = 0 }));
    }

    private static async Task UploadUntilRefusedAsync(Socket client)
    {
        try
        {
            // However long the reset takes: until then what is sent is read and thrown away.
            var some = new byte[1_000_000];
            for (var i = 0; i < 2_000; i++)
                await SendAllAsync(client, some);
            Assert.Fail("Nobody refused the upload.");
        }
        catch (SocketException)
        {
            // As on the direct path: the reset comes while it is sent.
        }
    }

    private static async Task<int> ReceiveUntilResetAsync(Socket socket)
    {
        var received = 0;
        var buffer = new byte[65_536];
        try
        {
            while (await socket.ReceiveAsync(buffer, Stop).AsTask().WaitAsync(TimeSpan.FromSeconds(10)) is > 0 and var count)
                received += count;
            Assert.Fail("The stream ended without a reset.");
        }
        catch (SocketException e)
        {
            Assert.Equal(SocketError.ConnectionReset, e.SocketErrorCode);
        }

        return received;
    }
}
