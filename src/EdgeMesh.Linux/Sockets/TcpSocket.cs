using EdgeMesh.Net;

namespace EdgeMesh.Linux.Sockets;

/// <summary>Non-blocking TCP on raw descriptors: each result is a count, 0, a descriptor, or a negated errno.
/// The descriptor belongs to the caller, who closes it once.</summary>
public static unsafe class TcpSocket
{
    private const int SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0x800 | 0x80000;
    private const int MSG_NOSIGNAL = 0x4000;
    private const int SHUT_WR = 1;
    // The pipe's places are the bound, not its bytes.
    private const nuint MostSpliced = 1024 * 1024;
    private const uint SPLICE_F_MOVE_NONBLOCK = 0x1 | 0x2;

    /// <summary>Begins to connect: a descriptor whose outcome epoll will tell, or a negated errno. Small writes wait for
    /// the acknowledgement of those before them until <see cref="SendAtOnce"/>.</summary>
    /// <param name="mark">SO_MARK (needs CAP_NET_ADMIN); 0: none.</param>
    /// <param name="hasBytes">The caller writes as soon as it may, so the handshake's last acknowledgement can travel with
    /// those bytes instead of alone.</param>
    public static int Connect(InetEndpoint endpoint, uint mark, bool hasBytes = false)
    {
        var descriptor = Libc.socket(SockAddr.Family(endpoint.Address), SOCK_STREAM_NONBLOCK_CLOEXEC, 0);
        if (descriptor < 0)
            return Libc.Failure();
        var failure = mark == 0 ? 0 : SocketOption.Set(descriptor, SocketOption.SOL_SOCKET, SocketOption.SO_MARK, (int)mark);
        if (failure == 0)
        {
            if (hasBytes)
                _ = SocketOption.Set(descriptor, SocketOption.IPPROTO_TCP, SocketOption.TCP_QUICKACK, 0);
            var address = stackalloc byte[SockAddr.MaxSize];
            var length = SockAddr.Write(endpoint, new Span<byte>(address, SockAddr.MaxSize));
            if (Libc.connect(descriptor, address, (uint)length) < 0)
                failure = Libc.Failure();
            if (failure == -Errno.EINPROGRESS)
                failure = 0;
        }

        if (failure == 0)
            return descriptor;
        _ = Libc.close(descriptor);
        return failure;
    }

    /// <summary>The next connection of a listener, non-blocking, or a negated errno.</summary>
    public static int Accept(int listener, out InetEndpoint peer)
    {
        var address = stackalloc byte[SockAddr.MaxSize];
        uint length = SockAddr.MaxSize;
        var descriptor = Libc.accept4(listener, address, &length, SOCK_STREAM_NONBLOCK_CLOEXEC & ~1);
        if (descriptor < 0)
        {
            peer = default;
            return Libc.Failure();
        }

        SockAddr.TryRead(new ReadOnlySpan<byte>(address, (int)Math.Min(length, SockAddr.MaxSize)), out peer);
        return descriptor;
    }

    /// <summary>Where a redirected connection was going, from conntrack; for one that no rule redirected, the listener's
    /// own address. A negated errno when conntrack does not know the connection.</summary>
    public static int OriginalDestination(int descriptor, bool isIPv6, out InetEndpoint destination)
    {
        const int SO_ORIGINAL_DST = 80; // the same number in IPv4 and IPv6 (IP6T_SO_ORIGINAL_DST)
        const int SOL_IP = 0;
        const int SOL_IPV6 = 41;
        var address = stackalloc byte[SockAddr.MaxSize];
        uint length = isIPv6 ? 28u : 16u;
        destination = default;
        if (Libc.getsockopt(descriptor, isIPv6 ? SOL_IPV6 : SOL_IP, SO_ORIGINAL_DST, address, &length) < 0)
            return Libc.Failure();
        return SockAddr.TryRead(new ReadOnlySpan<byte>(address, (int)Math.Min(length, SockAddr.MaxSize)), out destination)
            ? 0
            : -Errno.EINVAL;
    }

