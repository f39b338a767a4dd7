using Microsoft.Extensions.Logging;

namespace EdgeMesh.Kubernetes;

public sealed partial class DeferredSource
{
    [LoggerMessage(3012, LogLevel.Warning, "The API server cannot be asked: {Fault}. Trying again every few seconds; meanwhile the cache of services on disk, if there is one, is in force.")]
    private static partial void LogNoAccess(ILogger logger, string fault);
}
