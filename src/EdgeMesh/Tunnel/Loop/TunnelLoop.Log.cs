using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Loop;

internal static partial class LoopLog
{
    [LoggerMessage(6101, LogLevel.Error, "A connection over the tunnel was given up because of a fault in this program")]
    internal static partial void LogFault(ILogger logger, Exception exception);

    [LoggerMessage(6100, LogLevel.Error, "The tunnel's loop failed and ended; connections over the tunnel do not work until the agent is restarted")]
    internal static partial void LogFailed(ILogger logger, Exception exception);
}
