namespace EdgeMesh.Linux.Sockets;

/// <summary>Wakes <see cref="Epoll.Wait"/> once after a time: a timerfd. A timeout given to every wait would start and
/// cancel a kernel timer per wait, which costs more than the wait itself.</summary>
public sealed unsafe class LoopTimer : IDisposable
{
    private const int CLOCK_MONOTONIC = 1;
    private const int TFD_NONBLOCK_CLOEXEC = 0x800 | 0x80000;

    private readonly DescriptorHandle _handle;

    public LoopTimer()
    {
        _handle = new DescriptorHandle(Libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK_CLOEXEC));
        if (_handle.IsInvalid)
            throw new IOException($"A timerfd could not be made: {Errno.Describe(-Libc.Failure())}.");
    }

    public int Descriptor => _handle.Descriptor;

    /// <summary>Fires once, in place of whatever was set before; setting also takes a firing back.</summary>
    /// <param name="milliseconds">Above 0.</param>
    public void Set(int milliseconds)
    {
        var value = new Libc.TimerSpec { Seconds = milliseconds / 1000, Nanoseconds = milliseconds % 1000 * 1_000_000 };
        _ = Libc.timerfd_settime(_handle.Descriptor, 0, &value, null);
    }

    public void Dispose() => _handle.Dispose();
}
