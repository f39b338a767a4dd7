using EdgeMesh.Net;

namespace EdgeMesh.Linux.Sockets;

/// <summary>A listening socket that shares its port with others of the same user (SO_REUSEPORT): other loops, and the
/// agent that takes over. What it sets on itself, every accepted connection inherits, so that accepting costs one call.</summary>
public sealed unsafe class TcpListenSocket : IDisposable
{
    private const int SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0x800 | 0x80000;

    private readonly DescriptorHandle _handle;

    private TcpListenSocket(DescriptorHandle handle, bool isIPv6)
    {
        _handle = handle;
        IsIPv6 = isIPv6;
        Endpoint = TcpSocket.LocalEndpoint(handle.Descriptor);
    }

    public int Descriptor => _handle.Descriptor;

    public bool IsIPv6 { get; }

    /// <summary>Where it listens; the port is the granted one when 0 was asked for.</summary>
    public InetEndpoint Endpoint { get; }

    /// <param name="backlog">Connections that may wait to be accepted; the kernel cuts it at net.core.somaxconn.</param>
    /// <exception cref="IOException">The address is not on this machine, or another user holds the port.</exception>
    public static TcpListenSocket Open(InetEndpoint endpoint, int backlog, PeerWatch watch)
    {
        var isIPv6 = endpoint.Address.IsIPv6;
        var handle = new DescriptorHandle(Libc.socket(SockAddr.Family(endpoint.Address), SOCK_STREAM_NONBLOCK_CLOEXEC, 0));
        try
        {
            Check(handle.IsInvalid ? Libc.Failure() : 0, endpoint);
            var descriptor = handle.Descriptor;
            Check(SocketOption.Set(descriptor, SocketOption.SOL_SOCKET, SocketOption.SO_REUSEADDR, 1), endpoint);
            Check(SocketOption.Set(descriptor, SocketOption.SOL_SOCKET, SocketOption.SO_REUSEPORT, 1), endpoint);
            if (isIPv6)
                Check(SocketOption.Set(descriptor, SocketOption.IPPROTO_IPV6, SocketOption.IPV6_V6ONLY, 1), endpoint);
            Check(SocketOption.Set(descriptor, SocketOption.IPPROTO_TCP, SocketOption.TCP_NODELAY, 1), endpoint);
            TcpSocket.WatchPeer(descriptor, watch);
            var address = stackalloc byte[SockAddr.MaxSize];
            var length = SockAddr.Write(endpoint, new Span<byte>(address, SockAddr.MaxSize));
            Check(Libc.bind(descriptor, address, (uint)length) < 0 ? Libc.Failure() : 0, endpoint);
            Check(Libc.listen(descriptor, backlog) < 0 ? Libc.Failure() : 0, endpoint);
            // The acknowledgement of a request may wait a moment for the answer, which carries it. listen(2) resets this.
            Check(SocketOption.Set(descriptor, SocketOption.IPPROTO_TCP, SocketOption.TCP_QUICKACK, 0), endpoint);
            return new TcpListenSocket(handle, isIPv6);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>A listening socket that another process opened, and may still have.</summary>
    public static TcpListenSocket Adopt(DescriptorHandle handle, int backlog, PeerWatch watch)
    {
        ArgumentNullException.ThrowIfNull(handle);
        var listener = new TcpListenSocket(handle, TcpSocket.LocalEndpoint(handle.Descriptor).Address.IsIPv6);
        // The other's release may have wanted something else of its connections. None of these is worth a refusal.
        _ = SocketOption.Set(handle.Descriptor, SocketOption.IPPROTO_TCP, SocketOption.TCP_NODELAY, 1);
        TcpSocket.WatchPeer(handle.Descriptor, watch);
        _ = Libc.listen(handle.Descriptor, backlog);
        _ = SocketOption.Set(handle.Descriptor, SocketOption.IPPROTO_TCP, SocketOption.TCP_QUICKACK, 0);
        return listener;
    }

    /// <summary>Another descriptor of the same socket; null when it is closed, or none is left.</summary>
    public DescriptorHandle? Duplicate() => _handle.Duplicate();

    /// <summary>Sends new connections to the socket at place <paramref name="index"/> of all that share the port, counted
    /// in the order in which they began to listen. Connections already begun here stay here. When no socket has that
    /// place, the kernel spreads over all as before. Returns 0 or a negated errno.</summary>
    public int SteerTo(int index) => ReusePortSteering.SteerTo(Descriptor, index);

    /// <summary>Ends <see cref="SteerTo"/>, whoever began it: the kernel spreads over all that share the port again.</summary>
    public void SpreadOverAll() => ReusePortSteering.End(Descriptor);

    public void Dispose() => _handle.Dispose();

    private static void Check(int result, InetEndpoint endpoint)
    {
        if (result < 0)
            throw new IOException($"Cannot listen on {endpoint}: {Errno.Describe(-result)}.");
    }
}
