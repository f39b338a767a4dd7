using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

internal sealed partial class HostWatch
{
    [LoggerMessage(1320, LogLevel.Information, "{Family} on this host: {Code}: {Sentence}")]
    private partial void LogCarriage(string family, string code, string sentence);

    [LoggerMessage(1321, LogLevel.Warning, "{Notice}")]
    private partial void LogNotice(string notice);

    [LoggerMessage(1322, LogLevel.Warning, "This host could not be looked at, so services go through the agent; it is tried again in {Seconds} s: {Reason}")]
    private partial void LogBlind(double seconds, string reason);

    [LoggerMessage(1323, LogLevel.Information, "This node has no default {Family} route; routing table {Table} leads its own requests to {Networks}")]
    private partial void LogRoutes(string family, uint table, string networks);

    [LoggerMessage(1324, LogLevel.Warning, "The routes for this node's own requests to services could not be set; it is tried again: {Reason}")]
    private partial void LogRoutesFailed(string reason);
}
