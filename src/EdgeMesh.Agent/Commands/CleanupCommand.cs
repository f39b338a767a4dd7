using System.CommandLine;
using EdgeMesh.Agent.Options;

namespace EdgeMesh.Agent.Commands;

internal sealed record CleanupArguments
{
    /// <summary>Null where the file is absent or wrong: what is the agent's is known without it.</summary>
    public required AgentOptions? Options { get; init; }

    public required TextWriter Output { get; init; }

    public required TextWriter Error { get; init; }
}

/// <summary><c>edgemesh-agent cleanup</c>: must work also where the configuration is gone.</summary>
internal static class CleanupCommand
{
    public static Command Build(AgentEnvironment environment, Func<CleanupArguments, CancellationToken, Task<int>> handler)
    {
        var configFile = SharedOptions.ConfigFilePath();
        var command = new Command("cleanup", "Remove the agent's rules and device from this node, those of older releases too, and nothing else") { configFile };
        command.SetAction(async (line, cancellationToken) =>
        {
            var error = line.InvocationConfiguration.Error;
            var named = line.GetValue(configFile);
            var loaded = ConfigFile.Load(named ?? ConfigFile.DefaultPath, environment, new ConfigOverrides());
            if (loaded.Options is null && named is not null)
            {
                await FindingsOutput.WriteFaultsAsync(error, loaded);
                await error.WriteLineAsync("The file is left aside: rules and devices are known without it.");
            }

            return await handler(
                new CleanupArguments { Options = loaded.Options, Output = line.InvocationConfiguration.Output, Error = error },
                cancellationToken);
        });
        return command;
    }
}
