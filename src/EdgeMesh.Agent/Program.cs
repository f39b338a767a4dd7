using EdgeMesh.Agent.Commands;
using EdgeMesh.Agent.Options;

namespace EdgeMesh.Agent;

internal static class Program
{
    public static Task<int> Main(string[] args)
    {
        RunHandler.Begin(args);
        return AgentCommandLine.InvokeAsync(args, AgentEnvironment.OfProcess(), new CommandHandlers
        {
            Run = RunHandler.RunAsync,
            Status = StatusHandler.RunAsync,
            Name = NameCommand.RunAsync,
            Probe = ProbeCommand.RunAsync,
            Cleanup = CleanupHandler.RunAsync,
        }, Console.Out, Console.Error);
    }
}
