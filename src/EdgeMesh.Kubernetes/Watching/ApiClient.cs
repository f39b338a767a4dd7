using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Kubernetes.Watching;

/// <summary>GET requests to one API server: credentials, rate limit, deadlines, and every failure as one kind of exception.</summary>
internal sealed class ApiClient : IDisposable
{
    private const int LargestRefusal = 4096;

    private readonly ApiAccess _access;
    private readonly HttpClient _http;
    private readonly TokenBucket _bucket;
    private readonly ApiTimings _timings;
    private readonly TimeProvider _time;

    public ApiClient(ApiAccess access, ApiAccessOptions options, ApiTimings timings, TimeProvider time)
    {
        _access = access;
        _timings = timings;
        _time = time;
        _bucket = new(options.Qps, options.Burst, time);
        _http = new(access.CreateHandler(options.OnSocket)) { BaseAddress = access.Server, Timeout = Timeout.InfiniteTimeSpan };
    }

    /// <param name="path">Relative to the server's address, with its query.</param>
    /// <param name="silence">Longest time without a byte of the body.</param>
    /// <exception cref="ApiFaultException"/>
    public async Task<ApiAnswer> GetAsync(string path, TimeSpan silence, CancellationToken cancellationToken)
    {
        await _bucket.TakeAsync(cancellationToken);
        var response = await SendAsync(path, refused: false, cancellationToken);
        if (response.StatusCode == HttpStatusCode.Unauthorized && _access.Token is not null)
        {
            // The token may have been rotated since it was read.
            response.Dispose();
            await _bucket.TakeAsync(cancellationToken);
            response = await SendAsync(path, refused: true, cancellationToken);
        }

        try
        {
            var body = new DeadlineStream(await response.Content.ReadAsStreamAsync(cancellationToken), silence, _time);
            if (response.StatusCode != HttpStatusCode.OK)
            {
                throw await RefusalAsync(response, body, cancellationToken);
            }

            if (response.Content.Headers.ContentEncoding.Count > 0)
            {
                throw new ApiFaultException($"the server answers in the encoding '{OneLine(string.Join(',', response.Content.Headers.ContentEncoding))}', which was not asked for: something between it and the agent changes answers") { ListAgain = true };
            }

            if (response.Content.Headers.ContentType?.MediaType is { } type && type != "application/json")
            {
                throw new ApiFaultException($"the server answers with {OneLine(type)} instead of JSON: check that {_access.Server} is an API server and not a proxy or a web page") { ListAgain = true };
            }

            return new(response, body);
        }
        catch
        {
            response.Dispose();
            throw;
        }
    }

    /// <summary>Whether this path answers 200; a metaServer's /healthz does while it has its cloud.</summary>
    /// <exception cref="ApiFaultException"/>
    public async Task<bool> IsWellAsync(string path, CancellationToken cancellationToken)
    {
        await _bucket.TakeAsync(cancellationToken);
        using var response = await SendAsync(path, refused: false, cancellationToken);
        return response.StatusCode == HttpStatusCode.OK;
    }

    public void Dispose() => _http.Dispose();

    /// <summary>Text of a peer, fit for a log line.</summary>
    internal static string OneLine(string text)
    {
        var line = new string([.. text.Take(240).Select(c => char.IsControl(c) ? ' ' : c)]).Trim();
        return text.Length > 240 ? line + "…" : line;
    }

    private async Task<HttpResponseMessage> SendAsync(string path, bool refused, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path)
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionOrLower,
        };
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        request.Headers.TryAddWithoutValidation("User-Agent", "edgemesh-agent");
        if (_access.Token?.Get(refused) is { } token)
        {
            request.Headers.Authorization = new("Bearer", token);
        }

        using var deadline = new CancellationTokenSource(_timings.Answer, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, deadline.Token);
        try
        {
            return await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, either.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new ApiFaultException(deadline.IsCancellationRequested
                ? $"no answer within {_timings.Answer.TotalSeconds:0.#} s from {_access.Server}"
                : $"cannot connect to {_access.Server}: no answer to the connection", e) { Unreachable = true };
        }
        catch (Exception e) when (e is HttpRequestException or ApiAccessException or IOException or InvalidOperationException)
        {
            var reason = e is HttpRequestException { InnerException: { } inner } ? inner.InnerException?.Message ?? inner.Message : e.Message;
            throw new ApiFaultException($"cannot reach {_access.Server}: {OneLine(reason)}", e) { Unreachable = true };
        }
    }

    private async Task<ApiFaultException> RefusalAsync(HttpResponseMessage response, Stream body, CancellationToken cancellationToken)
    {
        var said = "";
        try
        {
            var bytes = new byte[LargestRefusal];
            var length = await body.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, cancellationToken);
            said = JsonSerializer.Deserialize(bytes.AsSpan(0, length), ObjectJson.Default.Status)?.Message ?? "";
        }
        catch (Exception e) when (ObjectReader.IsBadInput(e) || e is ApiFaultException)
        {
            // Not a Status: the code has to say it all.
        }

        var advice = response.StatusCode switch
        {
            HttpStatusCode.Unauthorized => ": it does not accept the agent's token or certificate; check the service account or kubeconfig",
            HttpStatusCode.Forbidden => ": grant list and watch to the agent's service account (see its ClusterRole)",
            HttpStatusCode.NotFound => ": it does not know this kind of object; check the server's address and version",
            HttpStatusCode.TooManyRequests => ": it asks to come back later",
            _ => "",
        };
        return new($"the server answered {(int)response.StatusCode}{advice}{(said.Length == 0 ? "" : $" (it says: {OneLine(said)})")}")
        {
            Status = response.StatusCode,
            RetryAfter = RetryAfter(response),
        };
    }

    private TimeSpan? RetryAfter(HttpResponseMessage response) => response.Headers.RetryAfter switch
    {
        { Delta: { } delta } => delta,
        { Date: { } date } => date - _time.GetUtcNow(),
        _ => null,
    };
}

/// <summary>Owns the connection until disposed.</summary>
internal sealed class ApiAnswer(HttpResponseMessage response, Stream body) : IDisposable
{
    public Stream Body => body;

    public void Dispose() => response.Dispose();
}

/// <summary>Where a request goes: path and query in one.</summary>
internal static class ApiPath
{
    public static string List(string path, string? labels, string? fields, int limit, string? token)
    {
        var query = new StringBuilder(path);
        Add(query, "labelSelector", labels);
        Add(query, "fieldSelector", fields);
        Add(query, "limit", limit > 0 ? limit.ToString(CultureInfo.InvariantCulture) : null);
        Add(query, "continue", token);
        return query.ToString();
    }

    public static string Watch(string path, string? labels, string? fields, string? version, int seconds, bool bookmarks)
    {
        var query = new StringBuilder(path);
        Add(query, "watch", "true");
        Add(query, "labelSelector", labels);
        Add(query, "fieldSelector", fields);
        Add(query, "resourceVersion", version);
        Add(query, "allowWatchBookmarks", bookmarks ? "true" : null);
        Add(query, "timeoutSeconds", seconds.ToString(CultureInfo.InvariantCulture));
        return query.ToString();
    }

    private static void Add(StringBuilder query, string name, string? value)
    {
        if (!string.IsNullOrEmpty(value))
        {
            query.Append(query.ToString().Contains('?', StringComparison.Ordinal) ? '&' : '?').Append(name).Append('=').Append(Uri.EscapeDataString(value));
        }
    }
}