    /// <summary>The address that a descriptor is bound to.</summary>
    public static InetEndpoint LocalEndpoint(int descriptor)
    {
        var failure = ReadLocalEndpoint(descriptor, out var endpoint);
        return failure == 0 ? endpoint : throw new IOException($"The address of a socket could not be read: {Errno.Describe(-failure)}.");
    }

    /// <summary>As <see cref="LocalEndpoint"/>; false for what has none.</summary>
    internal static bool TryLocalEndpoint(int descriptor, out InetEndpoint endpoint) => ReadLocalEndpoint(descriptor, out endpoint) == 0 && endpoint.Port != 0;

    private static int ReadLocalEndpoint(int descriptor, out InetEndpoint endpoint)
    {
        endpoint = default;
        var address = stackalloc byte[SockAddr.MaxSize];
        uint length = SockAddr.MaxSize;
        if (Libc.getsockname(descriptor, address, &length) < 0)
            return Libc.Failure();
        SockAddr.TryRead(new ReadOnlySpan<byte>(address, (int)Math.Min(length, SockAddr.MaxSize)), out endpoint);
        return 0;
    }

    /// <summary>Whether a connection that was begun has been made.</summary>
    public static bool IsConnected(int descriptor)
    {
        var address = stackalloc byte[SockAddr.MaxSize];
        uint length = SockAddr.MaxSize;
        return Libc.getpeername(descriptor, address, &length) == 0;
    }

    /// <summary>Reads what is there: a count, 0 at the peer's end of stream, or a negated errno.</summary>
    public static int Receive(int descriptor, byte* buffer, int length)
    {
        var count = Libc.recv(descriptor, buffer, (nuint)length, 0);
        return count < 0 ? Libc.Failure() : (int)count;
    }

    /// <summary>As <see cref="Receive"/>, and leaves the bytes where they are.</summary>
    public static int Peek(int descriptor, byte* buffer, int length)
    {
        const int MSG_PEEK = 2;
        var count = Libc.recv(descriptor, buffer, (nuint)length, MSG_PEEK);
        return count < 0 ? Libc.Failure() : (int)count;
    }

    /// <summary>On a listener: a connection is not told before its first bytes are there, or about so much time has passed
    /// (TCP_DEFER_ACCEPT). Until then it is a request in the kernel, and no descriptor.</summary>
    public static void DeferAccept(int listener, int seconds)
        => _ = SocketOption.Set(listener, SocketOption.IPPROTO_TCP, SocketOption.TCP_DEFER_ACCEPT, seconds);

    /// <summary>Small writes no longer wait for acknowledgements (TCP_NODELAY).</summary>
    public static void SendAtOnce(int descriptor)
        => _ = SocketOption.Set(descriptor, SocketOption.IPPROTO_TCP, SocketOption.TCP_NODELAY, 1);

    /// <summary>Writes as much as fits: a count or a negated errno; EAGAIN also while the connection is being made.</summary>
    /// <param name="endFollows">The end of the stream follows at once and shall travel in the same packet.</param>
    public static int Send(int descriptor, byte* buffer, int length, bool endFollows = false)
    {
        const int MSG_MORE = 0x8000;
        var count = Libc.send(descriptor, buffer, (nuint)length, endFollows ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL);
        return count < 0 ? Libc.Failure() : (int)count;
    }

    /// <summary>Moves bytes of a socket into an empty pipe: a count, 0 at the peer's end of stream, or a negated errno.
    /// A full pipe holds between one byte and 32 KB per 4 KB of its size: each place takes what is together in memory.</summary>
    public static int SpliceIn(int from, Pipe pipe)
    {
        ArgumentNullException.ThrowIfNull(pipe);
        var count = Libc.splice(from, null, pipe.WriteEnd, null, MostSpliced, SPLICE_F_MOVE_NONBLOCK);
        return count < 0 ? Libc.Failure() : (int)count;
    }

