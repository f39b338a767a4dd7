using System.Runtime.InteropServices;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Datagrams;

/// <summary>Error numbers that users of this folder tell apart (asm-generic).</summary>
public static class DatagramErrors
{
    public const int NotPermitted = 1;
    public const int WouldBlock = 11;
    public const int NoMemory = 12;
    public const int TooManyInSystem = 23;
    public const int TooManyInProcess = 24;
    public const int MessageTooLong = 90;
    public const int NoBufferSpace = 105;
    public const int ConnectionRefused = 111;

    /// <summary>The C library's words for an error number, with the number.</summary>
    public static string Describe(int errno) => $"{Marshal.GetPInvokeErrorMessage(errno)} (errno {errno})";
}

/// <summary>A non-blocking UDP socket of one family.</summary>
public sealed unsafe class DatagramSocket : IDisposable
{
    private readonly DescriptorHandle _handle;

    private DatagramSocket(DescriptorHandle handle) => _handle = handle;

    /// <summary>For an <see cref="Epoll"/>; valid while this is not disposed.</summary>
    public int Descriptor => _handle.Descriptor;

    internal DescriptorHandle Handle => _handle;

    /// <summary>A socket bound to <paramref name="local"/>; other processes of the same user may bind there too (SO_REUSEPORT).</summary>
    /// <param name="bufferBytes">Wish for both kernel buffers, beyond net.core.rmem_max where the process may.</param>
    /// <exception cref="IOException">The address is not local, taken, or may not be bound.</exception>
    public static DatagramSocket Listen(InetEndpoint local, int bufferBytes, uint mark)
    {
        var errno = TryOpen(local.Address.IsIPv6, mark, out var socket);
        if (errno == 0)
        {
            socket!.SetOption(DatagramCalls.SolSocket, DatagramCalls.SoReusePort, 1);
            if (local.Address.IsIPv6)
                socket.SetOption(DatagramCalls.ProtocolIPv6, DatagramCalls.IPv6Only, 1);
            socket.WantBuffer(DatagramCalls.SoRcvBufForce, DatagramCalls.SoRcvBuf, bufferBytes);
            socket.WantBuffer(DatagramCalls.SoSndBufForce, DatagramCalls.SoSndBuf, bufferBytes);
            var name = stackalloc byte[SocketName.MaximumBytes];
            var length = SocketName.Write(local, new Span<byte>(name, SocketName.MaximumBytes));
            if (DatagramCalls.Bind(socket._handle, name, (uint)length) == 0)
                return socket;
            errno = Marshal.GetLastPInvokeError();
            socket.Dispose();
        }

        throw new IOException($"The UDP listener {local} cannot be opened: {DatagramErrors.Describe(errno)}.");
    }

    /// <summary>A socket for what one device brings of an IPv4 multicast group, beside other programs that do the same; what it sends to
    /// the group leaves by that device. Its kernel buffer keeps its usual size: what comes faster than it is read is dropped there.</summary>
    /// <param name="local">An address of the device.</param>
    /// <exception cref="IOException">There is no multicast there.</exception>
    public static DatagramSocket JoinGroup(InetEndpoint group, InetAddress local, uint mark)
    {
        var errno = TryOpen(ipv6: false, mark, out var socket);
        if (errno == 0)
        {
            // struct ip_mreq: the group, and the device by its address.
            var membership = stackalloc byte[8];
            group.Address.WriteBytes(new Span<byte>(membership, 4));
            local.WriteBytes(new Span<byte>(membership + 4, 4));
            var name = stackalloc byte[SocketName.MaximumBytes];
            var length = SocketName.Write(group, new Span<byte>(name, SocketName.MaximumBytes));
            if (socket!.SetOption(DatagramCalls.SolSocket, DatagramCalls.SoReuseAddr, 1) == 0
                && DatagramCalls.Bind(socket._handle, name, (uint)length) == 0
                && DatagramCalls.SetOption(socket._handle, DatagramCalls.ProtocolIP, DatagramCalls.AddMembership, membership, 8) == 0
                && DatagramCalls.SetOption(socket._handle, DatagramCalls.ProtocolIP, DatagramCalls.MulticastInterface, membership + 4, 4) == 0
                // What other programs' groups bring, and other devices, is not for this socket.
                && socket.SetOption(DatagramCalls.ProtocolIP, DatagramCalls.MulticastAll, 0) == 0
                && socket.SetOption(DatagramCalls.ProtocolIP, DatagramCalls.MulticastTimeToLive, 255) == 0)
            {
                return socket;
            }

            errno = Marshal.GetLastPInvokeError();
            socket.Dispose();
        }

        throw new IOException($"The group {group} cannot be joined at {local}: {DatagramErrors.Describe(errno)}.");
    }

