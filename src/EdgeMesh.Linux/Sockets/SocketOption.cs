namespace EdgeMesh.Linux.Sockets;

/// <summary>Socket options that are one integer (asm-generic numbers).</summary>
internal static unsafe class SocketOption
{
    internal const int SOCK_STREAM = 1;
    internal const int SOCK_DGRAM = 2;
    internal const int SOL_SOCKET = 1;
    internal const int SO_REUSEADDR = 2;
    internal const int SO_TYPE = 3;
    internal const int SO_ERROR = 4;
    internal const int SO_KEEPALIVE = 9;
    internal const int SO_LINGER = 13;
    internal const int SO_REUSEPORT = 15;
    internal const int SO_ACCEPTCONN = 30;
    internal const int SO_MARK = 36;
    internal const int SO_ATTACH_REUSEPORT_CBPF = 51;
    internal const int SO_DETACH_REUSEPORT_BPF = 68;
    internal const int IPPROTO_TCP = 6;
    internal const int TCP_NODELAY = 1;
    internal const int TCP_KEEPIDLE = 4;
    internal const int TCP_KEEPINTVL = 5;
    internal const int TCP_KEEPCNT = 6;
    internal const int TCP_DEFER_ACCEPT = 9;
    internal const int TCP_QUICKACK = 12;
    internal const int IPPROTO_IPV6 = 41;
    internal const int IPV6_V6ONLY = 26;

    /// <summary>Returns 0 or a negated errno.</summary>
    internal static int Set(int descriptor, int level, int name, int value)
        => Libc.setsockopt(descriptor, level, name, &value, sizeof(int)) < 0 ? Libc.Failure() : 0;

    /// <summary>The option's value, or the errno of asking for it.</summary>
    internal static int Get(int descriptor, int level, int name)
    {
        int value;
        uint length = sizeof(int);
        return Libc.getsockopt(descriptor, level, name, &value, &length) < 0 ? -Libc.Failure() : value;
    }
}
