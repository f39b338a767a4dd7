using System.Runtime.InteropServices;

namespace EdgeMesh.Linux.Sockets;

/// <summary>Which of the sockets that share a port gets what arrives (SO_REUSEPORT). The program belongs to the group, not
/// to the socket or the process that attached it, and stays when they are gone: somebody has to end it.</summary>
/// <remarks>The group is an array in the order in which its sockets began to listen; when one closes, the last takes its
/// place (net/core/sock_reuseport.c).</remarks>
internal static unsafe class ReusePortSteering
{
    private const ushort BPF_RET_K = 0x06;

    /// <summary>Sends everything new to the socket at one place. Where the array is shorter than that, the kernel spreads
    /// over all as if there were no program. Returns 0 or a negated errno.</summary>
    internal static int SteerTo(int descriptor, int place)
    {
        ReadOnlySpan<FilterInstruction> program = [new() { Code = BPF_RET_K, Constant = (uint)place }];
        return Attach(descriptor, program);
    }

    /// <summary>That no program is attached is no fault, and a kernel before 5.3 cannot do it: there the program stays.</summary>
    internal static void End(int descriptor)
    {
        var unused = 0;
        _ = Libc.setsockopt(descriptor, SocketOption.SOL_SOCKET, SocketOption.SO_DETACH_REUSEPORT_BPF, &unused, sizeof(int));
    }

    private static int Attach(int descriptor, ReadOnlySpan<FilterInstruction> instructions)
    {
        fixed (FilterInstruction* first = instructions)
        {
            var program = new FilterProgram { Length = (ushort)instructions.Length, Instructions = first };
            return Libc.setsockopt(descriptor, SocketOption.SOL_SOCKET, SocketOption.SO_ATTACH_REUSEPORT_CBPF, &program, (uint)sizeof(FilterProgram)) < 0
                ? Libc.Failure()
                : 0;
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct FilterInstruction
    {
        public ushort Code;
        public byte JumpTrue;
        public byte JumpFalse;
        public uint Constant;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct FilterProgram
    {
        public ushort Length;
        public FilterInstruction* Instructions;
    }
}
