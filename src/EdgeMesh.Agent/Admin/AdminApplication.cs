using System.Collections.Immutable;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace EdgeMesh.Agent.Admin;

/// <summary>One request after another: who asks, for what, and the answer within a deadline.</summary>
internal sealed class AdminApplication(AdminHosts hosts, Func<HealthFacts> health, AnswerCache status, AnswerCache metrics,
    Func<string, string, CancellationToken, Task<NameStatus>>? names) : IHttpApplication<HttpContext>
{
    /// <summary>For the whole answer, until its last byte has been taken.</summary>
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(15);

    private const string Text = "text/plain; charset=utf-8";
    private const string Json = "application/json; charset=utf-8";

    public HttpContext CreateContext(IFeatureCollection contextFeatures) => new DefaultHttpContext(contextFeatures);

    public void DisposeContext(HttpContext context, Exception? exception)
    {
    }

    public async Task ProcessRequestAsync(HttpContext context)
    {
        var connection = context.Features.Get<AdminConnection>();
        connection?.Begin();
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        deadline.CancelAfter(Deadline);
        try
        {
            await AnswerAsync(context, deadline.Token);
        }
        catch (OperationCanceledException)
        {
            context.Abort();
        }
        finally
        {
            connection?.End();
        }
    }

    private Task AnswerAsync(HttpContext context, CancellationToken cancellationToken)
    {
        var request = context.Request;
        context.Response.Headers.XContentTypeOptions = "nosniff";
        context.Response.Headers.CacheControl = "no-store";
        if (!hosts.Allows(request.Headers.Host, context.Connection.LocalIpAddress))
        {
            return RefuseAsync(context, StatusCodes.Status421MisdirectedRequest,
                "This address is asked under a name that is not its own: ask localhost, an address of this node, or the node by its name.\n", cancellationToken);
        }

        // Nobody waits for what will not be read.
        if (request.ContentLength > 0 || request.Headers.TransferEncoding.Count > 0)
            return RefuseAsync(context, StatusCodes.Status413PayloadTooLarge, "No request has a body here.\n", cancellationToken);
        if (!HttpMethods.IsGet(request.Method) && !HttpMethods.IsHead(request.Method))
        {
            context.Response.Headers.Allow = "GET, HEAD";
            return RefuseAsync(context, StatusCodes.Status405MethodNotAllowed, "Only GET and HEAD are answered here.\n", cancellationToken);
        }

        return request.Path.Value switch
        {
            "/livez" => ProbeAsync(context, HealthRules.NotAlive(health()), cancellationToken),
            "/readyz" => ReadyAsync(context, health(), cancellationToken),
            "/healthz" => ProbeAsync(context, HealthRules.NotHealthy(health()), cancellationToken),
            "/metrics" => CachedAsync(context, MetricsPage.ContentType, metrics, cancellationToken),
            "/status" => CachedAsync(context, Json, status, cancellationToken),
            "/dns" => NameAsync(context, cancellationToken),
            _ => WriteAsync(context, StatusCodes.Status404NotFound, Text, "Here are: /livez /readyz /healthz /metrics /status /dns?name=NAME&type=TYPE\n"u8.ToArray(), cancellationToken),
        };
    }

    private static Task ReadyAsync(HttpContext context, HealthFacts facts, CancellationToken cancellationToken) =>
        ProbeAsync(context, HealthRules.NotReady(facts), cancellationToken, facts.SourceStale);

    /// <param name="remark">What is worth knowing although nothing is wrong with the agent.</param>
    private static Task ProbeAsync(HttpContext context, ImmutableArray<string> reasons, CancellationToken cancellationToken, string? remark = null)
    {
        var text = !reasons.IsEmpty ? string.Join('\n', reasons.Select(PlainText.Of)) + "\n"
            : remark is null ? "ok\n"
            : $"ok\nsource: {PlainText.Of(remark)}\n";
        return WriteAsync(
            context, reasons.IsEmpty ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable, Text, Encoding.UTF8.GetBytes(text), cancellationToken);
    }

    private async Task NameAsync(HttpContext context, CancellationToken cancellationToken)
    {
        if (names is null)
        {
            await WriteAsync(context, StatusCodes.Status404NotFound, Text, "This agent does not answer names: modules.edgeDNS is off.\n"u8.ToArray(), cancellationToken);
            return;
        }

        var query = context.Request.Query;
        try
        {
            var answer = await names(query["name"].ToString(), query["type"].ToString(), cancellationToken);
            await WriteAsync(context, StatusCodes.Status200OK, Json, JsonSerializer.SerializeToUtf8Bytes(answer, StatusJson.Default.NameStatus), cancellationToken);
        }
        catch (ArgumentException fault)
        {
            await WriteAsync(context, StatusCodes.Status400BadRequest, Text, Encoding.UTF8.GetBytes(PlainText.Of(fault.Message) + "\n"), cancellationToken);
        }
        catch (IOException fault)
        {
            await WriteAsync(context, StatusCodes.Status503ServiceUnavailable, Text, Encoding.UTF8.GetBytes(PlainText.Of(fault.Message) + "\n"), cancellationToken);
        }
    }

    private static async Task CachedAsync(HttpContext context, string contentType, AnswerCache cache, CancellationToken cancellationToken) =>
        await WriteAsync(context, StatusCodes.Status200OK, contentType, await cache.GetAsync(cancellationToken), cancellationToken);

    private static Task RefuseAsync(HttpContext context, int code, string why, CancellationToken cancellationToken)
    {
        context.Response.Headers.Connection = "close";
        return WriteAsync(context, code, Text, Encoding.UTF8.GetBytes(why), cancellationToken);
    }

    private static async Task WriteAsync(HttpContext context, int code, string contentType, byte[] body, CancellationToken cancellationToken)
    {
        context.Response.StatusCode = code;
        context.Response.ContentType = contentType;
        context.Response.ContentLength = body.Length;
        if (!HttpMethods.IsHead(context.Request.Method))
            await context.Response.Body.WriteAsync(body, cancellationToken);
    }
}
