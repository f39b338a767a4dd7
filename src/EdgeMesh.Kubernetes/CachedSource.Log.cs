using Microsoft.Extensions.Logging;

namespace EdgeMesh.Kubernetes;

public sealed partial class CachedSource
{
    [LoggerMessage(3030, LogLevel.Information, "Running from the cache: {Count} services as of {AsOf:u} in {Path}, until {Source} answers")]
    private static partial void LogFromCache(ILogger logger, int count, string path, DateTimeOffset asOf, string source);

    [LoggerMessage(3031, LogLevel.Information, "The cache {Path} is not used: {Reason}. It is written anew once the source has answered.")]
    private static partial void LogUnusable(ILogger logger, string path, string reason);

    [LoggerMessage(3035, LogLevel.Information, "The cache {Path} has {Count} objects that are not used, because no API server would send them: {Faults}")]
    private static partial void LogFaults(ILogger logger, string path, string faults, int count);

    [LoggerMessage(3032, LogLevel.Warning, "The cache {Path} cannot be written ({Reason}): a restart without the API server would find old services, or none. Free space there or correct commonConfig.stateDir; trying again.")]
    private static partial void LogWriteFailed(ILogger logger, string path, string reason);

    [LoggerMessage(3033, LogLevel.Information, "The cache {Path} can be written again")]
    private static partial void LogWritten(ILogger logger, string path);

    [LoggerMessage(3034, LogLevel.Warning, "The cache {Path} turns out to be of another cluster than {Source}: its services are given back to kube-proxy until the source answers")]
    private static partial void LogOfAnother(ILogger logger, string path, string source);
}
