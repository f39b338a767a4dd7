using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Caching;
using EdgeMesh.Kubernetes.Watching;
using EdgeMesh.Testing.ApiServer;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

public sealed class CachedSourceTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly LogLines _log = new();

    private string CachePath => Path.Combine(_folder.Path, "facts-v1.json");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task ANodeThatStartsOfflineRunsFromTheCacheUntilTheServerAnswers()
    {
        await using var server = await TestApiServer.StartAsync();
        server.Put(Sample.Service("web", labels: """{"service.edgemesh.kubeedge.io/service-proxy-name":""}"""));
        server.Put(Sample.Slice("web", 3));
        ClusterFacts live;
        await using (var running = Run(server, "cluster-a"))
        {
            live = await running.SeesAsync(f => f.Services.Count == 1 && f.EndpointSlices.Count == 1);
        }

        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(CachePath));
        server.Always("services", Misbehave.Status(503));
        await using var again = Run(server, "cluster-a");
        var cached = await again.SeesAsync(_ => true);
        Assert.Equal((FactsOrigin.Cache, live.AsOf), (cached.Origin, cached.AsOf));
        Assert.Equal(3, cached.EndpointSlices[new("demo", "web-1")].Endpoints.Length);
        Assert.Single(cached.Services[new("demo", "web")].Metadata.Labels);
        Assert.Contains(_log.Lines, l => l.Text.Contains("Running from the cache", StringComparison.Ordinal));
        server.Always("services", null);
        await again.SeesAsync(f => f.Origin == FactsOrigin.Live);
    }

    [Fact]
    public async Task ACacheOfAnotherClusterOrADamagedOneIsNotUsed()
    {
        var facts = new ClusterFacts { Origin = FactsOrigin.Live, AsOf = DateTimeOffset.UnixEpoch };
        await FactsFile.WriteAsync(CachePath, "a", facts, CancellationToken.None);
        Assert.NotNull(await FactsFile.ReadAsync(CachePath, "a", CancellationToken.None));
        Assert.Null(await FactsFile.ReadAsync(CachePath + "none", "a", CancellationToken.None));
        Assert.Contains("another cluster", (await Assert.ThrowsAsync<FactsFileException>(() => FactsFile.ReadAsync(CachePath, "b", CancellationToken.None))).Message, StringComparison.Ordinal);
        var whole = await File.ReadAllBytesAsync(CachePath);
        for (var i = 0; i < whole.Length; i++)
        {
            var cut = whole[..i];
            await Assert.ThrowsAsync<FactsFileException>(() => FactsFile.ReadAsync(new MemoryStream(cut), "a", CancellationToken.None));
            var damaged = (byte[])whole.Clone();
            damaged[i] ^= 1;
            await Assert.ThrowsAsync<FactsFileException>(() => FactsFile.ReadAsync(new MemoryStream(damaged), "a", CancellationToken.None));
        }
    }

    [Fact]
    public async Task AnUnusableCacheIsOneClearLineAndTheSourceGoesOn()
    {
        _folder.Write("facts-v1.json", "{\"format\":\"edgemesh-facts\",\"version\":99}\n");
        await using var server = await TestApiServer.StartAsync();
        server.Put(Sample.Service("web"));
        await using var running = Run(server, "a");
        await running.SeesAsync(f => f.Services.Count == 1);
        Assert.Contains("version 99", Assert.Single(_log.Lines, l => l.Text.Contains("not used", StringComparison.Ordinal)).Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TenThousandServicesAreReadInSecondsAndHeldModestly()
    {
        await using var server = await TestApiServer.StartAsync();
        for (var i = 0; i < 10_000; i++)
        {
            server.Put(Sample.Service($"svc-{i}", $"10.{96 + (i / 65536)}.{i / 256 % 256}.{i % 256}"));
            server.Put(Sample.Slice($"svc-{i}", 10));
        }

        var before = GC.GetTotalMemory(forceFullCollection: true);
        var start = TimeProvider.System.GetTimestamp();
        await using var running = RunningSource.Of(server);
        await running.SeesAsync(f => f.Services.Count == 10_000 && f.EndpointSlices.Count == 10_000);
        var seconds = TimeProvider.System.GetElapsedTime(start).TotalSeconds;
        var held = (GC.GetTotalMemory(forceFullCollection: true) - before) >> 20;
        TestContext.Current.TestOutputHelper?.WriteLine($"10,000 services and 100,000 endpoints: listed in {seconds:0.00} s, {held} MB held");
        Assert.InRange(held, 0, 100);
    }

    private RunningSource Run(TestApiServer server, string identity)
    {
        var options = new ApiAccessOptions { Master = server.Url };
        var inner = new ApiServerSource(ApiAccess.Resolve(options, TimeProvider.System), options, Sample.Quick, TimeProvider.System, _log);
        return new(new CachedSource(inner, CachePath, identity, TimeSpan.FromMilliseconds(50), TimeProvider.System, _log));
    }
}
