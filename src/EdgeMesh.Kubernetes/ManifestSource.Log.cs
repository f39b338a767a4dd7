using Microsoft.Extensions.Logging;

namespace EdgeMesh.Kubernetes;

public sealed partial class ManifestSource
{
    [LoggerMessage(3020, LogLevel.Information, "Services and endpoints come from the manifests in {Path}")]
    private static partial void LogStart(ILogger logger, string path);

    [LoggerMessage(3021, LogLevel.Warning, "Manifest {Fault}. Its last good version, if any, stays in force.")]
    private static partial void LogFault(ILogger logger, string fault);

    [LoggerMessage(3022, LogLevel.Debug, "Ignored kinds in {Path}: {Kinds}")]
    private static partial void LogIgnored(ILogger logger, string path, string kinds);

    [LoggerMessage(3023, LogLevel.Debug, "{Path} cannot be watched ({Reason}); it is scanned instead")]
    private static partial void LogNoWatch(ILogger logger, string path, string reason);
}