    /// <summary>Moves bytes of a pipe into a socket: a count or a negated errno.</summary>
    public static int SpliceOut(Pipe pipe, int to, int length)
    {
        ArgumentNullException.ThrowIfNull(pipe);
        var count = Libc.splice(pipe.ReadEnd, null, to, null, (nuint)length, SPLICE_F_MOVE_NONBLOCK);
        return count < 0 ? Libc.Failure() : (int)count;
    }

    /// <summary>Says to the peer that nothing more will come; reading goes on.</summary>
    public static int ShutdownWrite(int descriptor) => Libc.shutdown(descriptor, SHUT_WR) < 0 ? Libc.Failure() : 0;

    /// <summary>Takes the pending error of a socket: 0 or a positive errno.</summary>
    public static int TakeError(int descriptor) => SocketOption.Get(descriptor, SocketOption.SOL_SOCKET, SocketOption.SO_ERROR);

    /// <summary>Closes gracefully: what was written is still delivered.</summary>
    public static void Close(int descriptor) => _ = Libc.close(descriptor);

    /// <summary>Closes with a reset (SO_LINGER 0): the peer sees ECONNRESET, unsent bytes are dropped.</summary>
    public static void Abort(int descriptor)
    {
        var linger = stackalloc int[2] { 1, 0 };
        _ = Libc.setsockopt(descriptor, SocketOption.SOL_SOCKET, SocketOption.SO_LINGER, linger, 2 * sizeof(int));
        _ = Libc.close(descriptor);
    }

    /// <summary>Bytes (and an end of stream) that were written and that the peer has not acknowledged; 0 also where the
    /// kernel cannot say.</summary>
    public static int Unacknowledged(int descriptor)
    {
        const nuint SIOCOUTQ = 0x5411;
        int count;
        return Libc.ioctl(descriptor, SIOCOUTQ, &count) < 0 ? 0 : count;
    }

    /// <summary>What the kernel knows of the peer's signs of life.</summary>
    public static SignsOfLife ReadPeer(int descriptor)
    {
        const int TCP_INFO = 11;
        // struct tcp_info up to tcpi_snd_wnd, which kernels before 5.4 do not fill in.
        const int Size = 232;
        var info = stackalloc byte[Size];
        new Span<byte>(info, Size).Clear();
        uint length = Size;
        if (Libc.getsockopt(descriptor, SocketOption.IPPROTO_TCP, TCP_INFO, info, &length) < 0)
            return default;
        return new SignsOfLife
        {
            Retransmissions = info[2],
            Probes = info[3],
            Unacknowledged = *(uint*)(info + 24),
            SilentMilliseconds = *(uint*)(info + 56),
            Window = length < Size ? 0 : *(uint*)(info + 228),
        };
    }

    /// <summary>Lets the kernel notice an idle peer that is gone. One that is gone while bytes are on their way to it is noticed
    /// by <see cref="SignsOfLife.IsGone"/>; TCP_USER_TIMEOUT would do that too, but it also ends a peer that answers every
    /// probe of its closed window (RFC 1122, 4.2.2.17, wants that one kept).</summary>
    public static void WatchPeer(int descriptor, PeerWatch watch)
    {
        ArgumentNullException.ThrowIfNull(watch);
        // Each of these can only fail for a number out of range; the connection works without them.
        _ = SocketOption.Set(descriptor, SocketOption.IPPROTO_TCP, SocketOption.TCP_KEEPIDLE, watch.IdleSeconds);
        _ = SocketOption.Set(descriptor, SocketOption.IPPROTO_TCP, SocketOption.TCP_KEEPINTVL, watch.IntervalSeconds);
        _ = SocketOption.Set(descriptor, SocketOption.IPPROTO_TCP, SocketOption.TCP_KEEPCNT, watch.Probes);
        _ = SocketOption.Set(descriptor, SocketOption.SOL_SOCKET, SocketOption.SO_KEEPALIVE, 1);
    }
}
