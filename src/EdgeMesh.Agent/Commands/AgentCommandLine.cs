using System.CommandLine;
using System.CommandLine.Help;
using EdgeMesh.Agent.Options;

namespace EdgeMesh.Agent.Commands;

/// <summary>What the commands that touch the node do; a command without a handler is not offered.</summary>
internal sealed record CommandHandlers
{
    public Func<RunArguments, CancellationToken, Task<int>>? Run { get; init; }

    public Func<StatusArguments, CancellationToken, Task<int>>? Status { get; init; }

    public Func<NameArguments, CancellationToken, Task<int>>? Name { get; init; }

    public Func<ProbeArguments, CancellationToken, Task<int>>? Probe { get; init; }

    public Func<CleanupArguments, CancellationToken, Task<int>>? Cleanup { get; init; }
}

/// <summary>The whole command line. The flags of the Go agent (--config-file, --defaultconfig, --minconfig, --version, -v) mean
/// what they meant.</summary>
internal static class AgentCommandLine
{
    private const string About =
        "Takes the connections of Kubernetes services on this node before kube-proxy sees them, and forwards them to an endpoint.";

    public static async Task<int> InvokeAsync(
        IReadOnlyList<string> arguments, AgentEnvironment environment, CommandHandlers handlers, TextWriter output, TextWriter error)
    {
        var line = Build(environment, handlers).Parse(arguments);
        if (line.Errors.Count > 0)
        {
            foreach (var message in Messages(line))
                await error.WriteLineAsync($"error: {message}");
            await error.WriteLineAsync("See: edgemesh-agent --help");
            return ExitCodes.Usage;
        }

        return await line.InvokeAsync(new InvocationConfiguration
        {
            Output = output,
            Error = error,
            EnableDefaultExceptionHandler = false,
            // The host listens to signals, and needs longer than two seconds to drain.
            ProcessTerminationTimeout = null,
        });
    }

    // A misspelt sub-command makes two errors, and the one that names it says all.
    private static IEnumerable<string> Messages(ParseResult line) =>
        line.UnmatchedTokens.Count > 0
            ? line.Errors.Select(e => e.Message).Where(m => line.UnmatchedTokens.Any(t => m.Contains(t, StringComparison.Ordinal)))
            : line.Errors.Select(e => e.Message);

    private static Command Build(AgentEnvironment environment, CommandHandlers handlers)
    {
        // Not RootCommand: that takes its name from the process, which in tests is another.
        var root = new Command("edgemesh-agent", About) { new HelpOption() };
        var version = new Option<bool>("--version") { Description = "Show the version of this program" };
        var defaultConfig = new Option<bool>("--defaultconfig") { Description = "The same as: config default" };
        var minimalConfig = new Option<bool>("--minconfig") { Description = "The same as: config minimal" };
        var run = handlers.Run is null ? null : RunCommand.AddTo(root, environment, handlers.Run);
        root.Options.Add(version);
        root.Options.Add(defaultConfig);
        root.Options.Add(minimalConfig);
        root.Subcommands.Add(ConfigCommand.Build(environment));
        if (handlers.Status is not null)
            root.Subcommands.Add(StatusCommand.Build(handlers.Status));
        if (handlers.Name is not null)
            root.Subcommands.Add(NameCommand.Build(handlers.Name));
        if (handlers.Probe is not null)
            root.Subcommands.Add(ProbeCommand.Build(handlers.Probe));
        if (handlers.Cleanup is not null)
            root.Subcommands.Add(CleanupCommand.Build(environment, handlers.Cleanup));
        root.Subcommands.Add(VersionCommand.Build());
        root.SetAction(async (line, cancellationToken) =>
        {
            if (line.GetValue(version))
                return await VersionCommand.WriteAsync(line);
            if (line.GetValue(defaultConfig))
                return await ConfigCommand.WriteAsync(line, ConfigText.Default());
            if (line.GetValue(minimalConfig))
                return await ConfigCommand.WriteAsync(line, ConfigText.Minimal());
            if (run is not null)
                return await run(line, cancellationToken);
            await line.InvocationConfiguration.Error.WriteLineAsync("error: name a command\nSee: edgemesh-agent --help");
            return ExitCodes.Usage;
        });
        return root;
    }
}
