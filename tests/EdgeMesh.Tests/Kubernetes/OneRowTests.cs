using System.Collections.Immutable;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Caching;
using EdgeMesh.Testing.ApiServer;
using Microsoft.Extensions.Logging;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

/// <summary>A kind costs its type and one row: this one is known here alone.</summary>
public sealed class OneRowTests : IDisposable
{
    private static readonly ClusterIdentity A = new("kubeconfig /etc/a", "https://a/", "CA");

    private static readonly Kind<Widget> Widgets = new("example.org/v1", "widgets", "Widget", Widget.Schema)
    { Check = w => w.Size < 0 ? ($"has the impossible size {w.Size}", "$.size") : null, IsOptional = true, CachedAs = "widget" };

    private static readonly ImmutableArray<Kind> Table = [.. Kinds.All, Widgets];

    private readonly TemporaryFolder _folder = new();
    private readonly LogLines _log = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task AKindOfOneRowIsListedWatchedCheckedAndCached()
    {
        await using var server = await TestApiServer.StartAsync();
        server.Install("widgets", "example.org/v1", "Widget");
        server.Put(WidgetJson(3));
        await using (var running = Run(server))
        {
            var facts = await running.SeesAsync(f => f.Of(Widgets).Count == 1);
            Assert.Equal(3, facts.Of(Widgets)[new("demo", "a")].Size);
            server.Put(WidgetJson(4));
            await running.SeesAsync(f => f.Of(Widgets)[new("demo", "a")].Size == 4);
            server.Put(WidgetJson(-1));
            await running.FaultAsync("widgets", "demo/a has the impossible size -1");
        }

        server.Always("services", Misbehave.Status(503));
        server.Always("widgets", Misbehave.Status(503));
        await using var again = Run(server);
        var cached = await again.SeesAsync(f => f.Of(Widgets).Count == 1);
        Assert.Equal((FactsOrigin.Cache, 4), (cached.Origin, cached.Of(Widgets)[new("demo", "a")].Size));
    }

    [Fact]
    public async Task AKindOfOneRowIsReadFromAManifest()
    {
        _folder.Write("widgets.yaml", "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: a}\nsize: 3\n---\napiVersion: example.org/v1\nkind: Widget\nmetadata:\n  name: b\nsize: -2\n---\napiVersion: example.org/v2\nkind: Widget\n");
        await using var running = new RunningSource(new ManifestSource(_folder.Path, "n1", TimeSpan.FromSeconds(1), TimeProvider.System, _log, Table));
        var facts = await running.SeesAsync(f => f.Of(Widgets).Count == 1);
        Assert.Equal(3, facts.Of(Widgets)[new("default", "a")].Size);
        Assert.Contains(_log.Lines, l => l.Text.Contains("widgets.yaml:10 Widget default/b has the impossible size -2", StringComparison.Ordinal));
        Assert.Contains(_log.Lines, l => l.Text.Contains("widgets.yaml:12 is a Widget of apiVersion 'example.org/v2', which is not read: write example.org/v1", StringComparison.Ordinal));
    }

    [Fact]
    public async Task AKindThatTheClusterLacksIsNoFaultAndIsTakenOnceItIsThere()
    {
        await using var server = await TestApiServer.StartAsync();
        server.Put("""{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"demo"},"spec":{"clusterIP":"10.96.0.1"}}""");
        await using var running = Run(server);
        await running.SeesAsync(f => f.Services.Count == 1 && f.Origin == FactsOrigin.Live);
        await RunningSource.UntilAsync(() => server.Requests.Count(r => r.Plural == "widgets") > 3, "further questions");
        Assert.Equal((true, null), (running.Kind("widgets").Synced, running.Kind("widgets").Fault));

        server.Install("widgets", "example.org/v1", "Widget");
        server.Put(WidgetJson(3));
        await running.SeesAsync(f => f.Of(Widgets).Count == 1);
        server.Uninstall("widgets");
        server.DropConnections();
        await running.SeesAsync(f => f.Of(Widgets).IsEmpty);
        Assert.DoesNotContain(_log.Lines, l => l.Level >= LogLevel.Warning && l.Text.Contains("widgets", StringComparison.Ordinal));
    }

    [Fact]
    public async Task WhatNobodyWouldTakeFromAServerIsNotTakenFromTheCacheEither()
    {
        var path = Path.Combine(_folder.Path, "facts.json");
        var facts = new ClusterFacts { Origin = FactsOrigin.Live, AsOf = DateTimeOffset.UnixEpoch };
        Service good = Named("good", 80), bad = Named("bad", 70_000);
        facts = facts.With(Kinds.Services, ImmutableDictionary<ObjectName, Service>.Empty.Add(good.Key, good).Add(bad.Key, bad));
        await FactsFile.WriteAsync(path, A, facts, CancellationToken.None);
        var kept = await FactsFile.ReadAsync(path, A, CancellationToken.None);
        Assert.Equal([good.Key], kept!.Facts.Services.Keys);
        Assert.Equal("Service demo/bad has the impossible port 70000; ports are 1 to 65535", Assert.Single(kept.Faults));
    }

    private static Service Named(string name, int port) =>
        new() { Metadata = new() { Name = name, Namespace = "demo" }, Spec = new() { Ports = [new() { Port = port }] } };

    private static string WidgetJson(int size) => $$"""{"apiVersion":"example.org/v1","kind":"Widget","metadata":{"name":"a","namespace":"demo"},"size":{{size}}}""";

    private RunningSource Run(TestApiServer server)
    {
        var options = new ApiAccessOptions { Master = server.Url };
        var inner = new ApiServerSource(ApiAccess.Resolve(options, TimeProvider.System), options, Sample.Quick, TimeProvider.System, _log, Table);
        return new(new CachedSource(inner, Path.Combine(_folder.Path, "facts.json"), A, _ => Task.FromResult(A), TimeSpan.FromMilliseconds(20), TimeProvider.System, _log, kinds: Table));
    }

    private sealed record Widget : KubernetesObject
    {
        public int Size { get; internal set; }

        internal static ObjectSchema<Widget> Schema { get; } = new(() => new())
        {
            { "size", JsonShapes.Number, o => o.Size, (ref o, v) => o.Size = v },
        };
    }
}
