using System.Runtime.InteropServices;

namespace EdgeMesh.Linux.Datagrams;

/// <summary>Two unnamed AF_UNIX datagram sockets connected to each other (socketpair(2)): borders are kept, and who sends to an
/// end that is closed gets ECONNREFUSED, as from a UDP port where nobody listens.</summary>
public static unsafe partial class DatagramPair
{
    private const int AF_UNIX = 1;
    private const int SOCK_DGRAM_NONBLOCK_CLOEXEC = 2 | 0x800 | 0x80000;

    /// <summary>Opens both, non-blocking; each belongs to the caller. Returns 0 or a negated errno.</summary>
    public static int TryOpen(out int one, out int other)
    {
        var ends = stackalloc int[2] { -1, -1 };
        var result = SocketPair(AF_UNIX, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0, ends) < 0 ? -Marshal.GetLastSystemError() : 0;
        (one, other) = (ends[0], ends[1]);
        if (result < 0)
            return result;
        // The number of datagrams that wait in a connected pair has no bound but their bytes.
        DatagramDescriptor.WantBuffers(one, DatagramDescriptor.BufferBytes);
        DatagramDescriptor.WantBuffers(other, DatagramDescriptor.BufferBytes);
        return result;
    }

    [LibraryImport("libc", EntryPoint = "socketpair")]
    private static partial int SocketPair(int domain, int type, int protocol, int* ends);
}
