using System.Buffers;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Testing.ApiServer;

public sealed record TestApiServerOptions
{
    public IPAddress Address { get; init; } = IPAddress.Loopback;

    /// <summary>0: any free port.</summary>
    public int Port { get; init; }

    /// <summary>Answers as KubeEdge's metaServer, see <see cref="EdgeDatabase"/>: with its cloud a list is the cloud's, but for
    /// EndpointSlices, which are corrupted; a watch replays the local database, whatever version is asked; no bookmarks.</summary>
    public bool MetaServer { get; init; }

    public X509Certificate2? Certificate { get; init; }

    /// <summary>Clients must show a certificate of this CA.</summary>
    public X509Certificate2? ClientCa { get; init; }

    /// <summary>What it has; a server that is restarted takes over the old one's. Null: nothing yet.</summary>
    public ApiStore? Store { get; init; }

    /// <summary>Makes the bound listen socket, so that it can belong to another network namespace; null: this process's.</summary>
    public Func<EndPoint, Socket>? Bind { get; init; }

    public TimeSpan BookmarkInterval { get; init; } = TimeSpan.FromSeconds(60);
}

/// <summary>One request as it came in.</summary>
public sealed record RecordedRequest(string Path, IReadOnlyDictionary<string, string> Query, string? Authorization)
{
    public bool IsWatch => Query.GetValueOrDefault("watch") == "true";

    public string Plural => Path[(Path.LastIndexOf('/') + 1)..];
}

/// <summary>What a server does instead of answering rightly.</summary>
public delegate Task Misbehaviour(HttpContext context);

/// <summary>An API server in this process that speaks list and watch over real connections, and misbehaves on command.</summary>
public sealed partial class TestApiServer : IAsyncDisposable
{
    private readonly ConcurrentDictionary<string, (string ApiVersion, string Kind)> _kinds = new(StringComparer.Ordinal)
    {
        ["services"] = ("v1", "Service"),
        ["endpoints"] = ("v1", "Endpoints"),
        ["nodes"] = ("v1", "Node"),
        ["endpointslices"] = ("discovery.k8s.io/v1", "EndpointSlice"),
    };

    private readonly TestApiServerOptions _options;
    private readonly WebApplication _app;
    private readonly ConcurrentQueue<RecordedRequest> _requests = new();
    private readonly ConcurrentDictionary<string, ConcurrentQueue<Misbehaviour>> _next = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Misbehaviour> _always = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<(string Plural, string Name), byte> _lost = new();
    private CancellationTokenSource _connections = new();
    private int _openWatches;

