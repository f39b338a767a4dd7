using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace EdgeMesh.Agent.Hosting;

/// <summary>One line per event on standard error, with UTC time; the level can change while the agent runs.</summary>
internal sealed class AgentLogging(LogLevel level)
{
    private volatile int _level = (int)level;

    public LogLevel Level
    {
        get => (LogLevel)_level;
        set => _level = (int)value;
    }

    public void AddTo(ILoggingBuilder logging)
    {
        logging.ClearProviders();
        logging.SetMinimumLevel(LogLevel.Trace);
        // The web server and the host speak only when something is wrong; what they do otherwise the agent says itself.
        // The host's own line about a start that failed is a stack trace beside ours, which says what to do.
        logging.AddFilter((category, entry) =>
            entry >= Level && category != "Microsoft.Extensions.Hosting.Internal.Host" && (category?.StartsWith("Microsoft.", StringComparison.Ordinal) != true || entry >= LogLevel.Warning));
        logging.AddConsole(console =>
        {
            console.LogToStandardErrorThreshold = LogLevel.Trace;
            console.FormatterName = PlainLogFormatter.FormatterName;
            // A full pipe must not stop forwarding.
            console.QueueFullMode = ConsoleLoggerQueueFullMode.DropWrite;
        });
        logging.Services.AddSingleton<ConsoleFormatter>(new PlainLogFormatter(TimeProvider.System));
    }
}
