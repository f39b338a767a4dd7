using System.Security.Cryptography;
using System.Text;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Caching;
using EdgeMesh.Testing.ApiServer;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

/// <summary>A metaServer whose cloud comes and goes.</summary>
public sealed class OfflineEdgeTests : IAsyncLifetime
{
    private TestApiServer _server = null!;

    public async ValueTask InitializeAsync()
    {
        _server = await TestApiServer.StartAsync(new() { MetaServer = true });
        foreach (var name in (string[])["web", "shop", "old"])
        {
            _server.Put(Sample.Service(name));
            _server.Put(Sample.Endpoints(name));
        }
    }

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    [Fact]
    public async Task AStaleAndIncompleteDatabaseUndoesNothingThatTheCloudSaid()
    {
        await using var running = RunningSource.OfMetaServer(_server);
        await running.SeesAsync(f => f.Services.Count == 3 && f.Endpoints.Count == 3);
        _server.Edge.Freeze();
        _server.Put(Sample.Service("web", "10.96.0.99"));
        _server.Put(Sample.Service("new"));
        _server.Delete("services", "demo", "old");
        _server.Edge.Lose("endpoints", "demo", "shop");
        var before = await running.SeesAsync(f => f.Services.Count == 3 && f.Services.ContainsKey(Name("new")) && Ip(f, "web") == "10.96.0.99");
        _server.Edge.Disconnect();
        await RunningSource.UntilAsync(() => running.Kind("services").Offline && running.Kind("endpoints").Offline, "offline");
        _server.DropConnections();
        var lists = running.Kind("services").Lists;
        await RunningSource.UntilAsync(() => running.Kind("services").Lists > lists + 3, "local lists and replays");
        Assert.Equal(before.Services.Keys.Order(Comparer<ObjectName>.Create((a, b) => string.CompareOrdinal(a.Name, b.Name))), running.Source.Current!.Services.Keys.Order(Comparer<ObjectName>.Create((a, b) => string.CompareOrdinal(a.Name, b.Name))));
        Assert.Equal("10.96.0.99", Ip(running.Source.Current!, "web"));
        Assert.Equal(3, running.Source.Current!.Endpoints.Count);
        Assert.StartsWith("offline, facts of", running.Source.Health.Stale, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TheCloudsReturnIsSeenAndTheWatchesSpeakAgain()
    {
        await using var running = RunningSource.OfMetaServer(_server);
        await running.SeesAsync(f => f.Services.Count == 3);
        _server.Edge.Disconnect();
        await RunningSource.UntilAsync(() => running.Source.Health.Offline, "offline");
        _server.Delete("services", "demo", "old");
        _server.Put(Sample.Service("new"));
        _server.Edge.Connect();
        await running.SeesAsync(f => f.Services.Count == 3 && f.Services.ContainsKey(Name("new")));
        await RunningSource.UntilAsync(() => !running.Source.Health.Offline, "online");
        Assert.Null(running.Source.Health.Stale);
    }

    [Fact]
    public async Task SilentWatchesAreOpenedAnewOnceAListFindsWhatTheyMissed()
    {
        await using var running = RunningSource.OfMetaServer(_server);
        await running.SeesAsync(f => f.Services.Count == 3);
        await RunningSource.UntilAsync(() => _server.OpenWatches == 2, "watches");
        _server.Edge.RestartCloud();
        var (services, endpoints) = (running.Kind("services").Watches, running.Kind("endpoints").Watches);
        _server.Put(Sample.Service("new"));
        await running.SeesAsync(f => f.Services.ContainsKey(Name("new")));
        await RunningSource.UntilAsync(() => running.Kind("services").Watches > services && running.Kind("endpoints").Watches > endpoints, "new watches of both kinds");
    }

    [Fact]
    public async Task AForbiddenKindIsNeverWatched()
    {
        _server.Edge.Forbid("endpoints");
        await using var running = RunningSource.OfMetaServer(_server);
        await running.FaultAsync("endpoints", "does not allow");
        await RunningSource.UntilAsync(() => running.Kind("services").Lists > 3, "lists");
        Assert.DoesNotContain(_server.Requests, r => r is { IsWatch: true, Plural: "endpoints" });
        Assert.True(_server.Edge.Connected);
        Assert.Null(running.Source.Current);
    }

    [Fact]
    public async Task AFirstStartOfflineUsesLocalFactsAndTheCloudOverrulesThem()
    {
        _server.Edge.Disconnect();
        _server.Delete("services", "demo", "old");
        await using var running = RunningSource.OfMetaServer(_server);
        await running.SeesAsync(f => f.Services.Count == 3);
        Assert.Equal("offline, facts of the local database alone", running.Source.Health.Stale);
        Assert.DoesNotContain(_server.Requests, r => r.IsWatch);
        _server.Edge.Connect();
        await running.SeesAsync(f => f.Services.Count == 2);
    }

    [Fact]
    public async Task TheCloudsFirstWordIsPublishedThoughNoObjectDiffers()
    {
        _server.Edge.Freeze();
        _server.Edge.Disconnect();
        await using var running = RunningSource.OfMetaServer(_server);
        var local = await running.SeesAsync(f => f.Services.Count == 3 && f.Endpoints.Count == 3);
        Assert.All(local.Cloud.Values, word => Assert.Null(word.Version));
        _server.Edge.Connect();
        var said = await running.SeesAsync(f => f.Cloud.Values.All(word => word.Version is not null));
        Assert.Same(local.Services, said.Services);
    }

    [Fact]
    public async Task AClusterRestoredFromABackupIsBelievedAfterAWhile()
    {
        await using var running = RunningSource.OfMetaServer(_server, Sample.Quick with { PromptRelist = TimeSpan.FromMilliseconds(300) });
        await running.SeesAsync(f => f.Services.Count == 3);
        _server.Always("services", Misbehave.Body(List("900", Versioned(Sample.Service("restored"), "890"))));
        await running.FaultAsync("services", "not above what the cloud said");
        Assert.Equal(3, running.Source.Current!.Services.Count);
        var facts = await running.SeesAsync(f => f.Services.Count == 1);
        Assert.True(facts.Services.ContainsKey(Name("restored")));
    }

    [Fact]
    public async Task AnUnreachableServerIsSaidAndAskedAgainSoon()
    {
        var running = RunningSource.OfMetaServer(_server, Sample.Quick with { LongestBackoff = TimeSpan.FromHours(1) });
        await using var _ = running;
        await running.SeesAsync(f => f.Services.Count == 3);
        var port = new Uri(_server.Url).Port;
        await _server.DisposeAsync();
        await RunningSource.UntilAsync(() => running.Source.Health.UnreachableSince is not null, "unreachable");
        Assert.StartsWith("not reachable since", running.Source.Health.Stale, StringComparison.Ordinal);
        _server = await TestApiServer.StartAsync(new() { MetaServer = true, Store = _server.Store, Port = port });
        await RunningSource.UntilAsync(() => running.Source.Health.UnreachableSince is null, "reachable again");
    }

    [Fact]
    public async Task ARestartWithoutTheCloudKeepsWhatTheCloudSaidBefore()
    {
        using var folder = new TemporaryFolder();
        var path = Path.Combine(folder.Path, "facts.json");
        _server.Edge.Freeze();
        _server.Delete("services", "demo", "old");
        _server.Put(Sample.Service("web", "10.96.0.99"));
        await using (var first = Cached(path))
        {
            await first.SeesAsync(f => f.Services.Count == 2 && f.Endpoints.Count == 3);
        }

        _server.Edge.Disconnect();
        await using var again = Cached(path);
        var facts = await again.SeesAsync(f => f.Origin == FactsOrigin.Live);
        Assert.Equal(2, facts.Services.Count);
        Assert.Equal("10.96.0.99", Ip(facts, "web"));
        Assert.Matches("^offline, facts of [0-9]{2}:[0-9]{2} UTC$", again.Source.Health.Stale);
    }

    [Fact]
    public async Task WhatAWatchSaidWasDeletedStaysSoAcrossARestartWithoutTheCloud()
    {
        using var folder = new TemporaryFolder();
        var path = Path.Combine(folder.Path, "facts.json");
        await using (var first = Cached(path))
        {
            await first.SeesAsync(f => f.Services.Count == 3);
            await RunningSource.UntilAsync(() => _server.OpenWatches == 2, "watches");
            // The cloud lists no more: the deletion is known by the watch alone.
            _server.Always("services", Misbehave.Status(503));
            _server.Edge.Freeze();
            _server.Delete("services", "demo", "old");
            var facts = await first.SeesAsync(f => f.Services.Count == 2);
            Assert.Contains(Name("old"), facts.Cloud["services"].Deleted.Keys);
        }

        _server.Always("services", null);
        _server.Edge.Disconnect();
        await using var again = Cached(path);
        await again.SeesAsync(f => f.Origin == FactsOrigin.Live);
        var lists = again.Kind("services").Lists;
        await RunningSource.UntilAsync(() => again.Kind("services").Lists > lists + 2, "local lists, which still name it");
        Assert.Equal(["shop", "web"], again.Source.Current!.Services.Keys.Select(key => key.Name).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task FarFewerObjectsThanBeforeAreBelievedTheThirdTime()
    {
        for (var i = 0; i < 12; i++)
            _server.Put(Sample.Service($"more-{i}"));
        await using var running = RunningSource.OfMetaServer(_server);
        await running.SeesAsync(f => f.Services.Count == 15);
        var few = Misbehave.Body(List("99999", string.Join(',', Enumerable.Range(0, 5).Select(i => Versioned(Sample.Service($"more-{i}"), "99998")))));
        _server.Next("services", few);
        await running.FaultAsync("services", "far fewer services than there were");
        Assert.Equal(15, running.Source.Current!.Services.Count);
        _server.Always("services", few);
        await running.SeesAsync(f => f.Services.Count == 5);
    }

    [Theory]
    [InlineData("abc")]
    [InlineData("12.5")]
    [InlineData("-1")]
    public async Task AVersionThatIsNoNumberIsNeitherOlderNorNewer(string version)
    {
        await using var running = RunningSource.OfMetaServer(_server);
        await running.SeesAsync(f => f.Services.Count == 3);
        await RunningSource.UntilAsync(() => _server.OpenWatches == 2, "watches");
        var events = running.Kind("services").Events;
        foreach (var what in (string[])["MODIFIED", "DELETED"])
            _server.Next("watch:services", Misbehave.Body($$"""{"type":"{{what}}","object":{{Versioned(Sample.Service("web", "10.96.0.77"), version)}} }""" + "\n"));
        _server.DropConnections();
        await RunningSource.UntilAsync(() => running.Kind("services").Events >= events + 2, "both events");
        Assert.NotEqual("10.96.0.77", Ip(running.Source.Current!, "web"));
        Assert.Equal(3, running.Source.Current!.Services.Count);
        _server.Next("services", Misbehave.Body(List(version, Versioned(Sample.Service("other"), "7"))));
        await running.FaultAsync("services", "not above what the cloud said");
        Assert.Equal(3, running.Source.Current!.Services.Count);
    }

    [Fact]
    public async Task ACacheOfTheFormatBeforeIsReadAndKnowsNoWordOfTheCloud()
    {
        const string lines = "{\"format\":\"edgemesh-facts\",\"version\":2,\"source\":{\"configured\":\"m\",\"server\":\"http://m/\"},\"asOf\":\"2026-01-01T00:00:00+00:00\"}\n";
        var text = lines + $"{{\"sha256\":\"{Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(lines)))}\"}}\n";
        var kept = await FactsFile.ReadAsync(new MemoryStream(Encoding.UTF8.GetBytes(text)), new ClusterIdentity("m", "http://m/", null), CancellationToken.None);
        Assert.Empty(kept.Facts.Cloud);
        Assert.Equal(2026, kept.Facts.AsOf.Year);
    }

    private RunningSource Cached(string path)
    {
        var options = new ApiAccessOptions { NodeName = "n1", MetaServer = new() { Server = _server.Url } };
        var source = new ApiServerSource(ApiAccess.Resolve(options, TimeProvider.System), options, Sample.Quick, TimeProvider.System, new LogLines());
        return new(new CachedSource(
            source, path, source.Identity, _ => Task.FromResult(source.Identity), TimeSpan.FromMilliseconds(10), TimeProvider.System, new LogLines(), kept => source.Seed(kept.Facts)));
    }

    private static string Versioned(string json, string version) => json.Replace("\"namespace\"", $"\"resourceVersion\":\"{version}\",\"namespace\"", StringComparison.Ordinal);

    private static string List(string version, string item) => $$"""{"apiVersion":"v1","kind":"ServiceList","items":[{{item}}],"metadata":{"resourceVersion":"{{version}}"} }""";

    private static ObjectName Name(string name) => new("demo", name);

    private static string? Ip(ClusterFacts facts, string name) => facts.Services.GetValueOrDefault(Name(name))?.Spec.ClusterIP;
}
