using System.Net;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Admin;

/// <summary>Answers <c>/healthz</c>, <c>/readyz</c>, <c>/livez</c>, <c>/metrics</c>, <c>/status</c> and <c>/dns</c>. It only reads.</summary>
/// <remarks>The HTTP server of ASP.NET without its host, routing and dependency injection, which these paths do not need
/// (decision 16).</remarks>
internal sealed class AdminServer : IAsyncDisposable
{
    private static readonly TimeSpan StatusAge = TimeSpan.FromSeconds(1);

    /// <summary>Scrapes are seconds apart; only a flood of them notices.</summary>
    private static readonly TimeSpan MetricsAge = TimeSpan.FromMilliseconds(200);

    private readonly KestrelServer _server;
    private readonly AdminApplication _application;
    private readonly MetricsPage _metrics = new();
    private readonly AdminEndpoint.UnixSocket? _socket;

    /// <param name="nodeName">Under which name, beside its addresses, browsers and scrapers may ask for it.</param>
    /// <param name="names">Answers a question for a name and a type; null where names are not answered.</param>
    public AdminServer(
        AdminEndpoint endpoint, string nodeName, Func<HealthFacts> health, Func<CancellationToken, Task<StatusDocument>> status,
        Func<string, string, CancellationToken, Task<NameStatus>>? names, ILoggerFactory logging, TimeProvider time)
    {
        var options = new KestrelServerOptions { AddServerHeader = false, ApplicationServices = NoServices.Instance };
        options.Limits.MaxRequestBodySize = 0;
        options.Limits.MaxRequestLineSize = 2048;
        options.Limits.MaxRequestHeadersTotalSize = 8192;
        options.Limits.MaxRequestHeaderCount = 64;
        options.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(5);
        options.Limits.KeepAliveTimeout = TimeSpan.FromMinutes(1);
        var connections = new AdminConnections();
        void Configure(ListenOptions listen)
        {
            listen.Protocols = HttpProtocols.Http1;
            listen.Use(connections.Middleware);
        }

        _socket = endpoint as AdminEndpoint.UnixSocket;
        var address = (endpoint as AdminEndpoint.Tcp)?.Address;
        if (_socket is not null)
            options.ListenUnixSocket(_socket.Path, Configure);
        else
            options.Listen(address!, Configure);
        _server = new KestrelServer(Microsoft.Extensions.Options.Options.Create(options), new SocketTransportFactory(Microsoft.Extensions.Options.Options.Create(new SocketTransportOptions()), logging), logging);
        _application = new AdminApplication(
            new AdminHosts(address?.Address ?? IPAddress.Loopback, nodeName), health,
            new AnswerCache(StatusAge, async token => JsonSerializer.SerializeToUtf8Bytes(await status(token), StatusJson.Default.StatusDocument), time),
            new AnswerCache(MetricsAge, _ => Task.FromResult(Encoding.UTF8.GetBytes(_metrics.Render())), time),
            names);
    }

    /// <exception cref="IOException">The place is taken, or is none for a socket.</exception>
    /// <exception cref="System.Net.Sockets.SocketException">The address is not on this machine.</exception>
    /// <exception cref="UnauthorizedAccessException">This user may not make a socket there.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        _socket?.Prepare();
        await _server.StartAsync(_application, cancellationToken);
        _socket?.Close();
    }

    public async ValueTask DisposeAsync()
    {
        // Whoever keeps a connection open has no say in when the agent ends.
        using (var now = new CancellationTokenSource(TimeSpan.FromSeconds(1)))
            await _server.StopAsync(now.Token);
        _server.Dispose();
        _metrics.Dispose();
    }

    private sealed class NoServices : IServiceProvider
    {
        public static NoServices Instance { get; } = new();

        public object? GetService(Type serviceType) => null;
    }
}
