namespace EdgeMesh.Linux;

/// <summary>Refreshes the entries 0.0.0.0 and :: of two lists of the iptables match <c>recent</c>, where rules ask
/// <c>--rcheck --seconds N --mask 0.0.0.0</c>: that of the rules that need this process, and that of the rules that stand
/// without it for a while. Needs no program and no set module.</summary>
/// <remarks>Both with each beat: a list is empty when a rule that names it comes back, so "renewed a moment ago" says nothing.</remarks>
public sealed class XtRecentHeartbeat(string path = XtRecentHeartbeat.DefaultPath, string leasePath = XtRecentHeartbeat.DefaultLeasePath) : IHeartbeat
{
    /// <summary>The file of the list that the portal rules look at, in this network namespace.</summary>
    public const string DefaultPath = "/proc/net/xt_recent/edgemesh-alive";

    /// <summary>The file of the list that the kernel-path rules look at.</summary>
    public const string DefaultLeasePath = "/proc/net/xt_recent/edgemesh-lease";

    private volatile bool _hasBeaten;

    public bool HasBeaten => _hasBeaten;

    public void Beat()
    {
        Refresh(path);
        Refresh(leasePath);
        _hasBeaten = true;
    }

    private static void Refresh(string path)
    {
        // The file appears with the first rule that names the list and goes with the last: it is opened anew every time.
        // The kernel takes one command per write (net/netfilter/xt_recent.c), so the families need one each.
        Write(path, "+0.0.0.0\n"u8);
        Write(path, "+::\n"u8);
    }

    private static void Write(string path, ReadOnlySpan<byte> command)
    {
        try
        {
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
            RandomAccess.Write(file, command, fileOffset: 0);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            // No rule names the list yet, or its module is not loaded.
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException($"The heartbeat file {path} cannot be written: {e.Message}", e);
        }
    }
}