    /// <summary>Sends the datagrams of all clients to the socket at place <paramref name="index"/> of all that share the
    /// port, counted in the order in which they were bound. What has arrived here stays here.</summary>
    public void SteerTo(int index) => _ = ReusePortSteering.SteerTo(_handle.DangerousGetHandle().ToInt32(), index);

    /// <summary>Ends <see cref="SteerTo"/>, whoever began it.</summary>
    public void SpreadOverAll() => ReusePortSteering.End(_handle.DangerousGetHandle().ToInt32());

    /// <summary>Whether other sockets of this user may be bound beside this one. The kernel asks for the user id alone, so that uid 0
    /// without any capability could have a share of the datagrams.</summary>
    public void Share(bool isShared)
    {
        try
        {
            SetOption(DatagramCalls.SolSocket, DatagramCalls.SoReusePort, isShared ? 1 : 0);
        }
        catch (ObjectDisposedException)
        {
            // It has been closed, and nobody is kept away any more.
        }
    }

    /// <summary>A socket with mark <paramref name="mark"/> that talks to <paramref name="remote"/> only.</summary>
    /// <returns>0, or the error number.</returns>
    public static int TryConnect(in InetEndpoint remote, uint mark, out DatagramSocket? socket)
    {
        var errno = TryOpen(remote.Address.IsIPv6, mark, out socket);
        if (errno != 0)
            return errno;
        errno = socket!.Reconnect(remote);
        if (errno == 0)
            return 0;
        socket.Dispose();
        socket = null;
        return errno;
    }

    /// <summary>Takes over a connected, non-blocking datagram socket of any family.</summary>
    public static DatagramSocket Own(int descriptor) => Own(new DescriptorHandle(descriptor));

    /// <inheritdoc cref="Own(int)"/>
    public static DatagramSocket Own(DescriptorHandle descriptor) => new(descriptor);

    /// <summary>Another descriptor of the same socket; null when it is closed, or none is left.</summary>
    public DescriptorHandle? Duplicate() => _handle.Duplicate();

    /// <summary>Talks to <paramref name="remote"/> from now on; it must be of the socket's family.</summary>
    /// <returns>0, or the error number.</returns>
    public int Reconnect(in InetEndpoint remote)
    {
        var name = stackalloc byte[SocketName.MaximumBytes];
        var length = SocketName.Write(remote, new Span<byte>(name, SocketName.MaximumBytes));
        return DatagramCalls.Connect(_handle, name, (uint)length) == 0 ? 0 : Marshal.GetLastPInvokeError();
    }

    public InetEndpoint LocalEndpoint
    {
        get
        {
            var name = stackalloc byte[SocketName.MaximumBytes];
            uint length = SocketName.MaximumBytes;
            return DatagramCalls.GetName(_handle, name, &length) == 0
                ? SocketName.Read(new ReadOnlySpan<byte>(name, SocketName.MaximumBytes))
                : throw new IOException($"Asking for a socket's name failed: {DatagramErrors.Describe(Marshal.GetLastPInvokeError())}.");
        }
    }

    public void Dispose() => _handle.Dispose();

    private static int TryOpen(bool ipv6, uint mark, out DatagramSocket? socket)
    {
        socket = null;
        var handle = DatagramCalls.Socket(
            ipv6 ? DatagramCalls.AfInet6 : DatagramCalls.AfInet, DatagramCalls.SockDgram | DatagramCalls.SockNonblockCloexec, 0);
        var errno = handle.IsInvalid ? Marshal.GetLastPInvokeError() : 0;
        if (errno == 0 && mark != 0
            && DatagramCalls.SetOption(handle, DatagramCalls.SolSocket, DatagramCalls.SoMark, &mark, sizeof(uint)) != 0)
        {
            // Without the mark our own rules would catch the datagram and bring it back.
            errno = Marshal.GetLastPInvokeError();
        }

        if (errno != 0)
        {
            handle.Dispose();
            return errno;
        }

        socket = new DatagramSocket(handle);
        return 0;
    }

    private void WantBuffer(int forced, int limited, int bytes)
    {
        if (SetOption(DatagramCalls.SolSocket, forced, bytes) != 0)
            SetOption(DatagramCalls.SolSocket, limited, bytes);
    }

    private int SetOption(int level, int name, int value) => DatagramCalls.SetOption(_handle, level, name, &value, sizeof(int));
}
