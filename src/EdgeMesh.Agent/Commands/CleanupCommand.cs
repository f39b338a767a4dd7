using System.CommandLine;
using System.Runtime.InteropServices;
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
        var stay = new Option<bool>("--stay") { Description = "When all is removed, wait to be stopped: for pods, which would be started again" };
        var command = new Command("cleanup", "Remove the agent's rules and device from this node, those of older releases too, and nothing else") { configFile, stay };
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

            var status = await handler(
                new CleanupArguments { Options = loaded.Options, Output = line.InvocationConfiguration.Output, Error = error },
                cancellationToken);
            if (status != ExitCodes.Ok || !line.GetValue(stay))
                return status;
            await line.InvocationConfiguration.Output.WriteLineAsync("Done; waiting to be stopped");
            var stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            using (PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop))
            using (PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop))
            using (cancellationToken.Register(() => stopped.TrySetResult()))
                await stopped.Task;
            return ExitCodes.Ok;

            void Stop(PosixSignalContext signal)
            {
                signal.Cancel = true;
                stopped.TrySetResult();
            }
        });
        return command;
    }
}
