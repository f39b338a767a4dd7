using System.Collections.Concurrent;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Watching;
using EdgeMesh.Testing.ApiServer;
using EdgeMesh.Testing.Lab;
using Microsoft.Extensions.Logging;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

/// <summary>Objects as an API server sends them, and a source that runs for one test.</summary>
internal static class Sample
{
    public static string Service(string name, string ip = "10.96.0.1", string labels = "{}", string port = "80") =>
        $$"""{"apiVersion":"v1","kind":"Service","metadata":{"name":"{{name}}","namespace":"demo","labels":{{labels}},"managedFields":[{"manager":"kubectl"}]},"spec":{"type":"ClusterIP","clusterIP":"{{ip}}","clusterIPs":["{{ip}}"],"ports":[{"name":"http","protocol":"TCP","port":{{port}},"targetPort":8080}]},"status":{"loadBalancer":{} } }""";

    public static string Slice(string service, int endpoints = 1) =>
        $$"""{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"{{service}}-1","namespace":"demo","labels":{"kubernetes.io/service-name":"{{service}}"} },"addressType":"IPv4","ports":[{"name":"http","port":8080,"protocol":"TCP"}],"endpoints":[{{string.Join(',', Enumerable.Range(0, endpoints).Select(i => $$"""{"addresses":["10.{{i / 65536}}.{{i / 256 % 256}}.{{i % 256}}"],"conditions":{"ready":true,"serving":true,"terminating":false},"nodeName":"node-{{i % 50}}","targetRef":{"kind":"Pod","name":"p-{{i}}"},"zone":"zone-a"}"""))}}]}""";

    public static string Endpoints(string service, string ip = "10.244.0.1") =>
        $$"""{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"{{service}}","namespace":"demo"},"subsets":[{"addresses":[{"ip":"{{ip}}","nodeName":"edge-1"}],"ports":[{"name":"http","port":8080,"protocol":"TCP"}]}]}""";

    public static ApiTimings Quick { get; } = new()
    {
        Answer = TimeSpan.FromSeconds(5),
        ListSilence = TimeSpan.FromSeconds(5),
        WatchSilence = TimeSpan.FromSeconds(30),
        MetaServerSilence = TimeSpan.FromSeconds(30),
        AccessLook = TimeSpan.FromMilliseconds(50),
        FirstBackoff = TimeSpan.FromMilliseconds(10),
        LongestBackoff = TimeSpan.FromMilliseconds(50),
        Relist = (TimeSpan.FromMilliseconds(200), TimeSpan.FromMilliseconds(300)),
        PromptRelist = TimeSpan.FromMilliseconds(20),
        RelistOffline = (TimeSpan.FromMilliseconds(200), TimeSpan.FromMilliseconds(300)),
        Reopen = TimeSpan.FromMilliseconds(100),
        Unreachable = (TimeSpan.FromMilliseconds(10), TimeSpan.FromMilliseconds(50)),
        Lacking = (TimeSpan.FromMilliseconds(20), TimeSpan.FromMilliseconds(50)),
        Publish = TimeSpan.FromMilliseconds(20),
    };
}

/// <summary>A source that runs until the test ends.</summary>
internal sealed class RunningSource : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;

    public RunningSource(IClusterSource source)
    {
        Source = source;
        _running = source.RunAsync(_stop.Token);
    }

    public IClusterSource Source { get; }

    public static RunningSource Of(TestApiServer server, ApiTimings? timings = null, Func<ApiAccessOptions, ApiAccessOptions>? change = null, ILogger? logger = null, TimeProvider? time = null)
    {
        var options = new ApiAccessOptions { Master = server.Url, NodeName = "n1" };
        options = change is null ? options : change(options);
        return new(new ApiServerSource(ApiAccess.Resolve(options, time ?? TimeProvider.System), options, timings ?? Sample.Quick, time ?? TimeProvider.System, logger ?? new LogLines()));
    }

    public static RunningSource OfMetaServer(TestApiServer server, ApiTimings? timings = null, Func<ApiAccessOptions, ApiAccessOptions>? change = null) =>
        Of(server, timings, o => (change ?? (x => x))(o with { Master = "", MetaServer = new() { Server = server.Url } }));

    /// <summary>With its cache, as the agent runs it.</summary>
    public static RunningSource CachedOfMetaServer(TestApiServer server, string path, ApiTimings? timings = null)
    {
        var options = new ApiAccessOptions { Environment = _ => null, NodeName = "n1", MetaServer = new() { Server = server.Url } };
        var source = new ApiServerSource(ApiAccess.Resolve(options, TimeProvider.System), options, timings ?? Sample.Quick, TimeProvider.System, new LogLines());
        return new(new CachedSource(
            source, path, source.Identity, _ => Task.FromResult(source.Identity), TimeSpan.FromMilliseconds(10), TimeProvider.System, new LogLines(), kept => source.Seed(kept.Facts)));
    }

    /// <summary>Waits for a view of which this is true.</summary>
    public async Task<ClusterFacts> SeesAsync(Func<ClusterFacts, bool> condition)
    {
        using var deadline = new CancellationTokenSource(Patience);
        ClusterFacts? seen = null;
        try
        {
            do
            {
                seen = await Source.NextAsync(seen, deadline.Token);
            }
            while (!condition(seen));
        }
        catch (OperationCanceledException)
        {
            Assert.Fail($"not seen in time; services: {string.Join(' ', seen?.Services.Keys.Select(k => k.ToString()) ?? ["none"])}; faults: {string.Join("; ", Source.Health.Kinds.Select(k => k.Fault))}");
        }

        return seen!;
    }

    public static Task UntilAsync(Func<bool> condition, string what) => Eventually.HoldsAsync(condition, Patience, what);

    public KindHealth Kind(string plural) => Source.Health.Kinds.Single(k => k.Kind == plural);

    public Task FaultAsync(string plural, string part) =>
        UntilAsync(() => Kind(plural).Fault?.Contains(part, StringComparison.Ordinal) == true, $"a fault of {plural} that says '{part}'; it says '{Kind(plural).Fault}'");

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.WaitAsync(Patience);
        (Source as IDisposable)?.Dispose();
        _stop.Dispose();
    }
}

internal sealed class LogOf<T>(LogLines lines) : ILogger<T>
{
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        lines.Log(logLevel, eventId, state, exception, formatter);
}

internal sealed class LogLines : ILogger
{
    public ConcurrentQueue<(LogLevel Level, string Text)> Lines { get; } = new();

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        Lines.Enqueue((logLevel, formatter(state, exception)));
}
