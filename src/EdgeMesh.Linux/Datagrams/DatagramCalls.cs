using System.Runtime.InteropServices;
using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Linux.Datagrams;

/// <summary>The system calls of this folder. Results are the call's, or a negated error number.</summary>
internal static unsafe partial class DatagramCalls
{
    internal const int AfInet = 2;
    internal const int AfInet6 = 10;
    internal const int SockDgram = 2;
    internal const int SockNonblockCloexec = 0x800 | 0x80000;

    internal const int ProtocolIP = 0;
    internal const int MulticastInterface = 32;
    internal const int MulticastTimeToLive = 33;
    internal const int AddMembership = 35;
    internal const int MulticastAll = 49;

    internal const int SolSocket = 1;
    internal const int SoReuseAddr = 2;
    internal const int SoSndBuf = 7;
    internal const int SoRcvBuf = 8;
    internal const int SoReusePort = 15;
    internal const int SoSndBufForce = 32;
    internal const int SoRcvBufForce = 33;
    internal const int SoMark = 36;
    internal const int ProtocolIPv6 = 41;
    internal const int IPv6Only = 26;

    internal const int MsgDontWait = 0x40;
    internal const int MsgNoSignal = 0x4000;

    /// <summary>struct msghdr; the C library's padding falls out of the field types on 32 and 64 bits.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct MessageHeader
    {
        internal byte* Name;
        internal uint NameLength;
        internal Vector* Vectors;
        internal nuint VectorCount;
        internal byte* Control;
        internal nuint ControlLength;
        internal int Flags;
    }

    /// <summary>struct mmsghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct BatchedMessage
    {
        internal MessageHeader Header;
        internal uint Length;
    }

    /// <summary>struct iovec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Vector
    {
        internal byte* Start;
        internal nuint Length;
    }

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    internal static partial DescriptorHandle Socket(int domain, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "bind", SetLastError = true)]
    internal static partial int Bind(DescriptorHandle socket, byte* address, uint length);

    [LibraryImport("libc", EntryPoint = "connect", SetLastError = true)]
    internal static partial int Connect(DescriptorHandle socket, byte* address, uint length);

    [LibraryImport("libc", EntryPoint = "getsockname", SetLastError = true)]
    internal static partial int GetName(DescriptorHandle socket, byte* address, uint* length);

    [LibraryImport("libc", EntryPoint = "setsockopt", SetLastError = true)]
    internal static partial int SetOption(DescriptorHandle socket, int level, int name, void* value, uint length);

    [LibraryImport("libc", EntryPoint = "recvmmsg", SetLastError = true)]
    internal static partial int ReceiveMany(DescriptorHandle socket, BatchedMessage* messages, uint count, int flags, void* timeout);

    [LibraryImport("libc", EntryPoint = "sendmmsg", SetLastError = true)]
    internal static partial int SendMany(DescriptorHandle socket, BatchedMessage* messages, uint count, int flags);
}
