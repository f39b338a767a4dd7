using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Testing.ApiServer;
using Microsoft.Extensions.Logging;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

public sealed class ApiServerSourceTests : IAsyncLifetime
{
    private TestApiServer _server = null!;

    public async ValueTask InitializeAsync()
    {
        _server = await TestApiServer.StartAsync();
        _server.Put(Sample.Service("web"));
        _server.Put(Sample.Slice("web"));
    }

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    [Fact]
    public async Task ListsThenFollowsEveryKindOfChange()
    {
        await using var running = RunningSource.Of(_server);
        var first = await running.SeesAsync(f => f.Services.Count == 1 && f.EndpointSlices.Count == 1);
        Assert.Equal(FactsOrigin.Live, first.Origin);
        _server.Put(Sample.Service("api", "10.96.0.2"));
        await running.SeesAsync(f => f.Services.Count == 2);
        _server.Put(Sample.Service("api", "10.96.0.3"));
        var changed = await running.SeesAsync(f => f.Services.GetValueOrDefault(new("demo", "api"))?.Spec.ClusterIP == "10.96.0.3");
        Assert.Same(first.Services[new("demo", "web")], changed.Services[new("demo", "web")]);
        _server.Delete("services", "demo", "api");
        await running.SeesAsync(f => f.Services.Count == 1);
        Assert.All(running.Source.Health.Kinds.Where(k => k.Kind != "nodes"), k => Assert.True(k.Synced && k.Fault is null));
    }

    [Fact]
    public async Task NothingIsPublishedBeforeServicesAndEndpointsHaveBothBeenListed()
    {
        _server.Always("endpointslices", Misbehave.Status(500));
        await using var running = RunningSource.Of(_server);
        await RunningSource.UntilAsync(() => running.Kind("services").Synced && running.Kind("endpointslices").Faults > 2, "services listed, slices refused");
        Assert.Null(running.Source.Current);
        _server.Always("endpointslices", null);
        await running.SeesAsync(f => f.Services.Count == 1 && f.EndpointSlices.Count == 1);
    }

    [Fact]
    public async Task ListsComeInPagesAndSelectorsGoToTheServer()
    {
        for (var i = 0; i < 1200; i++)
        {
            _server.Put(Sample.Service($"s{i}", $"10.97.{i / 256}.{i % 256}"));
        }

        _server.Put(Sample.Service("headless", labels: """{"service.kubernetes.io/headless":""}"""));
        _server.Put("""{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1","labels":{"topology.kubernetes.io/zone":"z1","beta":"x"}}}""");
        await using var running = RunningSource.Of(_server);
        var facts = await running.SeesAsync(f => f.Services.Count == 1201 && f.NodeLabels.Count == 1);
        Assert.Equal("z1", facts.NodeLabels["topology.kubernetes.io/zone"]);
        var lists = _server.Requests.Where(r => r.Plural == "services" && !r.IsWatch).ToList();
        Assert.Equal(3, lists.Count);
        Assert.All(lists, r => Assert.Equal(("500", "!service.kubernetes.io/headless"), (r.Query["limit"], r.Query["labelSelector"])));
        await RunningSource.UntilAsync(() => _server.OpenWatches == 3, "three watches");
        Assert.All(_server.Requests.Where(r => r.IsWatch), r => Assert.Equal("true", r.Query["allowWatchBookmarks"]));
        Assert.Contains(_server.Requests, r => r.Plural == "nodes" && r.Query["fieldSelector"] == "metadata.name=n1");
    }

    [Fact]
    public async Task DroppedConnectionsLoseNothingAndNeedNoNewList()
    {
        await using var running = RunningSource.Of(_server);
        await running.SeesAsync(f => f.Services.Count == 1);
        for (var i = 0; i < 5; i++)
        {
            await RunningSource.UntilAsync(() => _server.OpenWatches == 3, "watches open");
            _server.DropConnections();
            _server.Put(Sample.Service($"n{i}", $"10.96.1.{i}"));
            await running.SeesAsync(f => f.Services.Count == i + 2);
        }

        Assert.Equal(1, running.Kind("services").Lists);
    }

