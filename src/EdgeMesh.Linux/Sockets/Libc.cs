using System.Runtime.InteropServices;
using EdgeMesh.Linux.Datagrams;

namespace EdgeMesh.Linux.Sockets;

/// <summary>The C library's calls of the data path. They do not set the runtime's last error: the hot path asks for errno
/// only after a failure, and nothing runs between the call and the question.</summary>
internal static unsafe partial class Libc
{
    private const string Library = "libc";

    [LibraryImport(Library)]
    internal static partial int socket(int domain, int type, int protocol);

    [LibraryImport(Library)]
    internal static partial int bind(int descriptor, byte* address, uint length);

    [LibraryImport(Library)]
    internal static partial int listen(int descriptor, int backlog);

    [LibraryImport(Library)]
    internal static partial int accept4(int descriptor, byte* address, uint* length, int flags);

    [LibraryImport(Library)]
    internal static partial int connect(int descriptor, byte* address, uint length);

    [LibraryImport(Library)]
    internal static partial int getsockname(int descriptor, byte* address, uint* length);

    [LibraryImport(Library)]
    internal static partial int getpeername(int descriptor, byte* address, uint* length);

    [LibraryImport(Library)]
    internal static partial int setsockopt(int descriptor, int level, int name, void* value, uint length);

    [LibraryImport(Library)]
    internal static partial int getsockopt(int descriptor, int level, int name, void* value, uint* length);

    [LibraryImport(Library)]
    internal static partial nint recv(int descriptor, byte* buffer, nuint length, int flags);

    [LibraryImport(Library)]
    internal static partial nint send(int descriptor, byte* buffer, nuint length, int flags);

    [LibraryImport(Library)]
    internal static partial nint sendmsg(int descriptor, DatagramCalls.MessageHeader* message, int flags);

    [LibraryImport(Library)]
    internal static partial nint recvmsg(int descriptor, DatagramCalls.MessageHeader* message, int flags);

    [LibraryImport(Library)]
    internal static partial nint read(int descriptor, byte* buffer, nuint length);

    [LibraryImport(Library)]
    internal static partial nint write(int descriptor, byte* buffer, nuint length);

    [LibraryImport(Library)]
    internal static partial nint splice(int from, long* fromOffset, int to, long* toOffset, nuint length, uint flags);

    [LibraryImport(Library)]
    internal static partial int pipe2(int* ends, int flags);

    [LibraryImport(Library)]
    internal static partial int fcntl(int descriptor, int command, nint argument);

    [LibraryImport(Library)]
    internal static partial int ioctl(int descriptor, nuint request, void* argument);

    [LibraryImport(Library)]
    internal static partial int shutdown(int descriptor, int how);

    [LibraryImport(Library)]
    internal static partial int close(int descriptor);

    [LibraryImport(Library)]
    internal static partial int epoll_create1(int flags);

    [LibraryImport(Library)]
    internal static partial int epoll_ctl(int epoll, int operation, int descriptor, byte* change);

    [LibraryImport(Library)]
    internal static partial int epoll_wait(int epoll, byte* events, int count, int timeoutMilliseconds);

    [LibraryImport(Library)]
    internal static partial int prctl(int option, nuint second, nuint third, nuint fourth, nuint fifth);

    [LibraryImport(Library)]
    internal static partial int execv(byte* path, byte** arguments);

    /// <summary>For system calls that the C library has no function for.</summary>
    [LibraryImport(Library)]
    internal static partial nint syscall(nint number, nint first, nint second, nint third);

    [LibraryImport(Library)]
    internal static partial int sched_yield();

    [LibraryImport(Library)]
    internal static partial int eventfd(uint initial, int flags);

    [LibraryImport(Library)]
    internal static partial int timerfd_create(int clock, int flags);

    [LibraryImport(Library)]
    internal static partial int timerfd_settime(int descriptor, int flags, TimerSpec* value, TimerSpec* old);

    [LibraryImport(Library)]
    internal static partial int getrlimit(int resource, ResourceLimit* limit);

    [LibraryImport(Library)]
    internal static partial int setrlimit(int resource, ResourceLimit* limit);

    [LibraryImport(Library)]
    internal static partial int madvise(void* start, nuint length, int advice);

    [LibraryImport(Library)]
    internal static partial int malloc_trim(nuint pad);

    /// <summary>The failed call's errno, negated. Must be asked directly after the call.</summary>
    internal static int Failure() => -Marshal.GetLastSystemError();

    /// <summary><c>struct itimerspec</c>; <c>time_t</c> and <c>long</c> are as wide as a pointer.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct TimerSpec
    {
        public nint IntervalSeconds;
        public nint IntervalNanoseconds;
        public nint Seconds;
        public nint Nanoseconds;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct ResourceLimit
    {
        public ulong Soft;
        public ulong Hard;
    }
}
