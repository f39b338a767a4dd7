namespace EdgeMesh.Linux;

/// <summary>Refreshes the entries 0.0.0.0 and :: of two lists of the iptables match <c>recent</c>, where rules ask
/// <c>--rcheck --seconds N --mask 0.0.0.0</c>: each beat that of the rules that need this process, and about twice a minute
/// that of the rules that stand without it for a while. Needs no program and no set module.</summary>
public sealed class XtRecentHeartbeat : IHeartbeat
{
    /// <summary>The file of the list that the portal rules look at, in this network namespace.</summary>
    public const string DefaultPath = "/proc/net/xt_recent/edgemesh-alive";

    /// <summary>The file of the list that holds 15 minutes.</summary>
    public const string DefaultLeasePath = "/proc/net/xt_recent/edgemesh-lease";

    private static readonly TimeSpan LeaseRenewal = TimeSpan.FromSeconds(30);

    private readonly string _path;
    private readonly string _leasePath;
    private readonly TimeProvider _time;
    private long? _leased;

    public XtRecentHeartbeat(string path = DefaultPath, string leasePath = DefaultLeasePath, TimeProvider? time = null)
    {
        _path = path;
        _leasePath = leasePath;
        _time = time ?? TimeProvider.System;
    }

    public void Beat()
    {
        Refresh(_path);
        // A list that is not there yet is asked for at each beat, so that rules are in force as soon as they stand.
        if (_leased is not { } before || _time.GetElapsedTime(before) >= LeaseRenewal)
            RenewLease();
    }

    public void RenewLease() => _leased = Refresh(_leasePath) ? _time.GetTimestamp() : null;

    /// <returns>False when there is no such list.</returns>
    private static bool Refresh(string path)
    {
        // The file appears with the first rule that names the list and goes with the last: it is opened anew every time.
        // The kernel takes one command per write (net/netfilter/xt_recent.c), so the families need one each.
        return Write(path, "+0.0.0.0\n"u8) && Write(path, "+::\n"u8);
    }

    private static bool Write(string path, ReadOnlySpan<byte> command)
    {
        try
        {
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
            RandomAccess.Write(file, command, fileOffset: 0);
            return true;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            // No rule names the list yet, or its module is not loaded.
            return false;
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException($"The heartbeat file {path} cannot be written: {e.Message}", e);
        }
    }
}
