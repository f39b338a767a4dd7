using System.Globalization;

namespace EdgeMesh.Testing.Lab;

/// <summary>Names of labs, and the removal of what test processes left that died in the middle.
/// A name carries the process id and its start time, so a reused id is no longer the same process.</summary>
internal static class LabLeftovers
{
    public const string Prefix = "emlab-";

    private static int _count;

    /// <returns><c>emlab-PID-START-N</c>.</returns>
    public static string NewName() =>
        $"{Prefix}{Environment.ProcessId}-{StartTicks(Environment.ProcessId)}-{Interlocked.Increment(ref _count)}";

    public static async Task RemoveAsync()
    {
        foreach (var name in Abandoned("/run/netns"))
            await RemoveAbandonedAsync(name);
        foreach (var name in Abandoned(Path.GetTempPath()))
        {
            try
            {
                Directory.Delete(Path.Combine(Path.GetTempPath(), name), recursive: true);
            }
            catch (DirectoryNotFoundException)
            {
                // Another test process removes the same at this moment.
            }
        }
    }

    /// <summary>Ends what still runs inside (only a lab's own programs can), then removes the namespaces.</summary>
    public static async Task RemoveNamespacesAsync(IReadOnlyCollection<NetworkNamespace> spaces)
    {
        if (spaces.Count == 0)
            return;
        var identities = spaces.Select(space => space.Identity).ToHashSet(StringComparer.Ordinal);
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder), CultureInfo.InvariantCulture, out var processId) && processId != Environment.ProcessId && identities.Contains(NetworkOf(folder)))
                NamespaceCalls.Signal(processId, 9);
        }

        var batch = string.Concat(spaces.Select(space => $"netns delete {space.Name}\n"));
        await CommandResult.RunAsync("ip", ["-force", "-batch", "-"], batch);
    }

    private static async Task RemoveAbandonedAsync(string name)
    {
        var inside = await CommandResult.RunAsync("ip", ["netns", "pids", name]);
        foreach (var line in inside.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var processId = int.Parse(line, CultureInfo.InvariantCulture);
            if (processId != Environment.ProcessId)
                NamespaceCalls.Signal(processId, 9);
        }

        await CommandResult.RunAsync("ip", ["netns", "delete", name]);
    }

    /// <summary>Empty for a process that has ended meanwhile.</summary>
    private static string NetworkOf(string process)
    {
        try
        {
            return new FileInfo(Path.Combine(process, "ns", "net")).LinkTarget ?? "";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    private static List<string> Abandoned(string folder)
    {
        if (!Directory.Exists(folder))
            return [];
        return [.. Directory.EnumerateFileSystemEntries(folder, Prefix + "*").Select(path => Path.GetFileName(path)!).Where(IsAbandoned)];
    }

    private static bool IsAbandoned(string name)
    {
        var parts = name.Split('-');
        return parts.Length >= 4
            && int.TryParse(parts[1], out var processId)
            && StartTicks(processId) != parts[2];
    }

    /// <summary>Field 22 of /proc/PID/stat; empty when there is no such process. The name in field 2 may hold blanks.</summary>
    private static string StartTicks(int processId)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{processId}/stat");
            return stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[19];
        }
        catch (IOException)
        {
            return "";
        }
    }
}
