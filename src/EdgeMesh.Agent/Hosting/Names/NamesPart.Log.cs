using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting.Names;

internal sealed partial class NamesPart
{
    [LoggerMessage(1050, LogLevel.Information, "Questions for names are answered at {Addresses}: {What}")]
    private partial void LogAnswers(string addresses, string what);

    [LoggerMessage(1051, LogLevel.Warning, "{Notice}")]
    private partial void LogCannotAnswer(string notice);

    [LoggerMessage(1052, LogLevel.Warning, "{Notice}")]
    private partial void LogNotice(string notice);

    [LoggerMessage(1053, LogLevel.Information, "Other names are asked of {Upstreams}")]
    private partial void LogUpstreams(string upstreams);
}
