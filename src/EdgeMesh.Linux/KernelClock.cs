using System.Runtime.InteropServices;
using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Linux;

/// <summary>What the kernel knows of its wall clock.</summary>
public static unsafe class KernelClock
{
    private const int STA_UNSYNC = 0x40;

    /// <summary>The length of struct timex, and where its status is; modes, which is 0 here (a question), is its first field.</summary>
    private const int TIMEX_LENGTH = 208;
    private const int TIMEX_STATUS = 40;

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
            var answer = stackalloc byte[TIMEX_LENGTH];
            new Span<byte>(answer, TIMEX_LENGTH).Clear();
            return number is null || Libc.syscall(number.Value, (nint)answer, 0, 0) < 0 || (*(int*)(answer + TIMEX_STATUS) & STA_UNSYNC) == 0;
        }
    }
}
