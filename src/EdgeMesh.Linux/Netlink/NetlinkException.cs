using System.Runtime.InteropServices;

namespace EdgeMesh.Linux.Netlink;

/// <summary>A netlink request failed. The message says what was asked, what the kernel answered and what to do.</summary>
public sealed class NetlinkException : Exception
{
    public NetlinkException()
    {
    }

    public NetlinkException(string message)
        : base(message)
    {
    }

    public NetlinkException(string message, Exception innerException)
        : base(message, innerException)
    {
    }

    internal NetlinkException(string what, int errno)
        : base(Describe(what, errno)) => Errno = errno;

    /// <summary>The kernel's error number; 0 when the failure was not an answer of the kernel.</summary>
    public int Errno { get; }

    /// <summary>The process lacks CAP_NET_ADMIN in this network namespace.</summary>
    public bool IsPermissionDenied => Errno is NetlinkCalls.Eperm or NetlinkCalls.Eacces;

    /// <summary>An error number in words.</summary>
    public static string Describe(int errno) => $"{Marshal.GetPInvokeErrorMessage(errno)} (errno {errno})";

    private static string Describe(string what, int errno)
    {
        var hint = errno is NetlinkCalls.Eperm or NetlinkCalls.Eacces
            ? "; the process needs CAP_NET_ADMIN (run as root, or add the capability)"
            : string.Empty;
        return $"{what} failed: {Describe(errno)}{hint}.";
    }
}
