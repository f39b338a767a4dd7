using System.Runtime.InteropServices;

namespace EdgeMesh.Linux.Sockets;

/// <summary>Owns one descriptor. The data path works on <see cref="Descriptor"/> while the owner of the handle is alive.</summary>
public sealed class DescriptorHandle : SafeHandle
{
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

    /// <summary>The raw number; valid only while this handle is not disposed.</summary>
    public int Descriptor => (int)handle;

    protected override bool ReleaseHandle() => Libc.close((int)handle) == 0;
}
