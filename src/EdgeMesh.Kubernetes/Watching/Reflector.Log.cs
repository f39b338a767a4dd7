using EdgeMesh.Kubernetes.Api;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Kubernetes.Watching;

internal sealed partial class Reflector<T>
{
    [LoggerMessage(3000, LogLevel.Warning, "{Kind} do not arrive: {Fault}. The last good state, if any, stays in force; trying again.")]
    private static partial void LogWarning(ILogger logger, string kind, string fault);

    [LoggerMessage(3001, LogLevel.Debug, "{Kind}: {Fault}")]
    private static partial void LogFault(ILogger logger, string kind, string fault, Exception exception);

    [LoggerMessage(3002, LogLevel.Information, "Services and endpoints arrive again")]
    private static partial void LogRecovered(ILogger logger);

    [LoggerMessage(3003, LogLevel.Warning, "{Kind} {Name} {Fault}: its last good version, if any, stays in force; correct the object")]
    private static partial void LogObjectFault(ILogger logger, string kind, ObjectName name, string fault);

    [LoggerMessage(3004, LogLevel.Warning, "The metaServer lists {Kind} from its local database, without the cloud: what the cloud last said ({AsOf:u}) stays in force, and only what is newer is added")]
    private static partial void LogOffline(ILogger logger, string kind, DateTimeOffset? asOf);

    [LoggerMessage(3005, LogLevel.Information, "The cloud lists {Kind} again")]
    private static partial void LogOnline(ILogger logger, string kind);

    [LoggerMessage(3007, LogLevel.Debug, "This cluster has no {Kind}; asking again later")]
    private static partial void LogLacking(ILogger logger, string kind);

    [LoggerMessage(3006, LogLevel.Information, "A list of {Kind} found what the watches did not tell: they are opened anew")]
    private static partial void LogReopened(ILogger logger, string kind);
}
