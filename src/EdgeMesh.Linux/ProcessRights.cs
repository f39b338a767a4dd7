using System.Globalization;

namespace EdgeMesh.Linux;

/// <summary>What another process may do here (/proc/PID/status, capabilities(7)).</summary>
public static class ProcessRights
{
    private const int NetAdmin = 12;

    /// <summary>It has CAP_NET_ADMIN in effect, in this process's user and network namespaces. False also where this process
    /// may not look.</summary>
    public static bool IsNetAdminHere(int process)
    {
        if (process <= 0)
            return false;
        var folder = string.Create(CultureInfo.InvariantCulture, $"/proc/{process}");
        try
        {
            return HasNetAdmin(File.ReadLines(folder + "/status")) && IsSame(folder, "net") && IsSame(folder, "user");
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    internal static bool HasNetAdmin(IEnumerable<string> status)
    {
        const string Label = "CapEff:";
        return status.FirstOrDefault(line => line.StartsWith(Label, StringComparison.Ordinal)) is { } line
            && ulong.TryParse(line.AsSpan(Label.Length).Trim(), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var effective)
            && (effective & (1UL << NetAdmin)) != 0;
    }

    private static bool IsSame(string folder, string kind) =>
        new FileInfo($"{folder}/ns/{kind}").LinkTarget is { } target && target == new FileInfo($"/proc/self/ns/{kind}").LinkTarget;
}
