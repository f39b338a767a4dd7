using System.Runtime.InteropServices;

namespace EdgeMesh.Linux.Netlink;

/// <summary>One netlink socket in the network namespace of the thread that opened it. Not thread safe.</summary>
internal sealed unsafe class NetlinkSocket : IDisposable
{
    internal const int ProtocolRoute = 0;
    internal const int ProtocolNetfilter = 12;

    internal const int FlagRequest = 0x1;
    internal const int FlagAcknowledge = 0x4;
    internal const int FlagExclusive = 0x200;
    internal const int FlagCreate = 0x400;
    internal const int FlagDump = 0x300;
    internal const int FlagReplace = 0x100;

    private readonly NetlinkHandle _handle;
    private readonly byte[] _buffer;
    private uint _sequence;

    private NetlinkSocket(NetlinkHandle handle, int bufferBytes)
    {
        _handle = handle;
        _buffer = GC.AllocateUninitializedArray<byte>(bufferBytes, pinned: true);
    }

    internal NetlinkHandle Handle => _handle;

    /// <param name="deadline">Longest wait of one receive.</param>
    /// <param name="bufferBytes">The kernel fills a dump's answers up to 32 KiB at a time when the reader's buffer is that large.</param>
    internal static NetlinkSocket Open(int protocol, TimeSpan deadline, int bufferBytes = 32 * 1024)
    {
        var handle = NetlinkCalls.Socket(NetlinkCalls.AfNetlink, NetlinkCalls.SockRaw | NetlinkCalls.SockCloexec, protocol);
        if (handle.IsInvalid)
        {
            var errno = Marshal.GetLastPInvokeError();
            handle.Dispose();
            throw new NetlinkException($"Opening a netlink socket (protocol {protocol})", errno);
        }

        var socket = new NetlinkSocket(handle, bufferBytes);
        var wait = new NetlinkCalls.Timeval
        {
            Seconds = (nint)deadline.TotalSeconds,
            Microseconds = (nint)(deadline.Ticks % TimeSpan.TicksPerSecond / 10),
        };
        NetlinkCalls.SetOption(handle, NetlinkCalls.SolSocket, NetlinkCalls.SoRcvTimeo, &wait, (uint)sizeof(NetlinkCalls.Timeval));
        NetlinkCalls.SetOption(handle, NetlinkCalls.SolSocket, NetlinkCalls.SoSndTimeo, &wait, (uint)sizeof(NetlinkCalls.Timeval));
        var address = new NetlinkCalls.SockaddrNl { Family = NetlinkCalls.AfNetlink };
        if (NetlinkCalls.Bind(handle, &address, (uint)sizeof(NetlinkCalls.SockaddrNl)) != 0)
        {
            var errno = Marshal.GetLastPInvokeError();
            socket.Dispose();
            throw new NetlinkException($"Binding a netlink socket (protocol {protocol})", errno);
        }

        return socket;
    }

    internal uint NextSequence() => ++_sequence;

    /// <summary>Larger than net.core.rmem_max where the process may, else as large as it may.</summary>
    internal void SetReceiveBuffer(int bytes)
    {
        if (NetlinkCalls.SetOption(_handle, NetlinkCalls.SolSocket, NetlinkCalls.SoRcvBufForce, &bytes, sizeof(int)) != 0)
            NetlinkCalls.SetOption(_handle, NetlinkCalls.SolSocket, NetlinkCalls.SoRcvBuf, &bytes, sizeof(int));
    }

    /// <summary>As <see cref="SetReceiveBuffer"/>.</summary>
    internal void SetSendBuffer(int bytes)
    {
        if (NetlinkCalls.SetOption(_handle, NetlinkCalls.SolSocket, NetlinkCalls.SoSndBufForce, &bytes, sizeof(int)) != 0)
            NetlinkCalls.SetOption(_handle, NetlinkCalls.SolSocket, NetlinkCalls.SoSndBuf, &bytes, sizeof(int));
    }

    internal void JoinGroup(int group, string what)
    {
        if (NetlinkCalls.SetOption(_handle, NetlinkCalls.SolNetlink, NetlinkCalls.NetlinkAddMembership, &group, sizeof(int)) != 0)
            throw new NetlinkException(what, Marshal.GetLastPInvokeError());
    }

    /// <returns>0, or the error number.</returns>
    internal int Send(ReadOnlySpan<byte> messages)
    {
        fixed (byte* data = messages)
        {
            while (NetlinkCalls.Send(_handle, data, (nuint)messages.Length, 0) < 0)
            {
                var errno = Marshal.GetLastPInvokeError();
                if (errno != NetlinkCalls.Eintr)
                    return errno;
            }
        }

        return 0;
    }

    /// <summary>The next buffer of messages, valid until the next call.</summary>
    /// <returns>0, or the error number; EAGAIN when the deadline passed (or nothing waits).</returns>
    internal int Receive(out ReadOnlySpan<byte> messages, bool wait = true)
    {
        messages = default;
        while (true)
        {
            nint length;
            fixed (byte* data = _buffer)
            {
                length = NetlinkCalls.Receive(
                    _handle, data, (nuint)_buffer.Length, NetlinkCalls.MsgTrunc | (wait ? 0 : NetlinkCalls.MsgDontWait));
            }

            if (length >= 0)
            {
                // MSG_TRUNC gives the true length; what did not fit is lost, and the walk stops at the cut message.
                messages = _buffer.AsSpan(0, (int)Math.Min(length, _buffer.Length));
                return 0;
            }

            var errno = Marshal.GetLastPInvokeError();
            if (errno != NetlinkCalls.Eintr)
                return errno;
        }
    }

    /// <summary>Sends one request that asks for an acknowledgement and waits for it.</summary>
    /// <returns>0, or the error number.</returns>
    internal int Request(ReadOnlySpan<byte> message, uint sequence)
    {
        var errno = Send(message);
        if (errno != 0)
            return errno;
        while (true)
        {
            errno = Receive(out var data);
            if (errno != 0)
                return errno;
            var messages = new NetlinkMessages(data);
            while (messages.MoveNext())
            {
                if (messages.Sequence == sequence && messages.Type == NetlinkMessages.TypeError)
                    return messages.Errno;
            }
        }
    }

    internal delegate void OnMessage(int type, ReadOnlySpan<byte> payload);

    /// <summary>Sends a request and hands over every answer until the end of the dump, or the one answer of a plain get.</summary>
    /// <param name="interrupted">The kernel says that its table changed meanwhile, so entries may be missing or doubled.</param>
    /// <returns>0, or the error number.</returns>
    internal int Query(ReadOnlySpan<byte> message, uint sequence, bool dump, OnMessage onMessage, out bool interrupted)
    {
        interrupted = false;
        var errno = Send(message);
        if (errno != 0)
            return errno;
        while (true)
        {
            errno = Receive(out var data);
            if (errno != 0)
                return errno;
            var messages = new NetlinkMessages(data);
            while (messages.MoveNext())
            {
                if (messages.Sequence != sequence)
                    continue;
                interrupted |= (messages.Flags & NetlinkMessages.FlagDumpInterrupted) != 0;
                switch (messages.Type)
                {
                    case NetlinkMessages.TypeDone:
                        return 0;
                    case NetlinkMessages.TypeError:
                        return messages.Errno;
                    case NetlinkMessages.TypeOverrun:
                        return NetlinkCalls.Enobufs;
                    default:
                        onMessage(messages.Type, messages.Payload);
                        if (!dump)
                            return 0;
                        break;
                }
            }
        }
    }

    public void Dispose() => _handle.Dispose();
}
