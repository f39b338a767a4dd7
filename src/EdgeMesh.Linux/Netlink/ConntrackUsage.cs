using System.Globalization;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Linux.Netlink;

/// <summary>How full the connection tracking table of this network namespace is.</summary>
/// <param name="Entries">net.netfilter.nf_conntrack_count.</param>
/// <param name="Maximum">net.netfilter.nf_conntrack_max; new flows are dropped beyond it.</param>
public readonly record struct ConntrackUsage(long Entries, long Maximum)
{
    public double Fraction => Maximum > 0 ? (double)Entries / Maximum : 0;

    /// <summary>Null: the kernel tracks no connections, or does not say.</summary>
    public static ConntrackUsage? Read() => Read("/proc/sys/net/netfilter");

    internal static ConntrackUsage? Read(string folder) =>
        TryReadNumber(Path.Combine(folder, "nf_conntrack_count")) is { } entries
        && TryReadNumber(Path.Combine(folder, "nf_conntrack_max")) is { } maximum
            ? new ConntrackUsage(entries, maximum)
            : null;

    private static long? TryReadNumber(string path)
    {
        try
        {
            return long.TryParse(File.ReadAllText(path), NumberStyles.Integer | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture, out var value)
                ? value
                : null;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}

/// <summary>Says once when the table gets nearly full, and once when it has room again.</summary>
public sealed partial class ConntrackPressure(ILogger<ConntrackPressure> logger)
{
    private const double NearlyFull = 0.9;
    private const double RoomAgain = 0.75;

    public bool IsNearlyFull { get; private set; }

    public void Observe(ConntrackUsage usage)
    {
        if (!IsNearlyFull && usage.Fraction >= NearlyFull)
        {
            IsNearlyFull = true;
            LogNearlyFull(usage.Entries, usage.Maximum);
        }
        else if (IsNearlyFull && usage.Fraction <= RoomAgain)
        {
            IsNearlyFull = false;
            LogRoomAgain(usage.Entries, usage.Maximum);
        }
    }

    [LoggerMessage(2111, LogLevel.Warning,
        "The connection tracking table is nearly full ({Entries} of {Maximum}): when it is full the kernel drops every new flow of this node. Raise net.netfilter.nf_conntrack_max.")]
    private partial void LogNearlyFull(long entries, long maximum);

    [LoggerMessage(2112, LogLevel.Information, "The connection tracking table has room again ({Entries} of {Maximum}).")]
    private partial void LogRoomAgain(long entries, long maximum);
}
