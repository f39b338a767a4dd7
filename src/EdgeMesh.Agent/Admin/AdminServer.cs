using System.Collections.Immutable;
using System.Net;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Admin;

/// <summary>Answers <c>/healthz</c>, <c>/readyz</c>, <c>/livez</c>, <c>/metrics</c> and <c>/status</c>. It only reads.</summary>
internal sealed class AdminServer : IAsyncDisposable
{
    private static readonly TimeSpan RequestDeadline = TimeSpan.FromSeconds(10);

    private readonly WebApplication _application;
    private readonly MetricsPage _metrics = new();

    public AdminServer(
        IPEndPoint address, Func<HealthFacts> health, Func<CancellationToken, Task<StatusDocument>> status, ILoggerFactory logging)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = 64;
            kestrel.Limits.MaxRequestBodySize = 0;
            kestrel.Limits.RequestHeadersTimeout = RequestDeadline;
            kestrel.Limits.KeepAliveTimeout = TimeSpan.FromMinutes(1);
            kestrel.Listen(address);
        });
        builder.Services.AddSingleton(logging);
        _application = builder.Build();
        _application.Run(context => (context.Request.Method, context.Request.Path.Value) switch
        {
            ("GET" or "HEAD", "/livez") => ProbeAsync(context, HealthRules.NotAlive(health())),
            ("GET" or "HEAD", "/readyz") => ReadyAsync(context, health()),
            ("GET" or "HEAD", "/healthz") => ProbeAsync(context, HealthRules.NotHealthy(health())),
            ("GET", "/metrics") => WriteAsync(context, PrometheusExporter.ContentType, _metrics.Render()),
            ("GET", "/status") => StatusAsync(context, status),
            _ => NotFoundAsync(context),
        });
    }

    public Task StartAsync(CancellationToken cancellationToken) => _application.StartAsync(cancellationToken);

    public async ValueTask DisposeAsync()
    {
        await _application.DisposeAsync();
        _metrics.Dispose();
    }

    private static Task ReadyAsync(HttpContext context, HealthFacts facts) => ProbeAsync(context, HealthRules.NotReady(facts), facts.SourceStale);

    private static Task ProbeAsync(HttpContext context, ImmutableArray<string> reasons, string? remark = null)
    {
        context.Response.StatusCode = reasons.IsEmpty ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable;
        return WriteAsync(context, "text/plain; charset=utf-8", reasons.IsEmpty ? (remark is null ? "ok\n" : $"ok\nsource: {remark}\n") : string.Join('\n', reasons) + "\n");
    }

    private static async Task StatusAsync(HttpContext context, Func<CancellationToken, Task<StatusDocument>> status)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        deadline.CancelAfter(RequestDeadline);
        var document = await status(deadline.Token);
        context.Response.ContentType = "application/json; charset=utf-8";
        await JsonSerializer.SerializeAsync(context.Response.Body, document, StatusJson.Default.StatusDocument, deadline.Token);
    }

    private static Task NotFoundAsync(HttpContext context)
    {
        context.Response.StatusCode = StatusCodes.Status404NotFound;
        return WriteAsync(context, "text/plain; charset=utf-8", "Here are: /livez /readyz /healthz /metrics /status\n");
    }

    private static Task WriteAsync(HttpContext context, string contentType, string text)
    {
        context.Response.ContentType = contentType;
        return context.Response.WriteAsync(text, Encoding.UTF8, context.RequestAborted);
    }
}
