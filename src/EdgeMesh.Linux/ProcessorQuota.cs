using System.Globalization;

namespace EdgeMesh.Linux;

/// <summary>Whether a control group limits the CPU time of this process (a container's <c>limits.cpu</c>). One that is over
/// its quota stands still until the period of 100 ms is over, so that time spent waiting actively is not free there.</summary>
public static class ProcessorQuota
{
    /// <param name="root">Where the kernel shows itself; another folder in tests.</param>
    public static bool IsLimited(string root = "/")
    {
        // cgroup v2: "0::/a/b"; each group on the way up may limit. v1: "4:cpu,cpuacct:/a/b".
        foreach (var line in ReadLines(Path.Combine(root, "proc/self/cgroup")))
        {
            var parts = line.Split(':', 3);
            if (parts.Length < 3)
                continue;
            var unified = parts[1].Length == 0;
            if (!unified && !parts[1].Split(',').Contains("cpu"))
                continue;
            var mount = Path.Combine(root, unified ? "sys/fs/cgroup" : "sys/fs/cgroup/cpu");
            // Inside a container the path may be the host's while the mount begins at the container's own group.
            for (var group = parts[2].Trim('/'); ; group = Path.GetDirectoryName(group) ?? "")
            {
                if (IsLimitedAt(Path.Combine(mount, group)))
                    return true;
                if (group.Length == 0)
                    break;
            }
        }

        return false;
    }

    private static bool IsLimitedAt(string group)
        => ReadLines(Path.Combine(group, "cpu.max")).FirstOrDefault() is { } most && !most.StartsWith("max", StringComparison.Ordinal)
        || ReadLines(Path.Combine(group, "cpu.cfs_quota_us")).FirstOrDefault() is { } quota && long.TryParse(quota, CultureInfo.InvariantCulture, out var microseconds) && microseconds > 0;

    private static string[] ReadLines(string path)
    {
        try
        {
            return File.Exists(path) ? File.ReadAllLines(path) : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Not to be known: as if there were none.
            return [];
        }
    }
}