    private TestApiServer(TestApiServerOptions options)
    {
        _options = options;
        Store = options.Store ?? new();
        Edge = new(Store);
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        if (options.Bind is { } bind)
        {
            builder.WebHost.UseSockets(sockets => sockets.CreateBoundListenSocket = bind);
        }

        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MinResponseDataRate = null;
            kestrel.Listen(options.Address, options.Port, listen =>
            {
                if (options.Certificate is not null)
                {
                    listen.UseHttps(https =>
                    {
                        https.ServerCertificate = options.Certificate;
                        https.ClientCertificateMode = options.ClientCa is null ? ClientCertificateMode.NoCertificate : ClientCertificateMode.RequireCertificate;
                        https.ClientCertificateValidation = (certificate, _, _) => IssuedBy(certificate, options.ClientCa);
                    });
                }
            });
        });
        _app = builder.Build();
        _app.Run(HandleAsync);
    }

    public ApiStore Store { get; }

    /// <summary>In the metaServer's role: its local database and its way to the cloud.</summary>
    public EdgeDatabase Edge { get; }

    /// <summary>With scheme, address and port.</summary>
    public string Url { get; private set; } = "";

    public IReadOnlyCollection<RecordedRequest> Requests => _requests;

    /// <summary>Null: anybody may ask. Otherwise 401 without this bearer token.</summary>
    public string? Token { get; set; }

    public int OpenWatches => Volatile.Read(ref _openWatches);

    /// <summary>Applies to lists of EndpointSlices in the metaServer's role.</summary>
    public bool CorruptSlices { get; set; } = true;

    public static async Task<TestApiServer> StartAsync(TestApiServerOptions? options = null)
    {
        var server = new TestApiServer(options ?? new());
        await server._app.StartAsync();
        server.Url = server._app.Urls.First().TrimEnd('/');
        return server;
    }

    /// <summary>Creates or replaces an object given as JSON with apiVersion and kind.</summary>
    public void Put(string json)
    {
        var value = JsonNode.Parse(json)!.AsObject();
        Store.Put(_kinds.First(k => k.Value.Kind == (string?)value["kind"]).Key, value);
    }

    /// <summary>From now on it has objects of this kind, as after a CustomResourceDefinition; before, it answers 404.</summary>
    public void Install(string plural, string apiVersion, string kind) => _kinds[plural] = (apiVersion, kind);

    public void Uninstall(string plural) => _kinds.TryRemove(plural, out _);

    public bool Delete(string plural, string space, string name) => Store.Delete(plural, space, name);

    /// <summary>The next request for this kind gets this instead. Key: the plural, and "watch:" before it for watches.</summary>
    public void Next(string key, Misbehaviour misbehaviour) => _next.GetOrAdd(key, _ => new()).Enqueue(misbehaviour);

    /// <summary>Whatever was still to come by <see cref="Next"/> is not.</summary>
    public void Calm() => _next.Clear();

    /// <summary>Each request gets this instead, until called with null.</summary>
    public void Always(string key, Misbehaviour? misbehaviour)
    {
        if (misbehaviour is null)
        {
            _always.TryRemove(key, out _);
        }
        else
        {
            _always[key] = misbehaviour;
        }
    }

    /// <summary>Watches keep silent about this object, as a metaServer that loses an event.</summary>
    public void LoseEventsOf(string plural, string name) => _lost[(plural, name)] = 0;

    /// <summary>Cuts every open connection in the middle of whatever it does.</summary>
    public void DropConnections()
    {
        // Not disposed: a request that is just coming in may still register with it.
        Interlocked.Exchange(ref _connections, new CancellationTokenSource()).Cancel();
    }

    public async ValueTask DisposeAsync()
    {
        DropConnections();
        await _app.DisposeAsync();
    }

    private static bool IssuedBy(X509Certificate2 certificate, X509Certificate2? ca)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(ca!);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        return chain.Build(certificate);
    }

    private async Task HandleAsync(HttpContext context)
    {
        var request = new RecordedRequest(
            context.Request.Path,
            context.Request.Query.ToDictionary(q => q.Key, q => q.Value.ToString(), StringComparer.Ordinal),
            context.Request.Headers.Authorization.FirstOrDefault());
        _requests.Enqueue(request);
        await using var drop = _connections.Token.Register(context.Abort);
        var key = (request.IsWatch ? "watch:" : "") + request.Plural;
        if (_next.TryGetValue(key, out var queue) && queue.TryDequeue(out var misbehaviour))
        {
            await misbehaviour(context);
        }
        else if (_always.TryGetValue(key, out misbehaviour))
        {
            await misbehaviour(context);
        }
        else if (Token is not null && request.Authorization != $"Bearer {Token}")
        {
            await Misbehave.StatusAsync(context, 401, "Unauthorized");
        }
        else if (_options.MetaServer && request.Plural is "healthz" or "readyz" or "version")
        {
            context.Response.StatusCode = Edge.Connected ? 200 : 503;
        }
        else if (!_kinds.TryGetValue(request.Plural, out var kind))
        {
            await Misbehave.StatusAsync(context, 404, "the server could not find the requested resource");
        }
        else if (request.IsWatch)
        {
            Interlocked.Increment(ref _openWatches);
            try
            {
                await (_options.MetaServer ? WatchAtEdgeAsync(context, request) : WatchAsync(context, request));
            }
            catch (OperationCanceledException)
            {
                // The client left, or the connection was dropped on command.
            }
            finally
            {
                Interlocked.Decrement(ref _openWatches);
            }
        }
        else
        {
            await (_options.MetaServer && !await Edge.AsksCloudAsync(request.Plural, context.RequestAborted)
                ? ListLocallyAsync(context, request, kind.ApiVersion, kind.Kind)
                : ListAsync(context, request, kind.ApiVersion, kind.Kind));
        }
    }

    private async Task ListAsync(HttpContext context, RecordedRequest request, string apiVersion, string kind)
    {
        var (version, objects) = Matching(request);
        string? token = null;
        if (int.TryParse(request.Query.GetValueOrDefault("limit"), out var limit) && limit > 0)
        {
            var from = 0;
            if (request.Query.GetValueOrDefault("continue") is { Length: > 0 } given)
            {
                var parts = given.Split('-');
                version = long.Parse(parts[0]);
                from = int.Parse(parts[1]);
            }

            token = from + limit < objects.Count ? $"{version}-{from + limit}" : null;
            objects = objects.GetRange(Math.Min(from, objects.Count), Math.Clamp(objects.Count - from, 0, limit));
        }

        context.Response.ContentType = "application/json";
        var text = context.Response.BodyWriter;
        // In the order of Go's maps, so the envelope's kind comes after the items, as from a metaServer.
        text.Write(Encoding.UTF8.GetBytes($$"""{"apiVersion":"{{apiVersion}}","items":["""));
        for (var i = 0; i < objects.Count; i++)
        {
            var item = objects[i];
            if (_options.MetaServer && CorruptSlices && kind == "EndpointSlice")
            {
                item = (JsonObject)item.DeepClone();
                item["endpoints"] = new JsonArray(new JsonObject { ["addresses"] = new JsonArray("127.0.0.1") });
            }

            if (i > 0)
            {
                text.Write(","u8);
            }

            text.Write(ReferenceEquals(item, objects[i]) ? Store.Json(item) : JsonSerializer.SerializeToUtf8Bytes<JsonNode>(item));
            if (text.UnflushedBytes > 1 << 16)
            {
                await text.FlushAsync(context.RequestAborted);
            }
        }

        var metadata = new JsonObject { ["resourceVersion"] = $"{version}" };
        if (token is not null)
        {
            metadata["continue"] = token;
        }

        text.Write(Encoding.UTF8.GetBytes($$"""],"kind":"{{kind}}List","metadata":{{metadata.ToJsonString()}}}""" + "\n"));
        await text.FlushAsync(context.RequestAborted);
    }

    private (long Version, List<JsonObject> Objects) Matching(RecordedRequest request) => Store.List(
        request.Plural, $"{request.Query.GetValueOrDefault("labelSelector")} {request.Query.GetValueOrDefault("fieldSelector")}", o => Selector.Matches(o, request));

    private async Task WatchAsync(HttpContext context, RecordedRequest request)
    {
        var stop = context.RequestAborted;
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(stop);
        if (int.TryParse(request.Query.GetValueOrDefault("timeoutSeconds"), out var seconds))
        {
            deadline.CancelAfter(TimeSpan.FromSeconds(seconds));
        }

        context.Response.ContentType = "application/json";
        var version = long.TryParse(request.Query.GetValueOrDefault("resourceVersion"), out var given) ? given : Store.Version;

        await context.Response.Body.FlushAsync(stop);
        while (true)
        {
            var changed = Store.Changed;
            var events = Store.Since(request.Plural, version);
            if (events is null)
            {
                await WriteAsync(context, "ERROR", new() { ["kind"] = "Status", ["apiVersion"] = "v1", ["status"] = "Failure", ["message"] = "too old resource version", ["reason"] = "Expired", ["code"] = 410 });
                return;
            }

            foreach (var change in events)
            {
                version = change.Version;
                if (!_lost.ContainsKey((change.Plural, (string)change.Object["metadata"]!["name"]!)))
                {
                    // An object that stops matching is deleted for this watch.
                    await WriteAsync(context, Selector.Matches(change.Object, request) ? change.Type : "DELETED", change.Object);
                }
            }

            await context.Response.Body.FlushAsync(stop);
            try
            {
                await changed.WaitAsync(_options.BookmarkInterval, deadline.Token);
            }
            catch (TimeoutException)
            {
                if (request.Query.GetValueOrDefault("allowWatchBookmarks") == "true")
                {
                    version = Math.Max(version, Store.Version);
                    await WriteAsync(context, "BOOKMARK", new() { ["metadata"] = new JsonObject { ["resourceVersion"] = $"{version}" } });
                    await context.Response.Body.FlushAsync(stop);
                }
            }
            catch (OperationCanceledException) when (!stop.IsCancellationRequested)
            {
                return;
            }
        }
    }

    private static Task WriteAsync(HttpContext context, string type, JsonObject value) =>
        context.Response.WriteAsync($$"""{"type":"{{type}}","object":{{value.ToJsonString()}}}""" + "\n", context.RequestAborted);
}
