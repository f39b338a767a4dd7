using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Runtime.InteropServices;
using EdgeMesh.Linux.Sockets;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace EdgeMesh.Linux.Confinement;

/// <summary>What a process that runs as root gives up for good before it begins its work: capabilities, new privileges by a
/// started program, system calls that it has no use for, and the copy of its memory that a debugger or a core file would be.</summary>
/// <remarks>
/// Capabilities belong to a thread, and a runtime has threads before the first line of a program runs. So they are taken out
/// of the bounding set, and the program is executed anew in the same process: the kernel gives an executed program of root
/// no more than that set (capabilities(7)). A container or a unit that grants only what is needed makes this step unnecessary.
/// </remarks>
public static unsafe partial class ProcessConfinement
{
    private const int PR_SET_DUMPABLE = 4;
    private const int PR_CAPBSET_READ = 23;
    private const int PR_CAPBSET_DROP = 24;
    private const int PR_SET_NO_NEW_PRIVS = 38;
    private const int RLIMIT_CORE = 4;

    /// <summary>The step of <see cref="Enter"/> that executes the program anew, for the first line of a program: whatever comes
    /// before that step is done twice. What it cannot do, <see cref="Enter"/> tries again and tells of.</summary>
    /// <inheritdoc cref="Enter"/>
    public static void Begin(IReadOnlyCollection<Capability> keep, long descriptors)
    {
        _ = DescriptorLimit.TryRaise(descriptors);
        if (Libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) >= 0 && Drop(keep, NullLogger.Instance))
            _ = ExecuteAnew();
    }

    /// <summary>Confines this process. May execute the program anew, with the same arguments and process id.</summary>
    /// <param name="keep">Capabilities that the work needs; of the others none is left.</param>
    /// <param name="descriptors">The limit of open files to ask for while that is still allowed.</param>
    /// <param name="logger">Told once what this kernel or container does not allow. Nothing of this keeps a program from its work.</param>
    public static void Enter(IReadOnlyCollection<Capability> keep, long descriptors, ILogger logger)
    {
        _ = DescriptorLimit.TryRaise(descriptors);
        if (Libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
            LogNotConfined(logger, "new privileges of started programs", Errno.Describe(-Libc.Failure()));
        if (Drop(keep, logger) && ExecuteAnew() is { } reason)
            LogNotConfined(logger, "capabilities", reason);

        var none = default(Libc.ResourceLimit);
        if (Libc.setrlimit(RLIMIT_CORE, &none) < 0)
            LogNotConfined(logger, "core files", Errno.Describe(-Libc.Failure()));
        if (Libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
            LogNotConfined(logger, "its memory", Errno.Describe(-Libc.Failure()));
        if (SystemCallFilter.Install() is { } refused)
            LogNotConfined(logger, "system calls", refused);
    }

    /// <returns>Whether the process holds less after its program has been executed anew.</returns>
    private static bool Drop(IReadOnlyCollection<Capability> keep, ILogger logger)
    {
        var dropped = false;
        // The kernel says where its capabilities end: asking for one that it does not know is an error.
        for (var capability = 0; Libc.prctl(PR_CAPBSET_READ, (nuint)capability, 0, 0, 0) is var held and >= 0; capability++)
        {
            if (held == 0 || keep.Contains((Capability)capability))
                continue;
            if (Libc.prctl(PR_CAPBSET_DROP, (nuint)capability, 0, 0, 0) < 0)
            {
                // Without CAP_SETPCAP nothing can be dropped; a process that is not root has nothing to drop either.
                if (Environment.IsPrivilegedProcess)
                    LogNotConfined(logger, "capabilities", Errno.Describe(-Libc.Failure()));
                return dropped;
            }

            dropped = true;
        }

        return dropped;
    }

    /// <returns>Why it did not happen; it does not return otherwise.</returns>
    private static string? ExecuteAnew()
    {
        if (Environment.ProcessPath is not { } program || Arguments() is not [.., 0] arguments)
            return "the program's path or arguments cannot be read";

        var count = arguments.AsSpan().Count((byte)0);
        var list = (byte**)NativeMemory.AllocZeroed((nuint)(count + 1), (nuint)sizeof(byte*));
        fixed (byte* text = arguments)
        {
            for (int i = 0, from = 0; i < count; i++)
            {
                list[i] = text + from;
                from += arguments.AsSpan(from).IndexOf((byte)0) + 1;
            }

            var path = Marshal.StringToCoTaskMemUTF8(program);
            _ = Libc.execv((byte*)path, list);
            var failure = Errno.Describe(-Libc.Failure());
            Marshal.FreeCoTaskMem(path);
            NativeMemory.Free(list);
            return string.Create(CultureInfo.InvariantCulture, $"{program} could not be executed anew: {failure}");
        }
    }

    private static byte[] Arguments()
    {
        try
        {
            return File.ReadAllBytes("/proc/self/cmdline");
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    [LoggerMessage(2110, LogLevel.Information, "This system does not let the agent confine {What} ({Reason}); it works without.")]
    private static partial void LogNotConfined(ILogger logger, string what, string reason);
}

/// <summary>Capabilities by their number in <c>linux/capability.h</c>; only those that somebody here asks for.</summary>
[SuppressMessage("Design", "CA1027:Mark enums with FlagsAttribute", Justification = "Numbers of bits, not bits.")]
public enum Capability
{
    /// <summary>Listen on ports below 1024.</summary>
    NetBindService = 10,

    /// <summary>Rules, devices, marks, conntrack.</summary>
    NetAdmin = 12,

    /// <summary>Raw sockets, by which iptables-legacy speaks to the kernel.</summary>
    NetRaw = 13,
}
