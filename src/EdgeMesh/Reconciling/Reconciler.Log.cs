using Microsoft.Extensions.Logging;

namespace EdgeMesh.Reconciling;

public sealed partial class Reconciler
{
    [LoggerMessage(2000, LogLevel.Information,
        "Rules are in force: {Ports} service ports of {Handled} services, {Left} services left alone; +{Added} -{Removed} rules through {Backend} in {Milliseconds} ms")]
    private partial void LogSynced(int ports, int handled, int left, int added, int removed, string backend, double milliseconds);

    [LoggerMessage(2001, LogLevel.Warning,
        "The rules could not be applied or checked through {Backend}, so the last good ones stay in force; next try in {Delay} s. {Reason}")]
    private partial void LogApplyFailed(string backend, double delay, string reason);

    [LoggerMessage(2002, LogLevel.Warning, "Repaired: {Repair}")]
    private partial void LogRepair(string repair);

    [LoggerMessage(2003, LogLevel.Warning, "Working from the cache of {AsOf:u} until {Source} answers")]
    private partial void LogWorkingFromCache(DateTimeOffset asOf, string source);

    [LoggerMessage(2004, LogLevel.Information, "{Source} has answered; the facts are live again")]
    private partial void LogSourceAnswered(string source);

    [LoggerMessage(2005, LogLevel.Warning, "Service {Service}: {Fault}")]
    private partial void LogServiceFault(string service, string fault);

    [LoggerMessage(2006, LogLevel.Warning, "Stale entries could not be removed from conntrack, which is tried again; until then clients of changed UDP services may keep their old endpoint. {Reason}")]
    private partial void LogConntrackFailed(string reason);

    [LoggerMessage(2007, LogLevel.Debug, "Removed {Count} stale entries from conntrack")]
    private partial void LogConntrackCleaned(int count);

    [LoggerMessage(2008, LogLevel.Information, "Withdrew the rules that need this process; new connections fall through to kube-proxy")]
    private partial void LogWithdrawn();

    [LoggerMessage(2009, LogLevel.Warning, "The rules are in force, but not all that belongs to them; it is tried again. {Reason}")]
    private partial void LogIncomplete(string reason);

    [LoggerMessage(2010, LogLevel.Information, "What belonged to the rules and was missing stands now")]
    private partial void LogComplete();
}