    [Fact]
    public async Task AVersionThatIsTooOldLeadsToANewList()
    {
        await using var running = RunningSource.Of(_server);
        await running.SeesAsync(f => f.Services.Count == 1);
        await RunningSource.UntilAsync(() => _server.OpenWatches == 3, "watches open");
        _server.Always("watch:services", Misbehave.Status(503));
        _server.DropConnections();
        await running.FaultAsync("services", "503");
        _server.Delete("services", "demo", "web");
        _server.Put(Sample.Service("other", "10.96.0.9"));
        _server.Store.ForgetHistory();
        _server.Always("watch:services", null);
        var facts = await running.SeesAsync(f => f.Services.ContainsKey(new("demo", "other")));
        Assert.DoesNotContain(new ObjectName("demo", "web"), facts.Services.Keys);
    }

    [Theory]
    [InlineData("<html><body>Welcome</body></html>\n")]
    [InlineData("{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\",\"namespace\":\"y\"}}}\n")]
    [InlineData("garbage\n")]
    [InlineData("{\"type\":\"WHATEVER\",\"object\":{}}\n")]
    [InlineData("{\"type\":\"ERROR\",\"object\":{\"code\":500,\"message\":\"etcd\"}}\n")]
    [InlineData("null\n")]
    public async Task GarbageInAWatchLeadsToANewListAndLeavesTheLastGoodStateInForce(string garbage)
    {
        _server.Next("watch:services", Misbehave.Body(garbage));
        await using var running = RunningSource.Of(_server);
        await running.SeesAsync(f => f.Services.Count == 1);
        await RunningSource.UntilAsync(() => running.Kind("services") is { Lists: >= 2, Fault: null } k && k.Faults >= 1, "a fault, then a second list");
        Assert.Single(running.Source.Current!.Services);
    }

    [Fact]
    public async Task HalfALineAndACutConnectionLeadBackToTheWatchWithoutALoss()
    {
        _server.Next("watch:services", Misbehave.Cut("{\"type\":\"ADDED\",\"object\":{\"kind\":\"Ser"));
        _server.Next("watch:services", Misbehave.Body("{\"type\":\"ADDED\",\"object\":{\"kind\":\"Ser"));
        await using var running = RunningSource.Of(_server);
        await RunningSource.UntilAsync(() => running.Kind("services").Faults >= 2, "two faults");
        _server.Put(Sample.Service("new", "10.96.0.7"));
        await running.SeesAsync(f => f.Services.Count == 2);
        Assert.Equal(1, running.Kind("services").Lists);
    }

    [Theory]
    [InlineData("<html>login</html>", "text/html", "text/html")]
    [InlineData("<html>login</html>", "application/json", "HTML")]
    [InlineData("{}", "application/json", "ServiceList was expected")]
    [InlineData("{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"items\":[],\"metadata\":{\"resourceVersion\":\"1\"}}", "application/json", "PodList")]
    [InlineData("{\"kind\":\"ServiceList\",\"apiVersion\":\"v1\",\"items\":[", "application/json", "cut off")]
    [InlineData("", "application/json", "empty answer")]
    public async Task AWrongAnswerToAListNeverBecomesAnEmptyState(string body, string type, string fault)
    {
        await using var running = RunningSource.Of(_server);
        await running.SeesAsync(f => f.Services.Count == 1);
        _server.Always("services", Misbehave.Body(body, type));
        _server.Next("watch:services", Misbehave.Body("garbage\n"));
        _server.DropConnections();
        await running.FaultAsync("services", fault);
        Assert.Single(running.Source.Current!.Services);
        _server.Always("services", null);
        _server.Put(Sample.Service("api", "10.96.0.2"));
        await running.SeesAsync(f => f.Services.Count == 2);
    }

