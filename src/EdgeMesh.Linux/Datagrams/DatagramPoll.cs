using System.Runtime.InteropServices;

namespace EdgeMesh.Linux.Datagrams;

/// <summary>Waits for datagrams on many sockets (epoll, level triggered), and can be woken. One thread waits; any may wake.</summary>
public sealed unsafe class DatagramPoll : IDisposable
{
    /// <summary>What <see cref="DataAt"/> gives for a wake-up.</summary>
    public const ulong WakeData = ulong.MaxValue;

    private const int EventsPerWait = 64;
    private const int Cloexec = 0x80000;
    private const int ControlAdd = 1;
    private const uint EventIn = 1;

    // struct epoll_event is packed on x86-64 and on no other architecture (uapi/linux/eventpoll.h).
    private static readonly int DataOffset = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 4 : 8;
    private static readonly int EventBytes = DataOffset + sizeof(ulong);

    private readonly DatagramHandle _epoll;
    private readonly DatagramHandle _wake;
    private readonly byte[] _events = GC.AllocateArray<byte>(EventsPerWait * 16, pinned: true);

    public DatagramPoll()
    {
        _epoll = DatagramCalls.EpollCreate(Cloexec);
        if (_epoll.IsInvalid)
            throw new IOException($"An epoll instance cannot be made: {DatagramErrors.Describe(Marshal.GetLastPInvokeError())}.");
        // EFD_NONBLOCK | EFD_CLOEXEC
        _wake = DatagramCalls.EventDescriptor(0, 0x800 | Cloexec);
        var errno = _wake.IsInvalid ? Marshal.GetLastPInvokeError() : Add(_wake, WakeData);
        if (errno == 0)
            return;
        _wake.Dispose();
        _epoll.Dispose();
        throw new IOException($"An event descriptor cannot be made: {DatagramErrors.Describe(errno)}.");
    }

    /// <summary>From now on <see cref="Wait"/> reports <paramref name="data"/> while datagrams or errors wait at the socket.
    /// Disposing the socket ends it.</summary>
    /// <returns>0, or the error number.</returns>
    public int Add(DatagramSocket socket, ulong data) => Add(socket.Handle, data);

    /// <returns>How many sockets have something; a signal counts as none.</returns>
    public int Wait(int timeoutMilliseconds)
    {
        fixed (byte* events = _events)
        {
            var count = DatagramCalls.EpollWait(_epoll, events, EventsPerWait, timeoutMilliseconds);
            if (count >= 0)
                return count;
        }

        var errno = Marshal.GetLastPInvokeError();
        // EINTR
        return errno == 4 ? 0 : throw new IOException($"Waiting for datagrams failed: {DatagramErrors.Describe(errno)}.");
    }

    public ulong DataAt(int index) => MemoryMarshal.Read<ulong>(_events.AsSpan((index * EventBytes) + DataOffset));

    /// <summary>Harmless after disposal: who wakes may race with who ends.</summary>
    public void Wake()
    {
        try
        {
            ulong one = 1;
            DatagramCalls.Write(_wake, &one, sizeof(ulong));
        }
        catch (ObjectDisposedException)
        {
            // The thread to wake has gone.
        }
    }

    /// <summary>Takes the wake-up back; for the woken thread.</summary>
    public void Reset()
    {
        ulong count;
        DatagramCalls.Read(_wake, &count, sizeof(ulong));
    }

    public void Dispose()
    {
        _wake.Dispose();
        _epoll.Dispose();
    }

    private int Add(DatagramHandle descriptor, ulong data)
    {
        var change = stackalloc byte[16];
        MemoryMarshal.Write(new Span<byte>(change, 4), EventIn);
        MemoryMarshal.Write(new Span<byte>(change + DataOffset, 8), data);
        return DatagramCalls.EpollControl(_epoll, ControlAdd, descriptor, change) == 0 ? 0 : Marshal.GetLastPInvokeError();
    }
}
