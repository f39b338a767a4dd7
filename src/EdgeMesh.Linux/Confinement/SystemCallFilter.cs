using System.Runtime.InteropServices;
using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Linux.Confinement;

/// <summary>A seccomp filter for this process and what it starts: system calls by which a process looks into others, changes
/// the kernel or leaves its namespaces fail with EPERM.</summary>
/// <remarks>A list of what is forbidden, not of what is allowed: the agent starts programs of the node (iptables, nft, plug-ins of a
/// kubeconfig), and a list of what some C library of tomorrow may call cannot be complete. Where a list of what is
/// allowed is wanted, deploy/seccomp has one for containers.</remarks>
internal static unsafe class SystemCallFilter
{
    private const int SECCOMP_SET_MODE_FILTER = 1;
    private const int SECCOMP_FILTER_FLAG_TSYNC = 1;
    private const uint SECCOMP_RET_ALLOW = 0x7fff0000;
    private const uint SECCOMP_RET_ERRNO = 0x00050000;
    private const uint EPERM = 1;

    // Offsets in struct seccomp_data.
    private const uint NumberOffset = 0;
    private const uint ArchitectureOffset = 4;

    // Classic BPF: load a word at an absolute offset, compare, return (linux/filter.h).
    private const ushort LoadWord = 0x20;
    private const ushort JumpIfEqual = 0x15;
    private const ushort JumpIfGreaterOrEqual = 0x35;
    private const ushort Return = 0x06;

    /// <returns>Why it could not be installed, or null.</returns>
    public static string? Install()
    {
        if (NumbersOn(RuntimeInformation.ProcessArchitecture) is not { } numbers)
            return "no list for this processor";
        var program = Program(numbers.Architecture, numbers.Forbidden);
        fixed (Instruction* instructions = program)
        {
            var header = new Header { Length = (ushort)program.Length, Instructions = instructions };
            // All threads at once: the runtime has had some for a while.
            return Libc.syscall(numbers.Seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, (nint)(&header)) switch
            {
                0 => null,
                > 0 => "a thread could not be brought under it",
                _ => Errno.Describe(-Libc.Failure()),
            };
        }
    }

    /// <summary>The filter as the kernel takes it. Calls of another architecture of the same processor are refused as a whole,
    /// since their numbers mean something else.</summary>
    internal static Instruction[] Program(uint architecture, ReadOnlySpan<ushort> forbidden)
    {
        var program = new List<Instruction>
        {
            new(LoadWord, 0, 0, ArchitectureOffset),
            new(JumpIfEqual, 1, 0, architecture),
            new(Return, 0, 0, SECCOMP_RET_ERRNO | EPERM),
            new(LoadWord, 0, 0, NumberOffset),
            // x86-64 has its x32 calls from here on; nowhere else are there numbers as high.
            new(JumpIfGreaterOrEqual, 0, 1, 0x40000000),
            new(Return, 0, 0, SECCOMP_RET_ERRNO | EPERM),
        };
        foreach (var number in forbidden)
        {
            program.Add(new(JumpIfEqual, 0, 1, number));
            program.Add(new(Return, 0, 0, SECCOMP_RET_ERRNO | EPERM));
        }

        program.Add(new(Return, 0, 0, SECCOMP_RET_ALLOW));
        return [.. program];
    }

    internal static (uint Architecture, nint Seccomp, ushort[] Forbidden)? NumbersOn(Architecture processor) => processor switch
    {
        // AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64 (linux/audit.h).
        Architecture.X64 => (0xc000003e, 317, ForbiddenX64),
        Architecture.Arm64 => (0xc00000b7, 277, ForbiddenArm64),
        _ => null,
    };

    /// <summary>Numbers of <c>asm/unistd_64.h</c>.</summary>
    internal static ushort[] ForbiddenX64 { get; } =
    [
        101, 310, 311, 312, 438, // ptrace, process_vm_readv, process_vm_writev, kcmp, pidfd_getfd
        246, 320, 169, 174, 175, 313, 176, // kexec_load, kexec_file_load, reboot, create_module, init_module, finit_module, delete_module
        165, 166, 155, 428, 429, 430, 431, 432, 433, 442, // mount, umount2, pivot_root, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr
        272, 308, // unshare, setns
        321, 298, 323, // bpf, perf_event_open, userfaultfd
        248, 249, 250, // add_key, request_key, keyctl
        304, 300, // open_by_handle_at, fanotify_init
        167, 168, 163, 179, 103, // swapon, swapoff, acct, quotactl, syslog
        // Not adjtimex: it says whether anybody keeps the clock right, and sets nothing without CAP_SYS_TIME.
        164, 227, 305, // settimeofday, clock_settime, clock_adjtime
        170, 171, 172, 173, // sethostname, setdomainname, iopl, ioperm
        425, 426, 427, // io_uring_setup, io_uring_enter, io_uring_register
    ];

    /// <summary>Numbers of <c>asm-generic/unistd.h</c>, the same calls as far as they exist.</summary>
    internal static ushort[] ForbiddenArm64 { get; } =
    [
        117, 270, 271, 272, 438,
        104, 294, 142, 105, 273, 106,
        40, 39, 41, 428, 429, 430, 431, 432, 433, 442,
        97, 268,
        280, 241, 282,
        217, 218, 219,
        265, 262,
        224, 225, 89, 60, 116,
        170, 112, 266,
        161, 162,
        425, 426, 427,
    ];

    /// <summary><c>struct sock_filter</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal readonly record struct Instruction(ushort Code, byte IfTrue, byte IfFalse, uint Operand);

    /// <summary><c>struct sock_fprog</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Header
    {
        public ushort Length;
        public Instruction* Instructions;
    }
}
