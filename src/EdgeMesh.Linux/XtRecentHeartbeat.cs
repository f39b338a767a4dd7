namespace EdgeMesh.Linux;

/// <summary>Refreshes the entries 0.0.0.0 and :: of a list of the iptables match <c>recent</c>, where rules ask
/// <c>--rcheck --seconds N --mask 0.0.0.0</c>. Needs no program and no set module.</summary>
public sealed class XtRecentHeartbeat : IHeartbeat
{
    /// <summary>The file of the list that the portal rules look at, in this network namespace.</summary>
    public const string DefaultPath = "/proc/net/xt_recent/edgemesh-alive";

    private readonly string _path;

    public XtRecentHeartbeat(string path = DefaultPath) => _path = path;

    public void Beat()
    {
        // The file appears with the first rule that names the list and goes with the last: it is opened anew every time.
        // The kernel takes one command per write (net/netfilter/xt_recent.c), so the families need one each.
        Write("+0.0.0.0\n"u8);
        Write("+::\n"u8);
    }

    private void Write(ReadOnlySpan<byte> command)
    {
        try
        {
            using var file = File.OpenHandle(_path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
            RandomAccess.Write(file, command, fileOffset: 0);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            // No rule names the list yet, or its module is not loaded.
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException($"The heartbeat file {_path} cannot be written: {e.Message}", e);
        }
    }
}
