using Microsoft.Extensions.Logging;

namespace EdgeMesh.Kubernetes;

public sealed partial class ApiServerSource
{
    [LoggerMessage(3010, LogLevel.Information, "Services and endpoints come from {Source}")]
    private static partial void LogStart(ILogger logger, string source);

    [LoggerMessage(3011, LogLevel.Warning, "API access: {Warning}")]
    private static partial void LogAccess(ILogger logger, string warning);
}
