using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace EdgeMesh.Linux.Netlink;

internal sealed class NetlinkHandle() : SafeHandleMinusOneIsInvalid(ownsHandle: true)
{
    protected override bool ReleaseHandle() => NetlinkCalls.Close(handle) == 0;
}

/// <summary>The system calls of this folder. Names and numbers are the kernel's (include/uapi).</summary>
internal static unsafe partial class NetlinkCalls
{
    internal const int AfUnspec = 0;
    internal const int AfInet = 2;
    internal const int AfInet6 = 10;
    internal const int AfNetlink = 16;

    internal const int SockDgram = 2;
    internal const int SockRaw = 3;
    internal const int SockCloexec = 0x80000;
    internal const int IpProtoRaw = 255;

    internal const int SolSocket = 1;
    internal const int SoRcvBuf = 8;
    internal const int SoRcvTimeo = 20;
    internal const int SoSndTimeo = 21;
    internal const int SoAttachFilter = 26;
    internal const int SoRcvBufForce = 33;
    internal const int SoSndBuf = 7;
    internal const int SoSndBufForce = 32;
    internal const int SolNetlink = 270;
    internal const int NetlinkAddMembership = 1;

    internal const int MsgTrunc = 0x20;
    internal const int MsgDontWait = 0x40;

    internal const int Eperm = 1;
    internal const int Enoent = 2;
    internal const int Eintr = 4;
    internal const int Eagain = 11;
    internal const int Enomem = 12;
    internal const int Eacces = 13;
    internal const int Ebusy = 16;
    internal const int Eexist = 17;
    internal const int Enodev = 19;
    internal const int Einval = 22;
    internal const int Erange = 34;
    internal const int Eprotonosupport = 93;
    internal const int Eopnotsupp = 95;
    internal const int Eafnosupport = 97;
    internal const int Eaddrnotavail = 99;
    internal const int Enobufs = 105;

    internal const short PollIn = 1;

    [StructLayout(LayoutKind.Sequential)]
    internal struct SockaddrNl
    {
        internal ushort Family;
        internal ushort Pad;
        internal uint Port;
        internal uint Groups;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct PollFd
    {
        internal int Descriptor;
        internal short Events;
        internal short Returned;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct Timeval
    {
        internal nint Seconds;
        internal nint Microseconds;
    }

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    internal static partial NetlinkHandle Socket(int domain, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "bind", SetLastError = true)]
    internal static partial int Bind(NetlinkHandle socket, SockaddrNl* address, uint length);

    [LibraryImport("libc", EntryPoint = "getsockname", SetLastError = true)]
    internal static partial int GetSocketName(NetlinkHandle socket, SockaddrNl* address, uint* length);

    [LibraryImport("libc", EntryPoint = "send", SetLastError = true)]
    internal static partial nint Send(NetlinkHandle socket, byte* data, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "recv", SetLastError = true)]
    internal static partial nint Receive(NetlinkHandle socket, byte* data, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "setsockopt", SetLastError = true)]
    internal static partial int SetOption(NetlinkHandle socket, int level, int name, void* value, uint length);

    [LibraryImport("libc", EntryPoint = "getsockopt", SetLastError = true)]
    internal static partial int GetOption(NetlinkHandle socket, int level, int name, void* value, uint* length);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    internal static partial int Poll(PollFd* descriptors, nuint count, int timeoutMilliseconds);

    [LibraryImport("libc", EntryPoint = "eventfd", SetLastError = true)]
    internal static partial NetlinkHandle EventDescriptor(uint initial, int flags);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    internal static partial nint Write(NetlinkHandle descriptor, void* data, nuint length);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    internal static partial int Close(nint descriptor);
}
