using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Authentication;
using System.Text;
using System.Text.Json;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Kubernetes.Watching;

/// <summary>GET requests to one API server: credentials, rate limit, deadlines, and every failure as one kind of exception.</summary>
internal sealed class ApiClient : IDisposable
{
    private const int LargestRefusal = 4096;

    private readonly ApiAccessOptions _options;
    private readonly TokenBucket _bucket;
    private readonly Lock _gate = new();
    private volatile Way _way;
    private Way? _before;
    private readonly ApiTimings _timings;
    private readonly TimeProvider _time;

    public ApiClient(ApiAccess access, ApiAccessOptions options, ApiTimings timings, TimeProvider time)
    {
        _options = options;
        _timings = timings;
        _time = time;
        _bucket = new(options.Qps, options.Burst, time);
        _way = new(access, options.OnSocket);
    }

    /// <summary>The way that counts now.</summary>
    public ApiAccess Access => _way.Access;

    /// <summary>Looks whether the files changed that say which server it is and how it is asked. A file that is broken changes nothing.</summary>
    /// <returns>What is wrong with them; null: nothing.</returns>
    public string? Look()
    {
        var way = _way;
        if (!way.Access.IsOutdated)
        {
            return null;
        }

        try
        {
            Replace(way, ApiAccess.Resolve(_options, _time));
            return null;
        }
        catch (ApiAccessException e)
        {
            return e.Message;
        }
    }

    /// <param name="path">Relative to the server's address, with its query.</param>
    /// <param name="silence">Longest time without a byte of the body.</param>
    /// <exception cref="ApiFaultException"/>
    public async Task<ApiAnswer> GetAsync(string path, TimeSpan silence, CancellationToken cancellationToken)
    {
        await _bucket.TakeAsync(cancellationToken);
        var way = await WayAsync(refused: null, cancellationToken);
        var response = await SendAsync(way, path, refused: false, cancellationToken);
        if (response.StatusCode == HttpStatusCode.Unauthorized && way.Access.HasCredentials)
        {
            // They may have been rotated since they were read.
            response.Dispose();
            await _bucket.TakeAsync(cancellationToken);
            way = await WayAsync(refused: way, cancellationToken);
            response = await SendAsync(way, path, refused: true, cancellationToken);
        }

        try
        {
            var body = new DeadlineStream(await response.Content.ReadAsStreamAsync(cancellationToken), silence, _time, way.Left);
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
                throw new ApiFaultException($"the server answers with {OneLine(type)} instead of JSON: check that {way.Access.Server} is an API server and not a proxy or a web page") { ListAgain = true };
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
        using var response = await SendAsync(await WayAsync(refused: null, cancellationToken), path, refused: false, cancellationToken);
        return response.StatusCode == HttpStatusCode.OK;
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _before?.Dispose();
            _way.Dispose();
        }
    }

    /// <summary>Text of a peer, fit for a log line.</summary>
    internal static string OneLine(string text, int most = 240)
    {
        var line = new string([.. text.Take(most).Select(c => char.IsControl(c) ? ' ' : c)]).Trim();
        return text.Length > most ? line + "…" : line;
    }

    internal static ApiFaultException Left(Exception e) => new("the configuration of the access names another server now", e) { ListAgain = true };

    /// <param name="refused">By which a request just met with 401; null: none.</param>
    private async Task<Way> WayAsync(Way? refused, CancellationToken cancellationToken)
    {
        Look();
        var way = _way;
        // Connections that stand have shown the old certificate.
        if (ReferenceEquals(way, refused) && way.Access.RenewCertificate())
        {
            way = Replace(way, way.Access);
        }

        if (way.Access.Exec is not { } exec)
        {
            return way;
        }

        try
        {
            var credential = await exec.GetAsync(refused?.Credential, cancellationToken);
            if (way.Credential is { } old && old.Certificate?.Thumbprint != credential.Certificate?.Thumbprint)
            {
                way = Replace(way, way.Access);
            }

            way.Credential = credential;
            return way;
        }
        catch (ApiAccessException e)
        {
            throw new ApiFaultException(OneLine(e.Message, most: 1000), e) { Unreachable = true };
        }
    }

    /// <summary>From now on requests go there; those under way end where they are, or break off where another server counts.</summary>
    /// <returns>The way that counts now.</returns>
    private Way Replace(Way old, ApiAccess access)
    {
        lock (_gate)
        {
            if (!ReferenceEquals(_way, old))
            {
                return _way;
            }

            // Requests under way may use the one before for as long as it takes to be replaced again.
            _before?.Dispose();
            (_before, _way) = (old, new(access, _options.OnSocket));
            if (!access.LeadsWhere(old.Access))
            {
                old.Leave();
            }

            return _way;
        }
    }

    private async Task<HttpResponseMessage> SendAsync(Way way, string path, bool refused, CancellationToken cancellationToken)
    {
        var server = way.Access.Server;
        using var request = new HttpRequestMessage(HttpMethod.Get, path)
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionOrLower,
        };
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        request.Headers.TryAddWithoutValidation("User-Agent", "edgemesh-agent");
        if ((way.Access.Token?.Get(refused) ?? way.Credential?.Token) is { } token)
        {
            request.Headers.Authorization = new("Bearer", token);
        }

        using var deadline = new CancellationTokenSource(_timings.Answer, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, deadline.Token, way.Left);
        try
        {
            return await way.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, either.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw way.Left.IsCancellationRequested ? Left(e) : new ApiFaultException(deadline.IsCancellationRequested
                ? $"no answer within {_timings.Answer.TotalSeconds:0.#} s from {server}"
                : $"cannot connect to {server}: no answer to the connection", e) { Unreachable = true };
        }
        catch (Exception e) when (e is HttpRequestException or ApiAccessException or IOException or InvalidOperationException)
        {
            var reason = e is HttpRequestException { InnerException: AuthenticationException } && way.Access.Refusal is { } refusal ? refusal
                : e is HttpRequestException { InnerException: { } inner } ? inner.InnerException?.Message ?? inner.Message : e.Message;
            throw new ApiFaultException($"cannot reach {server}: {OneLine(reason)}", e) { Unreachable = true };
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

    /// <summary>One access and the connections that were made by it.</summary>
    private sealed class Way : IDisposable
    {
        private readonly CancellationTokenSource _left = new();

        public Way(ApiAccess access, Action<System.Net.Sockets.Socket>? onSocket)
        {
            Access = access;
            Left = _left.Token;
            Http = new(access.CreateHandler(onSocket)) { BaseAddress = access.Server, Timeout = Timeout.InfiniteTimeSpan };
        }

        public ApiAccess Access { get; }

        public HttpClient Http { get; }

        /// <summary>Cancelled when another server counts.</summary>
        public CancellationToken Left { get; }

        /// <summary>What an exec program gave for it.</summary>
        public ExecCredential? Credential { get; set; }

        public void Leave() => _left.Cancel();

        public void Dispose()
        {
            Http.Dispose();
            _left.Dispose();
        }
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
