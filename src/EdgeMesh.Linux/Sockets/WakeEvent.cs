namespace EdgeMesh.Linux.Sockets;

/// <summary>Wakes a thread out of <see cref="Epoll.Wait"/>: an eventfd. Any thread may set it.</summary>
public sealed unsafe class WakeEvent : IDisposable
{
    internal const int EFD_NONBLOCK_CLOEXEC = 0x800 | 0x80000;

    private readonly DescriptorHandle _handle;

    public WakeEvent()
    {
        _handle = new DescriptorHandle(Libc.eventfd(0, EFD_NONBLOCK_CLOEXEC));
        if (_handle.IsInvalid)
            throw new IOException($"An eventfd could not be made: {Errno.Describe(-Libc.Failure())}.");
    }

    public int Descriptor => _handle.Descriptor;

    /// <summary>Harmless after disposal: who wakes may race with who stops.</summary>
    public void Set()
    {
        var added = false;
        try
        {
            _handle.DangerousAddRef(ref added);
            ulong one = 1;
            _ = Libc.write(_handle.Descriptor, (byte*)&one, sizeof(ulong));
        }
        catch (ObjectDisposedException)
        {
            // The thread to wake has gone.
        }
        finally
        {
            if (added)
                _handle.DangerousRelease();
        }
    }

    /// <summary>Takes the wake-up back; for the woken thread.</summary>
    public void Reset()
    {
        ulong count;
        _ = Libc.read(_handle.Descriptor, (byte*)&count, sizeof(ulong));
    }

    public void Dispose() => _handle.Dispose();
}
