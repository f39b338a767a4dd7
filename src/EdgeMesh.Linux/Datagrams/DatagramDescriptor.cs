using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Datagrams;

/// <summary>Non-blocking datagram sockets as raw descriptors, each the caller's to close.</summary>
public static unsafe class DatagramDescriptor
{
    /// <summary>Bursts of a flow wait here while its loop is busy with others; memory is used only while they do.</summary>
    internal const int BufferBytes = 4 * 1024 * 1024;

    /// <summary>A UDP socket that talks to <paramref name="remote"/> only, or a negated errno.</summary>
    /// <param name="mark">SO_MARK (needs CAP_NET_ADMIN); 0: none.</param>
    public static int Connect(in InetEndpoint remote, uint mark)
    {
        var descriptor = Libc.socket(SockAddr.Family(remote.Address), DatagramCalls.SockDgram | DatagramCalls.SockNonblockCloexec, 0);
        if (descriptor < 0)
            return Libc.Failure();
        var failure = mark == 0 ? 0 : SocketOption.Set(descriptor, SocketOption.SOL_SOCKET, SocketOption.SO_MARK, (int)mark);
        if (failure == 0)
        {
            WantBuffers(descriptor, BufferBytes);
            var address = stackalloc byte[SockAddr.MaxSize];
            var length = SockAddr.Write(remote, new Span<byte>(address, SockAddr.MaxSize));
            if (Libc.connect(descriptor, address, (uint)length) == 0)
                return descriptor;
            failure = Libc.Failure();
        }

        _ = Libc.close(descriptor);
        return failure;
    }

    /// <summary>Wishes for both kernel buffers, beyond the system's limits where the process may.</summary>
    internal static void WantBuffers(int descriptor, int bytes)
    {
        // Beyond the system's limit only with CAP_NET_ADMIN, which a test may lack.
        if (SocketOption.Set(descriptor, SocketOption.SOL_SOCKET, DatagramCalls.SoSndBufForce, bytes) < 0)
            _ = SocketOption.Set(descriptor, SocketOption.SOL_SOCKET, DatagramCalls.SoSndBuf, bytes);
        if (SocketOption.Set(descriptor, SocketOption.SOL_SOCKET, DatagramCalls.SoRcvBufForce, bytes) < 0)
            _ = SocketOption.Set(descriptor, SocketOption.SOL_SOCKET, DatagramCalls.SoRcvBuf, bytes);
    }
}
