using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Forwarding;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using static EdgeMesh.Tests.Forwarding.LoopbackForwarder;

namespace EdgeMesh.Tests.Forwarding;

/// <summary>Measures memory and counts descriptors: nothing else may run beside it.</summary>
[CollectionDefinition(nameof(AloneInTheProcess), DisableParallelization = true)]
public sealed class AloneInTheProcess;

[Collection(nameof(AloneInTheProcess))]
public sealed class ForwarderLifecycleTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task DrainingWaitsForConnectionsAndCutsThoseLeftAtTheLimit()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        using var ending = await forwarder.ConnectAsync();
        using var endingServer = await backend.AcceptSocketAsync(Stop);
        using var staying = await forwarder.ConnectAsync();
        using var stayingServer = await backend.AcceptSocketAsync(Stop);

        var draining = forwarder.Forwarder.DrainAsync(TimeSpan.FromSeconds(2));
        await forwarder.Forwarder.StopAcceptingAsync();
        await Assert.ThrowsAsync<SocketException>(() => forwarder.ConnectAsync());
        await staying.SendAsync(new byte[3], Stop);
        await TcpForwarderTests.ReceiveAsync(stayingServer, 3);
        ending.Close();
        endingServer.Close();

        Assert.Equal(1, await draining);
        await AssertResetAsync(staying);
    }

    [Fact]
    public async Task DrainingEndsAtOnceWhenNothingIsLeft()
    {
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
        var watch = Stopwatch.StartNew();
        Assert.Equal(0, await forwarder.Forwarder.DrainAsync(TimeSpan.FromMinutes(1)));
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(5));
    }

    [Theory]
    [InlineData(2, 2)]
    [InlineData(1, 4)]
    [InlineData(4, 1)]
    [InlineData(5, 2)]
    public async Task ASuccessorTakesOverWithoutAFailedConnection(int loops, int successorLoops)
    {
        using var backend = StartBackend();
        await using var old = new LoopbackForwarder([backend.LocalEndpoint], options => options with { LoopCount = loops });
        var serving = ServeAsync(backend);
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        var clients = Enumerable.Range(0, 8).Select(async _ =>
        {
            var count = 0;
            while (!enough.IsCancellationRequested)
            {
                using var client = await old.ConnectAsync();
                await client.SendAsync(new byte[1], Stop);
                Assert.Single(await TcpForwarderTests.ReceiveAsync(client, 1));
                count++;
            }

            return count;
        }).ToArray();

        Assert.Equal(0, old.Forwarder.KeepForItself());
        using var inherited = new InheritedSockets(old.Forwarder.Copies());
        await using var successor = new LoopbackForwarder(
            [backend.LocalEndpoint], options => options with { LoopCount = successorLoops }, listener: old.Listener.ToString(), inherited: inherited);
        Assert.Equal(0, successor.Forwarder.KeepForItself());
        var before = old.Forwarder.ReadStatistics().Accepted;
        await UntilAsync(() => old.Forwarder.ReadStatistics().Accepted > before + 100, "the old one goes on");
        Assert.Equal(0, successor.Forwarder.ReadStatistics().Accepted);

        successor.Forwarder.Accept();
        await old.Forwarder.StopAcceptingAsync(NewConnections.LeftToSharer);
        Assert.Equal(0, await old.Forwarder.DrainAsync(TimeSpan.FromSeconds(5)));
        var accepted = successor.Forwarder.ReadStatistics().Accepted;
        await UntilAsync(() => successor.Forwarder.ReadStatistics().Accepted > accepted + 100, "the successor goes on alone");
        // It keeps the guard, too.
        await old.DisposeAsync();
        Assert.Throws<IOException>(() => TcpListenSocket.Open(old.Listener, 16, new PeerWatch()));
        await enough.CancelAsync();

        Assert.True((await Task.WhenAll(clients)).Sum() > 100);
        backend.Stop();
        await serving;
    }

    [Fact]
    public async Task WhatWaitsIsNotLostWithWhicheverOfTwoEnds()
    {
        using var backend = StartBackend();
        await using var old = new LoopbackForwarder([backend.LocalEndpoint], options => options with { LoopCount = 2 });
        var serving = ServeAsync(backend);
        using var inherited = new InheritedSockets(old.Forwarder.Copies());
        await using var failed = new LoopbackForwarder([backend.LocalEndpoint], listener: old.Listener.ToString(), inherited: inherited);
        await failed.DisposeAsync();
        await AskAsync(await old.ConnectAsync());

        using var again = new InheritedSockets(old.Forwarder.Copies());
        await using var successor = new LoopbackForwarder([backend.LocalEndpoint], listener: old.Listener.ToString(), inherited: again);
        await old.DisposeAsync();
        var waiting = new List<Socket>();
        for (var i = 0; i < 20; i++)
            waiting.Add(await old.ConnectAsync());
        successor.Forwarder.Accept();
        foreach (var client in waiting)
            await AskAsync(client);
        Assert.Equal(20, successor.Forwarder.ReadStatistics().Accepted);
        backend.Stop();
        await serving;

        static async Task AskAsync(Socket client)
        {
            using (client)
            {
                await client.SendAsync(new byte[1], Stop);
                Assert.Single(await TcpForwarderTests.ReceiveAsync(client, 1));
            }
        }
    }

    [Fact]
    public async Task ASuccessorThatCannotGoOnGivesNewConnectionsBack()
    {
        using var backend = StartBackend();
        await using var old = new LoopbackForwarder([backend.LocalEndpoint], options => options with { LoopCount = 1 });
        var serving = ServeAsync(backend);
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        var clients = Enumerable.Range(0, 8).Select(async _ =>
        {
            while (!enough.IsCancellationRequested)
            {
                using var client = await old.ConnectAsync();
                await client.SendAsync(new byte[1], Stop);
                Assert.Single(await TcpForwarderTests.ReceiveAsync(client, 1));
            }
        }).ToArray();

        await using (var successor = new LoopbackForwarder([backend.LocalEndpoint], options => options with { LoopCount = 3 }, listener: old.Listener.ToString()))
        {
            await UntilAsync(() => successor.Forwarder.ReadStatistics().Accepted > 0, "the successor gets connections");
            await successor.Forwarder.StopAcceptingAsync(NewConnections.GivenToPredecessor);
            Assert.Equal(0, await successor.Forwarder.DrainAsync(TimeSpan.FromSeconds(5)));
        }

        Assert.Equal(0, old.Forwarder.KeepForItself());
        var accepted = old.Forwarder.ReadStatistics().Accepted;
        await UntilAsync(() => old.Forwarder.ReadStatistics().Accepted > accepted + 100, "the old one goes on alone");
        await enough.CancelAsync();
        await Task.WhenAll(clients);
        backend.Stop();
        await serving;
    }

    [Fact]
    public async Task AThousandAndMoreIdleConnectionsTakeLessThanFourKilobytesEach()
    {
        const int Connections = 2_000;
        DescriptorLimit.Raise((4 * Connections) + 1_000, NullLogger.Instance);
        // Raw descriptors on both ends, so that what grows is the forwarder's.
        using var backend = TcpListenSocket.Open(InetEndpoint.Parse("127.0.0.1:0"), 4096, new PeerWatch());
        await using var forwarder = new LoopbackForwarder([new IPEndPoint(IPAddress.Loopback, backend.Endpoint.Port)]);
        var descriptors = new List<int>(2 * Connections);
        try
        {
            var before = GC.GetTotalMemory(forceFullCollection: true);
            for (var i = 0; i < Connections; i++)
                descriptors.Add(TcpSocket.Connect(forwarder.Listener, mark: 0));
            await UntilAsync(() => AcceptAll(backend, descriptors) == 2 * Connections, "all connections reach the backend");

            var each = (GC.GetTotalMemory(forceFullCollection: true) - before) / Connections;
            Assert.InRange(each, 0, 4_096);
            Assert.Equal(Connections, forwarder.Forwarder.ReadStatistics().Active);
            Assert.Equal(0, forwarder.Forwarder.ReadStatistics().PipesLent);
        }
        finally
        {
            descriptors.ForEach(TcpSocket.Abort);
        }
    }

    [Fact]
    public async Task NoDescriptorIsLeftBehind()
    {
        var before = CountDescriptors();
        using (var backend = StartBackend())
        {
            await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint]);
            for (var i = 0; i < 20; i++)
            {
                using var client = await forwarder.ConnectAsync();
                using var server = await backend.AcceptSocketAsync(Stop);
                var sending = TcpForwarderTests.SendAllAsync(client, new byte[300_000]);
                await TcpForwarderTests.ReceiveAsync(server, 300_000);
                await sending;
            }
        }

        // Sockets of the test itself are closed by the runtime a moment later.
        await UntilAsync(() => CountDescriptors() <= before + 2, "all descriptors are closed");
    }

    [Fact]
    public async Task TheHeartBeatsWhileTheLoopsRunAndItsFailuresAreCounted()
    {
        var heart = new CountingHeartbeat();
        await using var forwarder = new LoopbackForwarder([], heartbeat: heart);
        await UntilAsync(() => heart.Beats >= 2, "the heart beats twice");
        Assert.Equal(0, forwarder.Forwarder.ReadStatistics().HeartbeatFailures);
        heart.Fails = true;
        await UntilAsync(() => forwarder.Forwarder.ReadStatistics().HeartbeatFailures >= 1, "the failure is counted");
        heart.Fails = false;
        var beats = heart.Beats;
        await UntilAsync(() => heart.Beats > beats, "the heart beats again");
    }

    [Fact]
    public async Task ALoopThatHangsStopsTheHeart()
    {
        var heart = new CountingHeartbeat();
        using var hang = new ManualResetEventSlim();
        var hanging = 0;
        using var backend = StartBackend();
        await using var forwarder = new LoopbackForwarder([backend.LocalEndpoint], heartbeat: heart, change: options => options with
        {
            OriginalDestination = (int _, bool _, out InetEndpoint destination) =>
            {
                destination = Service;
                // Only the second loop may hang: the first is the one that beats.
                if (Thread.CurrentThread.Name == "edgemesh-tcp-1" && Interlocked.Exchange(ref hanging, 1) == 0)
                    hang.Wait(TimeSpan.FromSeconds(20));
                return 0;
            },
        });
        var clients = new List<Socket>();
        while (Volatile.Read(ref hanging) == 0)
            clients.Add(await forwarder.ConnectAsync());
        await UntilAsync(() => forwarder.Forwarder.ReadStatistics().HeartbeatsWithheld > 0, "the heart stops");
        Assert.True(forwarder.Forwarder.SlowestTurn() > TimeSpan.FromSeconds(2));
        hang.Set();
        var beats = heart.Beats;
        await UntilAsync(() => heart.Beats > beats, "the heart goes on");
        Assert.True(forwarder.Forwarder.SlowestTurn() < TimeSpan.FromSeconds(2));
        clients.ForEach(client => client.Dispose());
    }

    private static async Task ServeAsync(TcpListener backend)
    {
        try
        {
            while (true)
                _ = EchoOnceAsync(await backend.AcceptSocketAsync(Stop));
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // The backend has been stopped; between two calls it says so as an invalid operation.
        }
    }

    private static async Task EchoOnceAsync(Socket socket)
    {
        using (socket)
        {
            await TcpForwarderTests.ReceiveAsync(socket, 1);
            await socket.SendAsync(new byte[1], Stop);
        }
    }

    private static int AcceptAll(TcpListenSocket listener, List<int> descriptors)
    {
        var descriptor = TcpSocket.Accept(listener.Descriptor, out _);
        for (; descriptor >= 0; descriptor = TcpSocket.Accept(listener.Descriptor, out _))
            descriptors.Add(descriptor);
        return descriptors.Count;
    }

    private static int CountDescriptors() => Directory.GetFileSystemEntries("/proc/self/fd").Length;

    private sealed class CountingHeartbeat : IHeartbeat
    {
        private int _beats;

        public int Beats => Volatile.Read(ref _beats);

        public volatile bool Fails;

        public bool HasBeaten => Beats > 0;

        public void Beat()
        {
            if (Fails)
                throw new IOException("The kernel said no.");
            Interlocked.Increment(ref _beats);
        }
    }
}
