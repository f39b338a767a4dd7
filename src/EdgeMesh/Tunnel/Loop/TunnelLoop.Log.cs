using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Loop;

internal static partial class LoopLog
{
    [LoggerMessage(6101, LogLevel.Error, "A connection of the {Loop} loop was given up because of a fault in this program")]
    internal static partial void LogFault(ILogger logger, string loop, Exception exception);

    [LoggerMessage(6100, LogLevel.Error, "The {Loop} loop failed and ended; its connections do not work until the agent is restarted")]
    internal static partial void LogFailed(ILogger logger, string loop, Exception exception);
}
