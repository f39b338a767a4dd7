using System.Runtime.InteropServices;
using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Linux;

/// <summary>What the kernel knows of its wall clock.</summary>
public static unsafe class KernelClock
{
    private const int StatusUnsynchronised = 0x40;

    /// <summary>struct timex has 208 bytes on 64-bit machines; modes, which is 0 here (a question), is its first field.</summary>
    private const int Length = 208;
    private const int StatusAt = 40;

    /// <summary>Whether a program keeps the clock in step with others (NTP, PTP): it says so to the kernel, and the kernel takes it
    /// back when somebody else sets the clock, or when nobody has confirmed it for hours. True where the kernel does not tell.</summary>
    public static bool IsSynchronised
    {
        get
        {
            // The C library's function asks by clock_adjtime(2), which can name clocks that are none of ours.
            nint? number = RuntimeInformation.ProcessArchitecture switch
            {
                Architecture.X64 => 159,
                Architecture.Arm64 => 171,
                _ => null,
            };
            var answer = stackalloc byte[Length];
            new Span<byte>(answer, Length).Clear();
            return number is null || Libc.syscall(number.Value, (nint)answer, 0, 0) < 0 || (*(int*)(answer + StatusAt) & StatusUnsynchronised) == 0;
        }
    }
}