    [Fact]
    public async Task OneObjectOfTheWrongTypeIsNamedAndKeptAtItsLastGoodVersion()
    {
        var log = new LogLines();
        await using var running = RunningSource.Of(_server, logger: log);
        await running.SeesAsync(f => f.Services.Count == 1);
        _server.Put(Sample.Service("web", port: "\"http\""));
        await running.FaultAsync("services", "demo/web has a value of the wrong type at $.spec.ports[0].port");
        _server.Put(Sample.Service("api", "10.96.0.2"));
        var facts = await running.SeesAsync(f => f.Services.Count == 2);
        Assert.Equal(80, facts.Services[new("demo", "web")].Spec.Ports[0].Port);
        Assert.Contains(log.Lines, l => l.Level == LogLevel.Warning && l.Text.Contains("demo/web", StringComparison.Ordinal));
        _server.Put(Sample.Service("web", port: "81"));
        await running.SeesAsync(f => f.Services[new("demo", "web")].Spec.Ports[0].Port == 81);
        Assert.Null(running.Kind("services").Fault);
    }

    [Fact]
    public async Task AnObjectOfTenMegabytesIsNamedAndDroppedInListAndWatch()
    {
        var big = $$"""{"x":"{{new string('y', 10 << 20)}}"}""";
        _server.Put(Sample.Service("big", "10.96.0.5", big));
        await using var running = RunningSource.Of(_server);
        await running.SeesAsync(f => f.Services.Count == 1);
        await running.FaultAsync("services", "demo/big is larger than 2 MB");
        _server.Put(Sample.Service("web", labels: big));
        _server.Put(Sample.Service("api", "10.96.0.2"));
        await running.SeesAsync(f => f.Services.ContainsKey(new("demo", "api")) && f.Services.ContainsKey(new("demo", "web")));
        await running.FaultAsync("services", "1 more");
    }

    [Fact]
    public async Task ServerThatAsksForPatienceIsGivenIt()
    {
        _server.Next("services", Misbehave.Status(429, retryAfterSeconds: 1));
        var clock = TimeProvider.System;
        var start = clock.GetTimestamp();
        await using var running = RunningSource.Of(_server);
        await running.SeesAsync(f => f.Services.Count == 1);
        Assert.True(clock.GetElapsedTime(start) >= TimeSpan.FromSeconds(1));
    }

