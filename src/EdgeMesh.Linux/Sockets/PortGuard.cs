using EdgeMesh.Net;

namespace EdgeMesh.Linux.Sockets;

/// <summary>Keeps further listeners away from a place at which those of this process share the port (SO_REUSEPORT): the kernel
/// lets in whoever has the same user id, which uid 0 without any capability has too. It costs the connections nothing.</summary>
/// <remarks>
/// A socket that is bound and does not listen gets no connection, but where it does not share, the kernel finds it in conflict with
/// whoever wants to bind or to listen beside it (inet_csk_bind_conflict). It is bound while it shares, since it has to stand beside
/// those that listen, and stops to share after that. The kernel has a shorter way for a port whose sockets all share, by which
/// it would not be asked; a socket that is bound without sharing at another address ends that (inet_csk_update_fastreuse).
/// </remarks>
public sealed unsafe class PortGuard : IDisposable
{
    private const int SOCK_STREAM_CLOEXEC = 1 | 0x80000;
    private const int IPPROTO_IP = 0;
    private const int IP_FREEBIND = 15;

    /// <summary>For documentation (RFC 5737): no address of anybody's.</summary>
    private static readonly InetAddress _elsewhere = InetAddress.Parse("192.0.2.1");

    private readonly DescriptorHandle _handle;

    private PortGuard(DescriptorHandle handle) => _handle = handle;

    /// <summary>Call it when all that are to share the port listen.</summary>
    /// <exception cref="IOException">The kernel refuses.</exception>
    public static PortGuard Place(InetEndpoint endpoint)
    {
        var handle = Bind(endpoint, isShared: true);
        try
        {
            Check(SocketOption.Set(handle.Descriptor, SocketOption.SOL_SOCKET, SocketOption.SO_REUSEPORT, 0), endpoint);
            Bind(new InetEndpoint(_elsewhere, endpoint.Port), isShared: false).Dispose();
            return new PortGuard(handle);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>One that another process placed, and may still have.</summary>
    public static PortGuard Adopt(DescriptorHandle handle) => new(handle);

    /// <summary>Another descriptor of the same guard; null when it is lifted, or no descriptor is left.</summary>
    public DescriptorHandle? Duplicate() => _handle.Duplicate();

    /// <summary>Others of this user may listen there again, unless another process has the guard too.</summary>
    public void Dispose() => _handle.Dispose();

    private static DescriptorHandle Bind(InetEndpoint endpoint, bool isShared)
    {
        var handle = new DescriptorHandle(Libc.socket(SockAddr.Family(endpoint.Address), SOCK_STREAM_CLOEXEC, 0));
        try
        {
            Check(handle.IsInvalid ? Libc.Failure() : 0, endpoint);
            if (isShared)
                Check(SocketOption.Set(handle.Descriptor, SocketOption.SOL_SOCKET, SocketOption.SO_REUSEPORT, 1), endpoint);
            else
                Check(SocketOption.Set(handle.Descriptor, IPPROTO_IP, IP_FREEBIND, 1), endpoint);
            if (endpoint.Address.IsIPv6)
                Check(SocketOption.Set(handle.Descriptor, SocketOption.IPPROTO_IPV6, SocketOption.IPV6_V6ONLY, 1), endpoint);
            var address = stackalloc byte[SockAddr.MaxSize];
            var length = SockAddr.Write(endpoint, new Span<byte>(address, SockAddr.MaxSize));
            Check(Libc.bind(handle.Descriptor, address, (uint)length) < 0 ? Libc.Failure() : 0, endpoint);
            return handle;
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    private static void Check(int result, InetEndpoint endpoint)
    {
        if (result < 0)
            throw new IOException($"{endpoint} cannot be kept for this process alone: {Errno.Describe(-result)}.");
    }
}
