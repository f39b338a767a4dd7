using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Options;

internal sealed partial class ConfigFileWatcher
{
    [LoggerMessage(5101, LogLevel.Information, "Took over from {File}: {Keys}")]
    private partial void TookOver(string file, string keys);

    [LoggerMessage(5102, LogLevel.Warning, "Changed in {File}, and in force only after a restart of the agent: {Keys}")]
    private partial void NeedsRestart(string file, string keys);

    [LoggerMessage(5103, LogLevel.Warning, "{File} was changed and is not right; what was in force before stays in force:\n{Faults}")]
    private partial void Refused(string file, string faults);

    [LoggerMessage(5104, LogLevel.Information, "{File} is right again")]
    private partial void FileIsRightAgain(string file);

    [LoggerMessage(5105, LogLevel.Warning, "{Finding}")]
    private partial void Warning(string finding);
}
