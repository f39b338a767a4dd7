using System.Runtime.InteropServices;

namespace EdgeMesh.Linux.Datagrams;

/// <summary>Two unnamed AF_UNIX sockets of sequenced packets, connected to each other (socketpair(2)): borders are kept, and when
/// one end is closed the other is told: a hang-up in epoll, EPIPE for who sends. Plain datagram sockets say nothing to an end
/// that only listens.</summary>
/// <remarks>What was sent before the end can still be read. Then each read gives 0 bytes, as an empty datagram does:
/// <see cref="IsOtherEndClosed"/> tells which it was.</remarks>
public static unsafe partial class DatagramPair
{
    private const int AF_UNIX = 1;
    private const int SOCK_SEQPACKET_NONBLOCK_CLOEXEC = 5 | 0x800 | 0x80000;
    private const short POLLRDHUP = 0x2000;

    /// <summary>Opens both, non-blocking; each belongs to the caller. Returns 0 or a negated errno.</summary>
    public static int TryOpen(out int one, out int other)
    {
        var ends = stackalloc int[2] { -1, -1 };
        var result = SocketPair(AF_UNIX, SOCK_SEQPACKET_NONBLOCK_CLOEXEC, 0, ends) < 0 ? -Marshal.GetLastSystemError() : 0;
        (one, other) = (ends[0], ends[1]);
        if (result < 0)
            return result;
        // The number of datagrams that wait in a connected pair has no bound but their bytes.
        DatagramDescriptor.WantBuffers(one, DatagramDescriptor.BufferBytes);
        DatagramDescriptor.WantBuffers(other, DatagramDescriptor.BufferBytes);
        return result;
    }

    /// <summary>Whether nobody is at the other end. False for a socket that is no end of a pair.</summary>
    public static bool IsOtherEndClosed(int descriptor)
    {
        var asked = new PollDescriptor { Descriptor = descriptor, Events = POLLRDHUP };
        return Poll(&asked, 1, 0) > 0 && (asked.Returned & POLLRDHUP) != 0;
    }

    [LibraryImport("libc", EntryPoint = "socketpair")]
    private static partial int SocketPair(int domain, int type, int protocol, int* ends);

    [LibraryImport("libc", EntryPoint = "poll")]
    private static partial int Poll(PollDescriptor* descriptors, nuint count, int milliseconds);

    /// <summary>struct pollfd (poll(2)).</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct PollDescriptor
    {
        public int Descriptor;
        public short Events;
        public short Returned;
    }
}
