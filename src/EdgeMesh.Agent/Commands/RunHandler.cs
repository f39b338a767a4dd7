using System.Net.Sockets;
using EdgeMesh.Agent.Hosting;
using EdgeMesh.Linux.Confinement;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Netfilter;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Commands;

/// <summary>Runs the agent until SIGTERM or SIGINT.</summary>
internal static class RunHandler
{
    /// <summary>Withdrawing rules, closing and writing the cache; comes on top of the drain time, which may change while running.</summary>
    private static readonly TimeSpan StopLimit = TimeSpan.FromMinutes(11);

    /// <summary>Rules, marks and the device; iptables-legacy; a port below 1024 that the configuration names.</summary>
    private static readonly Capability[] KeptCapabilities = [Capability.NetAdmin, Capability.NetRaw, Capability.NetBindService];

    public static async Task<int> RunAsync(RunArguments arguments, CancellationToken cancellationToken)
    {
        var logging = new AgentLogging(arguments.Options.LogLevel);
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        logging.AddTo(builder.Logging);
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = StopLimit);
        builder.Services.Configure<ConsoleLifetimeOptions>(console => console.SuppressStatusMessages = true);
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton(logging);
        builder.Services.AddSingleton(arguments);
        builder.Services.AddHostedService<AgentService>();
        using var host = builder.Build();
        var lifetime = host.Services.GetRequiredService<IHostApplicationLifetime>();
        var logger = host.Services.GetRequiredService<ILoggerFactory>().CreateLogger("EdgeMesh.Agent.Configuration");
        ProcessConfinement.Enter(KeptCapabilities, ConnectionBudget.WantedDescriptors, logger);
        foreach (var warning in arguments.Loaded.Warnings)
            Log.ConfigurationWarning(logger, warning.ToString());
        try
        {
            await host.RunAsync(cancellationToken);
            return ExitCodes.Ok;
        }
        catch (OperationCanceledException) when (lifetime.ApplicationStopping.IsCancellationRequested)
        {
            // Told to stop while it was still starting.
            return ExitCodes.Ok;
        }
        catch (AgentStartException fault)
        {
            Log.CannotStart(logger, fault.Message);
            return ExitCodes.Failure;
        }
        catch (Exception fault) when (fault is NetfilterException or NetlinkException or IOException or UnauthorizedAccessException or SocketException)
        {
            // What this host refuses is no fault of the program, wherever on the way it was met.
            Log.CannotStart(logger, $"This host did not let the agent run: {fault.Message}");
            return ExitCodes.Failure;
        }
    }
}

internal static partial class Log
{
    [LoggerMessage(1010, LogLevel.Warning, "{Warning}")]
    public static partial void ConfigurationWarning(ILogger logger, string warning);

    [LoggerMessage(1011, LogLevel.Critical, "{Reason}")]
    public static partial void CannotStart(ILogger logger, string reason);
}
