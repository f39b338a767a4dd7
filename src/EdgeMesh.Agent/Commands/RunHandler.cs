using System.Net.Sockets;
using System.Runtime.InteropServices;
using EdgeMesh.Agent.Hosting;
using EdgeMesh.Linux.Confinement;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Netfilter;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Commands;

/// <summary>Runs the agent until SIGTERM or SIGINT.</summary>
internal static class RunHandler
{
    /// <summary>Rules, marks and the device; iptables-legacy; a port below 1024 that the configuration names.</summary>
    private static readonly Capability[] KeptCapabilities = [Capability.NetAdmin, Capability.NetRaw, Capability.NetBindService];

    /// <summary>For the first line of the program; see <see cref="ProcessConfinement.Begin"/>.</summary>
    public static void Begin(string[] arguments)
    {
        if (arguments is ["run", ..])
            ProcessConfinement.Begin(KeptCapabilities, ConnectionBudget.WantedDescriptors);
    }

    public static async Task<int> RunAsync(RunArguments arguments, CancellationToken cancellationToken)
    {
        var logging = new AgentLogging(arguments.Options.LogLevel);
        using var loggers = logging.CreateFactory();
        var logger = loggers.CreateLogger("EdgeMesh.Agent.Configuration");
        ProcessConfinement.Enter(KeptCapabilities, ConnectionBudget.WantedDescriptors, logger);
        using var stopping = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using var quit = PosixSignalRegistration.Create(PosixSignal.SIGQUIT, Stop);
        foreach (var warning in arguments.Loaded.Warnings)
            Log.ConfigurationWarning(logger, warning.ToString());
        try
        {
            await using var agent = new AgentService(arguments, logging, loggers, TimeProvider.System, End);
            await agent.StartAsync(stopping.Token);
            await UntilAsync(stopping.Token);
            await agent.StopAsync();
            return ExitCodes.Ok;
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // Told to stop while it was still starting.
            return ExitCodes.Ok;
        }
        catch (AgentStartException fault)
        {
            return Fail(fault.Message);
        }
        catch (Exception fault) when (fault is NetfilterException or NetlinkException or IOException or UnauthorizedAccessException or SocketException)
        {
            // What this host refuses is no fault of the program, wherever on the way it was met.
            return Fail($"This host did not let the agent run: {fault.Message}");
        }

        int Fail(string reason)
        {
            // After what is queued, and not by way of the queue, whose thread may not come to it before the process has ended.
            loggers.Dispose();
            Log.CannotStart(AgentLogging.WithoutQueue("EdgeMesh.Agent.Configuration"), reason);
            return ExitCodes.Failure;
        }

        // The connections are drained first, however often it is told.
        void Stop(PosixSignalContext signal)
        {
            signal.Cancel = true;
            End();
        }

        void End()
        {
            try
            {
                stopping.Cancel();
            }
            catch (ObjectDisposedException)
            {
                // It has ended already.
            }
        }
    }

    private static async Task UntilAsync(CancellationToken stopping)
    {
        var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var registration = stopping.Register(told.SetResult);
        await told.Task;
    }
}

internal static partial class Log
{
    [LoggerMessage(1010, LogLevel.Warning, "{Warning}")]
    public static partial void ConfigurationWarning(ILogger logger, string warning);

    [LoggerMessage(1011, LogLevel.Critical, "{Reason}")]
    public static partial void CannotStart(ILogger logger, string reason);
}
