using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Testing.ApiServer;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

public sealed class MetaServerTests : IAsyncLifetime
{
    private TestApiServer _server = null!;

    public async ValueTask InitializeAsync()
    {
        _server = await TestApiServer.StartAsync(new() { MetaServer = true });
        _server.Put(Sample.Service("web"));
        _server.Put(Sample.Endpoints("web"));
        _server.Put(Sample.Slice("web"));
    }

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    [Fact]
    public async Task UsesEndpointsAndNeitherNodesNorTheApisOwnService()
    {
        _server.Put("""{"apiVersion":"v1","kind":"Service","metadata":{"name":"kubernetes","namespace":"default"},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":443}]}}""");
        await using var running = RunningSource.OfMetaServer(_server);
        var facts = await running.SeesAsync(f => f.Services.Count == 1 && f.Endpoints.Count == 1);
        Assert.Empty(facts.EndpointSlices);
        Assert.Equal(["services", "endpoints"], running.Source.Health.Kinds.Select(k => k.Kind));
        Assert.DoesNotContain(_server.Requests, r => r.Plural is "nodes" or "endpointslices");
    }

    [Fact]
    public async Task ALostEventIsHealedByThePeriodicList()
    {
        await using var running = RunningSource.OfMetaServer(_server);
        await running.SeesAsync(f => f.Services.Count == 1);
        _server.LoseEventsOf("services", "silent");
        _server.Put(Sample.Service("silent", "10.96.0.8"));
        await running.SeesAsync(f => f.Services.Count == 2);
    }

    [Fact]
    public async Task ASpuriousDeletionIsHealedSoon()
    {
        var deletion = "{\"type\":\"DELETED\",\"object\":" + Sample.Service("web") + "}\n";
        _server.Next("watch:services", Misbehave.Stall(deletion));
        await using var running = RunningSource.OfMetaServer(_server, Sample.Quick with { Relist = (TimeSpan.FromHours(1), TimeSpan.FromHours(1)) });
        await RunningSource.UntilAsync(() => running.Kind("services").Events >= 1 && running.Kind("services").Lists >= 2, "the deletion, then a list");
        await running.SeesAsync(f => f.Services.Count == 1);
    }

    [Fact]
    public async Task AReplayOfEverythingChangesNothing()
    {
        await using var running = RunningSource.OfMetaServer(_server);
        var first = await running.SeesAsync(f => f.Services.Count == 1 && f.Endpoints.Count == 1);
        await RunningSource.UntilAsync(() => running.Kind("services") is { Events: >= 1, Lists: >= 3 }, "a replay and lists");
        Assert.Same(first, running.Source.Current);
    }

    [Fact]
    public async Task EachWatchIsItsOwn()
    {
        await using var one = RunningSource.OfMetaServer(_server);
        await using var two = RunningSource.OfMetaServer(_server);
        await RunningSource.UntilAsync(() => _server.OpenWatches == 4, "four watches");
        var watches = _server.Requests.Where(r => r.IsWatch).ToList();
        Assert.Equal(watches.Count, watches.Select(w => w.Query["labelSelector"]).Distinct(StringComparer.Ordinal).Count());
        Assert.All(watches, w => Assert.False(w.Query.ContainsKey("allowWatchBookmarks")));
    }

    [Fact]
    public async Task CorruptedSlicesAreReportedAndNeverUsed()
    {
        await using var running = RunningSource.OfMetaServer(_server, change: o => o with { UseEndpointSlices = true });
        await running.FaultAsync("endpointslices", "single endpoint 127.0.0.1");
        // The watch tells the truth, and lists after it must not undo it.
        var facts = await running.SeesAsync(f => f.EndpointSlices.Count == 1);
        Assert.Equal("10.0.0.0", facts.EndpointSlices[new ObjectName("demo", "web-1")].Endpoints[0].Addresses[0]);
        var lists = running.Kind("endpointslices").Lists;
        await RunningSource.UntilAsync(() => running.Kind("endpointslices").Lists > lists + 1, "more lists");
        Assert.Single(running.Source.Current!.EndpointSlices);
    }

    [Fact]
    public async Task AnEmptyListIsBelievedOnlyTheThirdTime()
    {
        await using var running = RunningSource.OfMetaServer(_server);
        await running.SeesAsync(f => f.Services.Count == 1);
        const string Empty = """{"apiVersion":"v1","kind":"ServiceList","items":[],"metadata":{"resourceVersion":"99999"}}""";
        _server.Next("services", Misbehave.Body(Empty));
        await RunningSource.UntilAsync(() => running.Kind("services").Faults >= 1, "one empty list");
        Assert.Single(running.Source.Current!.Services);
        _server.LoseEventsOf("services", "web");
        _server.Delete("services", "demo", "web");
        await running.SeesAsync(f => f.Services.Count == 0);
    }

    [Fact]
    public async Task AfterEachReconnectThereIsAList()
    {
        await using var running = RunningSource.OfMetaServer(_server, Sample.Quick with { Relist = (TimeSpan.FromHours(1), TimeSpan.FromHours(1)) });
        await RunningSource.UntilAsync(() => _server.OpenWatches == 2, "watches");
        var lists = running.Kind("services").Lists;
        _server.DropConnections();
        await RunningSource.UntilAsync(() => running.Kind("services").Lists > lists, "a list after the reconnect");
    }
}
