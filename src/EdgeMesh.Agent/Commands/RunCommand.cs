using System.CommandLine;
using EdgeMesh.Agent.Options;

namespace EdgeMesh.Agent.Commands;

/// <summary>What the agent is to run with: a file that was read and found right.</summary>
internal sealed record RunArguments
{
    public required AgentOptions Options { get; init; }

    /// <summary>The file as read; <see cref="ConfigFileWatcher"/> goes on from here.</summary>
    public required LoadedConfig Loaded { get; init; }

    public required AgentEnvironment Environment { get; init; }

    public required ConfigOverrides Overrides { get; init; }

    /// <summary>Replace an agent that runs on this node, instead of ending with a message.</summary>
    public required bool TakeOver { get; init; }

    /// <summary>When another agent has taken over: wait to be stopped, instead of ending by itself.</summary>
    public required bool StayWhenTakenOver { get; init; }
}

/// <summary><c>edgemesh-agent [run]</c>: the same options stand on the root, since the Go agent had no sub-commands.</summary>
internal sealed class RunCommand
{
    private readonly Option<string?> _configFile = SharedOptions.ConfigFilePath();

    private readonly Option<string?> _manifests = new("--manifests")
    {
        Description = "A folder of YAML manifests with services and endpoints, instead of a cluster; wins over the configuration file",
        HelpName = "DIR",
    };

    private readonly Option<string?> _nodeName = new("--node-name")
    {
        Description = "Name of this node in Kubernetes [default: $NODE_NAME, else the host name]",
        HelpName = "NAME",
    };

    private readonly Option<int?> _verbosity = new("--v", "-v")
    {
        Description = "How much to log, as the Go agent had it: 4 and above logs everything",
        HelpName = "LEVEL",
    };

    private readonly Option<bool> _takeOver = new("--take-over")
    {
        Description = "Replace the agent that runs on this node, if one does, without a gap: it hands over, lets its connections end, and ends",
    };

    private readonly Option<string> _whenTakenOver = new("--when-taken-over")
    {
        Description = "After another agent has taken over: exit once all connections have ended, or wait to be stopped, for a supervisor that would start it again",
        HelpName = "exit|wait",
        DefaultValueFactory = _ => "exit",
    };

    private readonly AgentEnvironment _environment;
    private readonly Func<RunArguments, CancellationToken, Task<int>> _handler;

    private RunCommand(AgentEnvironment environment, Func<RunArguments, CancellationToken, Task<int>> handler)
    {
        _environment = environment;
        _handler = handler;
        _whenTakenOver.AcceptOnlyFromAmong("exit", "wait");
    }

    /// <summary>Adds <c>run</c> to <paramref name="root"/>, and its options to the root itself.</summary>
    /// <returns>What the root does when no sub-command is named.</returns>
    public static Func<ParseResult, CancellationToken, Task<int>> AddTo(
        Command root, AgentEnvironment environment, Func<RunArguments, CancellationToken, Task<int>> handler)
    {
        var run = new RunCommand(environment, handler);
        var command = new Command("run", "Run the agent on this node until it is told to stop (also without the word run)");
        foreach (var target in new[] { root, command })
        {
            target.Options.Add(run._configFile);
            target.Options.Add(run._manifests);
            target.Options.Add(run._nodeName);
            target.Options.Add(run._verbosity);
            target.Options.Add(run._takeOver);
            target.Options.Add(run._whenTakenOver);
        }

        command.SetAction(run.InvokeAsync);
        root.Subcommands.Add(command);
        return run.InvokeAsync;
    }

    private async Task<int> InvokeAsync(ParseResult line, CancellationToken cancellationToken)
    {
        var overrides = new ConfigOverrides
        {
            Manifests = line.GetValue(_manifests),
            NodeName = line.GetValue(_nodeName),
            Verbosity = line.GetValue(_verbosity),
        };
        var loaded = ConfigFile.Load(line.GetValue(_configFile) ?? ConfigFile.DefaultPath, _environment, overrides);
        if (loaded.Options is null)
        {
            await FindingsOutput.WriteFaultsAsync(line.InvocationConfiguration.Error, loaded);
            return ExitCodes.Usage;
        }

        return await _handler(
            new RunArguments
            {
                Options = loaded.Options,
                Loaded = loaded,
                Environment = _environment,
                Overrides = overrides,
                TakeOver = line.GetValue(_takeOver),
                StayWhenTakenOver = line.GetValue(_whenTakenOver) == "wait",
            },
            cancellationToken);
    }
}
