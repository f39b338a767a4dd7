using System.Runtime.InteropServices;

namespace EdgeMesh.Linux.Sockets;

/// <summary>Owns one descriptor. The data path works on <see cref="Descriptor"/> while the owner of the handle is alive.</summary>
public sealed class DescriptorHandle : SafeHandle
{
    private const int F_DUPFD_CLOEXEC = 1030;

    public DescriptorHandle()
        : base(-1, ownsHandle: true)
    {
    }

    public DescriptorHandle(int descriptor)
        : base(-1, ownsHandle: true) => SetHandle(descriptor);

    public override bool IsInvalid => handle < 0;

    /// <summary>A descriptor held back so that one can be freed at the limit; null when none is left.</summary>
    public static DescriptorHandle? TryReserve()
    {
        var descriptor = Libc.eventfd(0, WakeEvent.EFD_NONBLOCK_CLOEXEC);
        return descriptor < 0 ? null : new DescriptorHandle(descriptor);
    }

    /// <summary>Another descriptor of the same thing; null when it is closed, or none is left.</summary>
    public DescriptorHandle? Duplicate()
    {
        var isHeld = false;
        try
        {
            DangerousAddRef(ref isHeld);
            var copy = Libc.fcntl(Descriptor, F_DUPFD_CLOEXEC, 0);
            return copy < 0 ? null : new DescriptorHandle(copy);
        }
        catch (ObjectDisposedException)
        {
            return null;
        }
        finally
        {
            if (isHeld)
                DangerousRelease();
        }
    }

    /// <summary>The raw number; valid only while this handle is not disposed.</summary>
    public int Descriptor => (int)handle;

    protected override bool ReleaseHandle() => Libc.close((int)handle) == 0;
}
