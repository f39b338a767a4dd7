using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using EdgeMesh.Forwarding;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using Xunit;
using static EdgeMesh.Tests.Forwarding.LoopbackForwarder;

namespace EdgeMesh.Tests.Forwarding;

public sealed class TcpForwarderTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(1)]
    [InlineData(1_000)]
    [InlineData(16_384)]
    [InlineData(16_385)]
    [InlineData(3_000_000)]
    public async Task WhatGoesInComesOutOnTheOtherSide(int size)
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        using var client = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        var sent = RandomNumberGenerator.GetBytes(size);
        for (var round = 0; round < 3; round++)
        {
            foreach (var (from, to) in new[] { (client, server), (server, client) })
            {
                var sending = SendAllAsync(from, sent);
                Assert.Equal(sent, await ReceiveAsync(to, size));
                await sending;
            }
        }

        await UntilAsync(() => forwarder.Forwarder.ReadServices().Single().BytesToClients == 3 * size, "the bytes are counted");
    }

    [Fact]
    public async Task AClientThatHasSaidAllStillReadsTenMegabytes()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        using var client = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        await client.SendAsync("all of it"u8.ToArray(), Stop);
        client.Shutdown(SocketShutdown.Send);
        Assert.Equal("all of it", Encoding.ASCII.GetString(await ReceiveToEndAsync(server)));

        var answer = RandomNumberGenerator.GetBytes(10_000_000);
        var sending = SendAllAsync(server, answer);
        var received = await ReceiveAsync(client, answer.Length);
        await sending;
        Assert.Equal(SHA256.HashData(answer), SHA256.HashData(received));
        server.Shutdown(SocketShutdown.Send);
        Assert.Empty(await ReceiveToEndAsync(client));
        await UntilAsync(() => forwarder.Forwarder.ReadStatistics().Active == 0, "the connection ends");
    }

    [Fact]
    public async Task AServerThatHasSaidAllStillReadsTenMegabytes()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        using var client = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        server.Shutdown(SocketShutdown.Send);
        Assert.Empty(await ReceiveToEndAsync(client));
        var upload = RandomNumberGenerator.GetBytes(10_000_000);
        var sending = SendAllAsync(client, upload).ContinueWith(_ => client.Shutdown(SocketShutdown.Send), TaskScheduler.Default);
        Assert.Equal(SHA256.HashData(upload), SHA256.HashData(await ReceiveToEndAsync(server)));
        await sending;
    }

    [Fact]
    public async Task AnEndDirectlyBehindAShortMessageIsNotMissed()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        for (var i = 0; i < 200; i++)
        {
            using var client = await forwarder.ConnectAsync();
            using var server = await backend.AcceptSocketAsync(Stop);
            await client.SendAsync(new byte[7], Stop);
            client.Shutdown(SocketShutdown.Send);
            Assert.Equal(7, (await ReceiveToEndAsync(server)).Length);
            await server.SendAsync(new byte[9], Stop);
            server.Close();
            Assert.Equal(9, (await ReceiveToEndAsync(client)).Length);
        }

        await UntilAsync(() => forwarder.Forwarder.ReadStatistics() is { Active: 0, PipesLent: 0 }, "all connections end");
        Assert.Equal(200, forwarder.Forwarder.ReadServices().Single().Connections);
    }

    [Fact]
    public async Task AnUrgentByteInTheMiddleDoesNotStallTheStream()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        using var client = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        client.Send(new byte[100]);
        client.Send(new byte[1], SocketFlags.OutOfBand);
        client.Send(new byte[100]);
        // The urgent byte itself is not part of the stream.
        Assert.Equal(200, (await ReceiveAsync(server, 200)).Length);
    }

    [Fact]
    public async Task AReaderThatDoesNotReadStopsTheSenderAndLosesNothing()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        using var client = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        var answer = RandomNumberGenerator.GetBytes(64_000_000);
        var sending = SendAllAsync(server, answer);
        await UntilAsync(() => forwarder.Forwarder.ReadStatistics().BytesToClients > 1_000_000, "the answer flows");
        // The rest of the path holds a few megabytes at most: socket buffers of three connections and one pipe.
        Assert.False(sending.IsCompleted);
        Assert.Equal(SHA256.HashData(answer), SHA256.HashData(await ReceiveAsync(client, answer.Length)));
        await sending;
        await UntilAsync(() => forwarder.Forwarder.ReadStatistics().PipesLent == 0, "the pipe is given back");
    }

    [Fact]
    public async Task AClientThatSaysNothingGetsWhatTheServerSaysFirst()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        using var client = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        await server.SendAsync("220 ready\r\n"u8.ToArray(), Stop);
        Assert.Equal("220 ready\r\n", Encoding.ASCII.GetString(await ReceiveAsync(client, 11)));
    }

    [Fact]
    public async Task AResetIsPassedOnAsAResetInBothDirections()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        foreach (var clientResets in new[] { true, false })
        {
            using var client = await forwarder.ConnectAsync();
            using var server = await backend.AcceptSocketAsync(Stop);
            await client.SendAsync(new byte[10], Stop);
            await ReceiveAsync(server, 10);
            var (resetting, other) = clientResets ? (client, server) : (server, client);
            resetting.LingerState = new LingerOption(enable: true, seconds: 0);
            resetting.Close();
            await AssertResetAsync(other);
        }

        await UntilAsync(() => forwarder.Forwarder.ReadStatistics().Active == 0, "both connections end");
    }

    [Fact]
    public async Task AResetAfterTheOtherSideHasSaidAllIsPassedOnToo()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        using var client = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        server.Shutdown(SocketShutdown.Send);
        Assert.Empty(await ReceiveToEndAsync(client));
        client.LingerState = new LingerOption(enable: true, seconds: 0);
        client.Close();
        await AssertResetAsync(server);
    }

    [Fact]
    public async Task ADeadEndpointBesideALiveOneCostsNoConnection()
    {
        using var backend = StartBackend();
        using var dead = HoldClosedPort();
        await using var forwarder = new LoopbackForwarder([dead.LocalEndPoint!, backend.LocalEndpoint]);
        for (var i = 0; i < 40; i++)
        {
            using var client = await forwarder.ConnectAsync();
            using var server = await backend.AcceptSocketAsync(Stop);
            await client.SendAsync(new byte[1], Stop);
            await ReceiveAsync(server, 1);
        }

        // Each loop asks it three times, then sets it aside.
        Assert.InRange(forwarder.DialFailures(DialFailure.Refused), 1, 6);
        Assert.Equal(0, forwarder.Refused(RefusalReason.AllEndpointsFailed));
    }

    [Fact]
    public async Task AnEndpointThatDoesNotAnswerIsLeftForTheNextWhenItsTimeIsUp()
    {
        using var backend = StartBackend();
        // A full queue drops every SYN: the dial hangs, as with a node that has lost its power.
        using var silent = StartBackend(backlog: 0);
        using var first = new TcpClient();
        await first.ConnectAsync((IPEndPoint)silent.LocalEndpoint, Stop);
        await using var forwarder = new LoopbackForwarder([silent.LocalEndpoint, backend.LocalEndpoint], options => options with { LoopCount = 1 });
        var clients = new List<Socket>();
        for (var i = 0; i < 4; i++)
            clients.Add(await forwarder.ConnectAsync());
        for (var i = 0; i < 4; i++)
        {
            using var server = await backend.AcceptSocketAsync(Stop);
            await server.SendAsync(new byte[1], Stop);
        }

        foreach (var client in clients)
        {
            await ReceiveAsync(client, 1);
            client.Dispose();
        }

        Assert.Equal(2, forwarder.DialFailures(DialFailure.Timeout));
    }

    [Fact]
    public async Task WhenEveryEndpointFailsTheClientIsReset()
    {
        using var dead = HoldClosedPort();
        using var alsoDead = HoldClosedPort();
        await using var forwarder = new LoopbackForwarder([dead.LocalEndPoint!, alsoDead.LocalEndPoint!]);
        await forwarder.AssertRefusesAsync();
        Assert.Equal(1, forwarder.Refused(RefusalReason.AllEndpointsFailed));
        Assert.Equal(2, forwarder.DialFailures(DialFailure.Refused));
        Assert.Equal(1, forwarder.Forwarder.ReadServices().Single().Failed);
    }

    [Fact]
    public async Task AServiceWithoutEndpointsResetsAtOnceAndWorksAfterAChange()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([]);
        await forwarder.AssertRefusesAsync();
        Assert.Equal(1, forwarder.Refused(RefusalReason.NoEndpoints));

        forwarder.SetEndpoints([backend.LocalEndpoint]);
        using var second = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        Assert.True(server.Connected);
    }

    [Fact]
    public async Task AConnectionThatNoRuleRedirectedIsRefused()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint], options => options with
        {
            OriginalDestination = (int descriptor, bool _, out InetEndpoint destination) =>
            {
                destination = TcpSocket.LocalEndpoint(descriptor);
                return 0;
            },
        });
        await forwarder.AssertRefusesAsync();
        Assert.Equal(1, forwarder.Refused(RefusalReason.NotRedirected));
    }

    [Fact]
    public async Task AConnectionToAnAddressWithoutRouteIsRefused()
    {
        await using var forwarder = new LoopbackForwarder([], options => options with
        {
            OriginalDestination = (int _, bool _, out InetEndpoint destination) =>
            {
                destination = InetEndpoint.Parse("10.96.9.9:9");
                return 0;
            },
        });
        await forwarder.AssertRefusesAsync();
        Assert.Equal(1, forwarder.Refused(RefusalReason.NoRoute));
    }

    [Fact]
    public async Task AboveTheLimitNewConnectionsAreResetAndOldOnesLive()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint], options => options with { MaxConnections = 2 });
        using var first = await forwarder.ConnectAsync();
        using var firstServer = await backend.AcceptSocketAsync(Stop);
        using var second = await forwarder.ConnectAsync();
        using var secondServer = await backend.AcceptSocketAsync(Stop);
        await forwarder.AssertRefusesAsync();
        Assert.Equal(1, forwarder.Refused(RefusalReason.ConnectionLimit));

        await first.SendAsync(new byte[5], Stop);
        await ReceiveAsync(firstServer, 5);
        second.Close();
        secondServer.Close();
        await UntilAsync(() => forwarder.Forwarder.ReadStatistics().Active == 1, "the second connection ends");
        using var fourth = await forwarder.ConnectAsync();
        using var fourthServer = await backend.AcceptSocketAsync(Stop);
        Assert.True(fourthServer.Connected);
    }

    [Fact]
    public async Task AFaultOfTheAgentCostsOneConnectionAndNotTheLoop()
    {
        using var backend = StartBackend();
        var faults = 3;
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint], options => options with
        {
            OriginalDestination = (int _, bool _, out InetEndpoint destination) =>
            {
                destination = Service;
                return Interlocked.Decrement(ref faults) < 0 ? 0 : throw new InvalidOperationException("A fault.");
            },
        });
        for (var i = 0; i < 3; i++)
            await forwarder.AssertRefusesAsync();
        using var client = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        Assert.Equal(3, forwarder.Forwarder.ReadStatistics().Faults);
    }

    [Fact]
    public async Task IPv6GoesTheSameWay()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint], listener: "[::1]:0");
        using var client = await forwarder.ConnectAsync();
        using var server = await backend.AcceptSocketAsync(Stop);
        await client.SendAsync(new byte[5], Stop);
        Assert.Equal(5, (await ReceiveAsync(server, 5)).Length);
    }

    internal static async Task SendAllAsync(Socket socket, ReadOnlyMemory<byte> bytes)
    {
        for (var sent = 0; sent < bytes.Length;)
            sent += await socket.SendAsync(bytes[sent..], Stop);
    }

    internal static async Task<byte[]> ReceiveAsync(Socket socket, int count)
    {
        var bytes = new byte[count];
        for (var received = 0; received < count;)
        {
            var more = await ReceiveSomeAsync(socket, bytes.AsMemory(received));
            Assert.True(more > 0, $"The stream ended after {received} of {count} bytes.");
            received += more;
        }

        return bytes;
    }

    internal static async Task<byte[]> ReceiveToEndAsync(Socket socket)
    {
        using var bytes = new MemoryStream();
        var buffer = new byte[65_536];
        while (await ReceiveSomeAsync(socket, buffer) is > 0 and var more)
            bytes.Write(buffer, 0, more);
        return bytes.ToArray();
    }

    private static async Task<int> ReceiveSomeAsync(Socket socket, Memory<byte> buffer)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        deadline.CancelAfter(TimeSpan.FromSeconds(20));
        return await socket.ReceiveAsync(buffer, deadline.Token);
    }
}
