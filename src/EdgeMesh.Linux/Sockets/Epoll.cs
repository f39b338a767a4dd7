using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace EdgeMesh.Linux.Sockets;

/// <summary>Bits of an epoll registration or event (epoll_ctl(2)).</summary>
[Flags]
public enum EpollEvents : uint
{
    None = 0,
    In = 0x001,
    Priority = 0x002,
    Out = 0x004,
    Error = 0x008,
    HangUp = 0x010,
    ReadHangUp = 0x2000,
    EdgeTriggered = 1u << 31,
}

/// <summary>An epoll instance and the buffer of its last batch of events. One thread waits; any thread may not.</summary>
public sealed unsafe class Epoll : IDisposable
{
    private const int EPOLL_CLOEXEC = 0x80000;
    private const int EPOLL_CTL_ADD = 1;
    private const int EPOLL_CTL_DEL = 2;
    private const int EPOLL_CTL_MOD = 3;

    private static readonly int DataOffset = DataOffsetOn(RuntimeInformation.ProcessArchitecture);
    private static readonly int EventSize = DataOffset + sizeof(ulong);

    private readonly DescriptorHandle _handle;
    private readonly byte[] _events;
    private readonly byte* _first;
    private readonly int _capacity;

    /// <param name="capacity">Most events that one wait returns.</param>
    public Epoll(int capacity)
    {
        _handle = new DescriptorHandle(Libc.epoll_create1(EPOLL_CLOEXEC));
        if (_handle.IsInvalid)
            throw new IOException($"An epoll instance could not be made: {Errno.Describe(-Libc.Failure())}.");
        _capacity = capacity;
        _events = GC.AllocateArray<byte>(capacity * EventSize, pinned: true);
        _first = (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_events));
    }

    /// <summary>Returns 0 or a negated errno. <paramref name="data"/> comes back with every event.</summary>
    public int Add(int descriptor, EpollEvents events, ulong data) => Control(EPOLL_CTL_ADD, descriptor, events, data);

    /// <inheritdoc cref="Add"/>
    public int Change(int descriptor, EpollEvents events, ulong data) => Control(EPOLL_CTL_MOD, descriptor, events, data);

    /// <summary>Closing a descriptor that was never duplicated does the same for free.</summary>
    public int Remove(int descriptor) => Control(EPOLL_CTL_DEL, descriptor, EpollEvents.None, 0);

    /// <summary>Waits and returns how many events can be read with <see cref="EventAt"/>; a signal counts as none.</summary>
    /// <param name="timeoutMilliseconds">0: do not wait; -1: without end.</param>
    public int Wait(int timeoutMilliseconds)
    {
        var count = Libc.epoll_wait(_handle.Descriptor, _first, _capacity, timeoutMilliseconds);
        if (count >= 0)
            return count;
        var errno = -Libc.Failure();
        return errno == Errno.EINTR ? 0 : throw new IOException($"Waiting for events failed: {Errno.Describe(errno)}.");
    }

    public EpollEvents EventAt(int index, out ulong data)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)_capacity, nameof(index));
        var entry = _first + (index * EventSize);
        data = Unsafe.ReadUnaligned<ulong>(entry + DataOffset);
        return Unsafe.ReadUnaligned<EpollEvents>(entry);
    }

    /// <summary>Lets whoever else wants this core have it; returns at once where nobody does (sched_yield(2)).</summary>
    public static void YieldCore() => _ = Libc.sched_yield();

    public void Dispose() => _handle.Dispose();

    /// <summary>struct epoll_event is packed on x86-64 and on no other architecture (uapi/linux/eventpoll.h).</summary>
    internal static int DataOffsetOn(Architecture processor) => processor == Architecture.X64 ? 4 : 8;

    private int Control(int operation, int descriptor, EpollEvents events, ulong data)
    {
        var change = stackalloc byte[16];
        Unsafe.WriteUnaligned(change, events);
        Unsafe.WriteUnaligned(change + DataOffset, data);
        return Libc.epoll_ctl(_handle.Descriptor, operation, descriptor, change) < 0 ? Libc.Failure() : 0;
    }
}
