using Microsoft.Extensions.Logging;

namespace EdgeMesh.Linux.Netlink;

public sealed partial class ConntrackCleaner
{
    [LoggerMessage(2101, LogLevel.Debug,
        "Connection tracking: deleted {Deleted} of {Matched} stale {Kind} entries ({Scanned} looked at, {Failed} refused)")]
    private partial void LogCleaned(int deleted, int matched, string kind, int scanned, int failed);

    [LoggerMessage(2102, LogLevel.Warning,
        "UDP clients stay pinned to endpoints that are gone until their entries expire. {Reason}")]
    private partial void LogNoPermission(string reason);
}
