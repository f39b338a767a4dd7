using System.Net.Sockets;
using EdgeMesh.Agent.Hosting;
using EdgeMesh.Linux;
using EdgeMesh.Supervision;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Admin;

/// <summary>Has the admin address answered as soon as it can be had. Any process may take it while no agent has it, and that must
/// not keep the agent from its work: it forwards without, says so, and asks again.</summary>
/// <param name="make">Makes a server, which can be started once.</param>
internal sealed partial class AdminListener(
    AdminEndpoint endpoint, Func<AdminServer> make, Supervisor supervisor, TimeProvider time, ILogger<AdminListener> logger) : IAsyncDisposable
{
    private static readonly TimeSpan BetweenTries = TimeSpan.FromSeconds(1);

    private readonly CancellationTokenSource _stop = new();
    private AdminServer? _server;
    private Task _trying = Task.CompletedTask;

    /// <summary>Why nothing answers there; null while the server does.</summary>
    public string? Notice { get; private set; }

    /// <exception cref="AgentStartException">It can never be had: it is not on this machine, say.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (await TryStartAsync(cancellationToken) is not { } fault)
            return;
        if (!IsTaken(fault))
            throw new AgentStartException($"The admin address {endpoint} cannot be used: {fault.Message} Change {endpoint.Setting}.", fault);
        Notice = $"nothing of the agent answers at {endpoint}, neither probes nor metrics nor status: {Holder()} has it. It is asked for each second; stop that program, or change {endpoint.Setting}";
        LogTaken(Notice);
        _trying = supervisor.LoopAsync("admin", TryAsync, _stop.Token);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _trying;
        if (_server is not null)
            await _server.DisposeAsync();
        _stop.Dispose();
    }

    private async Task TryAsync(CancellationToken cancellationToken)
    {
        do
            await Task.Delay(BetweenTries, time, cancellationToken);
        while (await TryStartAsync(cancellationToken) is not null);
        Notice = null;
    }

    /// <returns>Why it could not be.</returns>
    private async Task<Exception?> TryStartAsync(CancellationToken cancellationToken)
    {
        var server = make();
        try
        {
            await server.StartAsync(cancellationToken);
            _server = server;
            LogAnswering(endpoint is AdminEndpoint.Tcp ? $"http://{endpoint}" : $"the socket {endpoint}");
            return null;
        }
        // Kestrel wraps only the address that is taken; one that is not on this machine comes as it is.
        catch (Exception fault) when (fault is IOException or SocketException or UnauthorizedAccessException)
        {
            await server.DisposeAsync();
            return fault;
        }
    }

    private static bool IsTaken(Exception fault) => (fault as SocketException ?? fault.InnerException as SocketException ?? fault.InnerException?.InnerException as SocketException)
        is { SocketErrorCode: SocketError.AddressAlreadyInUse };

    private string Holder() => endpoint is AdminEndpoint.Tcp tcp ? ListenPorts.HolderOf(tcp.Address.Port, BoundPorts.List()) : "another program";

    [LoggerMessage(1003, LogLevel.Information, "Answering on {Endpoint} (/livez /readyz /healthz /metrics /status /dns)")]
    private partial void LogAnswering(string endpoint);

    [LoggerMessage(1029, LogLevel.Warning, "Forwarding goes on, but {Notice}")]
    private partial void LogTaken(string notice);
}
