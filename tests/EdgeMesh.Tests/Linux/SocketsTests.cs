using EdgeMesh.Linux;
using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace EdgeMesh.Tests.Linux;

public sealed class SocketsTests
{
    [Fact]
    public void ASocketAddressReadsBackAsItWasWritten()
        => Prop.ForAll(Gen.ArrayOf(Gen.Choose(0, 255), 16).ToArbitrary(), Gen.Elements(4, 16).ToArbitrary(), Gen.Choose(0, 65535).ToArbitrary(), (bytes, length, port) =>
        {
            var endpoint = new InetEndpoint(InetAddress.FromBytes(bytes.Take(length).Select(b => (byte)b).ToArray()), (ushort)port);
            var buffer = new byte[SockAddr.MaxSize];
            var written = SockAddr.Write(endpoint, buffer);
            return SockAddr.TryRead(buffer.AsSpan(0, written), out var read) && read == endpoint;
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void ACutOrForeignSocketAddressIsRefused()
    {
        var buffer = new byte[SockAddr.MaxSize];
        SockAddr.Write(InetEndpoint.Parse("[2001:db8::1]:80"), buffer);
        for (var length = 0; length < 24; length++)
            Assert.False(SockAddr.TryRead(buffer.AsSpan(0, length), out _));
        buffer[0] = 77;
        Assert.False(SockAddr.TryRead(buffer, out _));
    }

    [Fact]
    public void AWakeEndsTheWaitAndCarriesItsData()
    {
        using var epoll = new Epoll(4);
        using var wake = new WakeEvent();
        Assert.Equal(0, epoll.Add(wake.Descriptor, EpollEvents.In, 0xFEDC_BA98_7654_3210));
        Assert.Equal(0, epoll.Wait(0));
        wake.Set();
        Assert.Equal(1, epoll.Wait(5_000));
        Assert.Equal(EpollEvents.In, epoll.EventAt(0, out var data));
        Assert.Equal(0xFEDC_BA98_7654_3210, data);
        wake.Reset();
        Assert.Equal(0, epoll.Wait(0));
    }

    [Fact]
    public void ATimerEndsTheWait()
    {
        using var epoll = new Epoll(4);
        using var timer = new LoopTimer();
        epoll.Add(timer.Descriptor, EpollEvents.In, 1);
        timer.Set(20);
        Assert.Equal(1, epoll.Wait(5_000));
        timer.Set(60_000);
        Assert.Equal(0, epoll.Wait(0));
    }

    [Fact]
    public void APipeThatMayNotBeSoLargeIsGivenSmaller()
    {
        using var large = Pipe.TryCreate(256 * 1024);
        using var impossible = Pipe.TryCreate(int.MaxValue);
        Assert.NotNull(large);
        Assert.NotNull(impossible);
        Assert.InRange(impossible.Capacity, 4096, 1 << 30);
    }

    [Fact]
    public void ListeningOnAForeignAddressSaysWhereAndWhy()
    {
        var error = Assert.Throws<IOException>(() => TcpListenSocket.Open(InetEndpoint.Parse("192.0.2.1:20007"), 16, new PeerWatch()));
        Assert.Contains("192.0.2.1:20007", error.Message, StringComparison.Ordinal);
        Assert.Contains("99", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("127.0.0.1:0", "127.0.0.1:")]
    [InlineData("127.0.0.1:0", "0.0.0.0:")]
    [InlineData("[::1]:0", "[::1]:")]
    public void AGuardedPortTakesNoFurtherListenerOfThisUserUntilTheGuardGoes(string at, string beside)
    {
        using var first = TcpListenSocket.Open(InetEndpoint.Parse(at), 16, new PeerWatch());
        using var second = TcpListenSocket.Open(first.Endpoint, 16, new PeerWatch());
        var further = InetEndpoint.Parse($"{beside}{first.Endpoint.Port}");
        TcpListenSocket.Open(further, 16, new PeerWatch()).Dispose();
        using (PortGuard.Place(first.Endpoint))
            Assert.Throws<IOException>(() => TcpListenSocket.Open(further, 16, new PeerWatch()));
        Assert.Equal(2, BoundPorts.CountAt(first.Endpoint, isTcp: true));
        TcpListenSocket.Open(further, 16, new PeerWatch()).Dispose();
    }

    [Fact]
    public void ADatagramSocketThatDoesNotShareIsAloneUntilItDoes()
    {
        using var first = DatagramSocket.Listen(InetEndpoint.Parse("127.0.0.1:0"), 4096, mark: 0);
        DatagramSocket.Listen(first.LocalEndpoint, 4096, mark: 0).Dispose();
        first.Share(false);
        Assert.Throws<IOException>(() => DatagramSocket.Listen(first.LocalEndpoint, 4096, mark: 0));
        first.Share(true);
        DatagramSocket.Listen(first.LocalEndpoint, 4096, mark: 0).Dispose();
    }

    [Fact]
    public void DescriptorsComeBesideTheBytesThatTheyWereSentWith()
    {
        using var one = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Unspecified);
        var address = new System.Net.Sockets.UnixDomainSocketEndPoint($"\0edgemesh-test-{Guid.NewGuid():N}");
        using var listener = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Unspecified);
        listener.Bind(address);
        listener.Listen();
        one.Connect(address);
        using var other = listener.Accept();
        using var tcp = TcpListenSocket.Open(InetEndpoint.Parse("127.0.0.1:0"), 16, new PeerWatch());
        using var guard = PortGuard.Place(tcp.Endpoint);
        using var udp = DatagramSocket.Listen(InetEndpoint.Parse("127.0.0.1:0"), 4096, mark: 0);
        DescriptorHandle[] sent = [tcp.Duplicate()!, guard.Duplicate()!, udp.Duplicate()!];
        Assert.Equal(5, DescriptorPassing.Send(one.SafeHandle, "first"u8, [.. sent.Select(s => s.Descriptor)]));
        Assert.Equal(6, DescriptorPassing.Send(one.SafeHandle, "second"u8, []));

        var received = new List<DescriptorHandle>();
        var bytes = new byte[100];
        // What came with one message is not mixed up with the next.
        Assert.Equal(5, DescriptorPassing.Receive(other.SafeHandle, bytes, received));
        Assert.Equal(3, received.Count);
        Assert.Equal(6, DescriptorPassing.Receive(other.SafeHandle, bytes, received));
        Assert.Equal(-Errno.EAGAIN, DescriptorPassing.Receive(other.SafeHandle, bytes, received));
        // No socket, and a socket of another kind.
        received.Add(DescriptorHandle.TryReserve()!);
        using var inherited = new InheritedSockets(received);
        Assert.Single(inherited.TakeListeners(tcp.Endpoint)).Dispose();
        Assert.Single(inherited.TakeGuards(tcp.Endpoint)).Dispose();
        using var datagrams = inherited.TakeDatagrams(udp.LocalEndpoint);
        Assert.Equal(udp.LocalEndpoint, datagrams!.LocalEndpoint);
        Assert.Empty(inherited.TakeListeners(tcp.Endpoint));
        one.Close();
        Assert.Equal(0, DescriptorPassing.Receive(other.SafeHandle, bytes, received));
        Array.ForEach(sent, descriptor => descriptor.Dispose());
    }

    [Fact]
    public void AWakeAfterDisposalDoesNothing()
    {
        var wake = new WakeEvent();
        wake.Dispose();
        Assert.Null(Record.Exception(wake.Set));
    }
}