    [Theory]
    [InlineData(401, "token or certificate")]
    [InlineData(403, "grant list and watch")]
    [InlineData(404, "does not know this kind")]
    [InlineData(500, "500")]
    public async Task ARefusalSaysWhatToDo(int code, string advice)
    {
        _server.Always("services", Misbehave.Status(code, "some reason"));
        await using var running = RunningSource.Of(_server);
        await running.FaultAsync("services", advice);
        Assert.Contains("some reason", running.Kind("services").Fault!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AWatchThatFallsSilentIsOpenedAgain()
    {
        _server.Next("watch:services", Misbehave.Stall());
        await using var running = RunningSource.Of(_server, Sample.Quick with { WatchSilence = TimeSpan.FromMilliseconds(300) });
        await running.SeesAsync(f => f.Services.Count == 1);
        await RunningSource.UntilAsync(() => _server.Requests.Count(r => r.IsWatch && r.Plural == "services") >= 2, "a second watch");
        _server.Put(Sample.Service("api", "10.96.0.2"));
        await running.SeesAsync(f => f.Services.Count == 2);
    }

    [Fact]
    public async Task AServerThatNeverAnswersIsNoticed()
    {
        _server.Always("services", Misbehave.Mute());
        await using var running = RunningSource.Of(_server, Sample.Quick with { Answer = TimeSpan.FromMilliseconds(200) });
        await running.FaultAsync("services", "no answer within");
        _server.Always("services", null);
        await running.SeesAsync(f => f.Services.Count == 1);
    }

    [Fact]
    public async Task BookmarksMoveTheVersionOn()
    {
        await using var server = await TestApiServer.StartAsync(new() { BookmarkInterval = TimeSpan.FromMilliseconds(50) });
        server.Put(Sample.Service("web"));
        await using var running = RunningSource.Of(server);
        await running.SeesAsync(f => f.Services.Count == 1);
        server.Put(Sample.Slice("web"));
        var version = server.Store.Version;
        // The first one heard may have been on its way before the version was taken.
        for (var i = 0; i < 2; i++)
        {
            var before = running.Kind("services").LastSuccess;
            await RunningSource.UntilAsync(() => running.Kind("services").LastSuccess > before, "a bookmark heard");
        }

        server.DropConnections();
        await RunningSource.UntilAsync(() => server.Requests.Any(r => r.IsWatch && r.Plural == "services" && r.Query["resourceVersion"] == $"{version}"), "a watch from the bookmark's version");
    }

    [Fact]
    public async Task AThousandEventsBecomeFewViews()
    {
        await using var running = RunningSource.Of(_server);
        var seen = await running.SeesAsync(f => f.Services.Count == 1);
        for (var i = 0; i < 1000; i++)
        {
            _server.Put(Sample.Service($"s{i}", $"10.97.{i / 256}.{i % 256}"));
        }

        var views = 0;
        while (seen.Services.Count < 1001)
        {
            seen = await running.Source.NextAsync(seen, new CancellationTokenSource(TimeSpan.FromSeconds(15)).Token);
            views++;
        }

        Assert.InRange(views, 1, 100);
    }

    [Fact]
    public async Task AKindToWhichNothingHappensIsWellAgainWhenItsWatchStaysOpen()
    {
        await using var running = RunningSource.Of(_server, Sample.Quick with { Steady = TimeSpan.FromMilliseconds(100) });
        await running.SeesAsync(f => f.Services.Count == 1);
        _server.Always("watch:services", Misbehave.Status(503));
        _server.DropConnections();
        await running.FaultAsync("services", "503");
        var events = running.Kind("services").Events;
        _server.Always("watch:services", null);
        await RunningSource.UntilAsync(() => running.Kind("services").Fault is null, "no fault");
        Assert.Equal(events, running.Kind("services").Events);
    }

    [Fact]
    public async Task AServerThatIsAwayIsOneLineForAllKindsAndOneMoreWhenItIsBack()
    {
        var log = new LogLines();
        await using var running = RunningSource.Of(_server, logger: log);
        await running.SeesAsync(f => f.Services.Count == 1);
        foreach (var key in (string[])["services", "endpointslices", "nodes", "watch:services", "watch:endpointslices", "watch:nodes"])
            _server.Always(key, Misbehave.Status(503));
        _server.DropConnections();
        await RunningSource.UntilAsync(() => running.Source.Health.Kinds.All(k => k.Faults > 8), "every kind failing many times");
        Assert.Single(log.Lines, l => l.Level >= LogLevel.Warning && l.Text.Contains("503", StringComparison.Ordinal));

        foreach (var key in (string[])["services", "endpointslices", "nodes", "watch:services", "watch:endpointslices", "watch:nodes"])
            _server.Always(key, null);
        _server.Put(Sample.Service("api", "10.96.0.2"));
        _server.Put(Sample.Slice("api"));
        _server.Put("""{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}}""");
        await RunningSource.UntilAsync(() => log.Lines.Any(l => l.Text.Contains("arrive again", StringComparison.Ordinal)), "a line that all is well");
        Assert.Single(log.Lines, l => l.Text.Contains("arrive again", StringComparison.Ordinal));
    }

    [Fact]
    public async Task AnUnreachableServerIsAFaultAndNotAnEnd()
    {
        var url = _server.Url;
        await _server.DisposeAsync();
        await using var running = RunningSource.Of(_server, change: o => o with { Master = url });
        await running.FaultAsync("services", "cannot reach");
        Assert.Null(running.Source.Current);
    }
}
