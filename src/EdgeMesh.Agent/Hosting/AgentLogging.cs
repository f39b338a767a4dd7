using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Console;
using Microsoft.Extensions.Options;

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

    public ILoggerFactory CreateFactory()
    {
        var filter = new LoggerFilterOptions { MinLevel = LogLevel.Trace };
        // The web server speaks only when something is wrong; what it does otherwise the agent says itself.
        filter.Rules.Add(new LoggerFilterRule(null, null, null, (_, category, entry) =>
            entry >= Level && (category?.StartsWith("Microsoft.", StringComparison.Ordinal) != true || entry >= LogLevel.Warning)));
        var console = new ConsoleLoggerOptions
        {
            LogToStandardErrorThreshold = LogLevel.Trace,
            FormatterName = PlainLogFormatter.FormatterName,
            // A full pipe must not stop forwarding.
            QueueFullMode = ConsoleLoggerQueueFullMode.DropWrite,
        };
        return new LoggerFactory([new ConsoleLoggerProvider(new Fixed(console), [new PlainLogFormatter(TimeProvider.System)])], filter);
    }

    /// <summary>Writes at once, in the same shape: for what is said when the queue has been closed and the process ends.</summary>
    public static ILogger WithoutQueue(string category) => new Direct(category);

    private sealed class Direct(string category) : ILogger
    {
        private readonly PlainLogFormatter _formatter = new(TimeProvider.System);

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            _formatter.Write(new LogEntry<TState>(logLevel, category, eventId, state, exception, formatter), scopeProvider: null, Console.Error);
    }

    private sealed class Fixed(ConsoleLoggerOptions options) : IOptionsMonitor<ConsoleLoggerOptions>
    {
        public ConsoleLoggerOptions CurrentValue => options;

        public ConsoleLoggerOptions Get(string? name) => options;

        public IDisposable? OnChange(Action<ConsoleLoggerOptions, string?> listener) => null;
    }
}
