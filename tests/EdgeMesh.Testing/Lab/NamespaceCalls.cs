using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace EdgeMesh.Testing.Lab;

/// <summary>The two system calls that the lab needs and .NET has not.</summary>
internal static partial class NamespaceCalls
{
    private const int CloneNewNet = 0x40000000;

    /// <summary>Moves the calling thread, and it alone, into a network namespace (setns(2)).</summary>
    public static void EnterNetwork(SafeFileHandle namespaceFile)
    {
        if (SetNs(namespaceFile, CloneNewNet) != 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError(), $"setns(2) refused: {Marshal.GetLastPInvokeErrorMessage()}. The lab needs root (CAP_SYS_ADMIN).");
    }

    /// <returns>False when the process is gone.</returns>
    public static bool Signal(int processId, int signal)
    {
        if (Kill(processId, signal) == 0)
            return true;
        const int NoSuchProcess = 3;
        var error = Marshal.GetLastPInvokeError();
        return error == NoSuchProcess ? false : throw new Win32Exception(error, $"kill({processId}, {signal}) failed: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    [LibraryImport("libc", EntryPoint = "setns", SetLastError = true)]
    private static partial int SetNs(SafeFileHandle fd, int type);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int processId, int signal);
}
