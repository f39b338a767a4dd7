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
    private static readonly ClusterIdentity A = new("kubeconfig /etc/a", "https://a/", "CA");

    private string CachePath => Path.Combine(_folder.Path, "facts-v1.json");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task ANodeThatStartsOfflineRunsFromTheCacheUntilTheServerAnswers()
    {
        await using var server = await TestApiServer.StartAsync();
        server.Put(Sample.Service("web", labels: """{"service.edgemesh.kubeedge.io/service-proxy-name":""}"""));
        server.Put(Sample.Slice("web", 3));
        ClusterFacts live;
        await using (var running = Run(server))
        {
            live = await running.SeesAsync(f => f.Services.Count == 1 && f.EndpointSlices.Count == 1);
        }

        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(CachePath));
        server.Always("services", Misbehave.Status(503));
        await using var again = Run(server);
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
        await FactsFile.WriteAsync(CachePath, A, facts, CancellationToken.None);
        Assert.NotNull(await FactsFile.ReadAsync(CachePath, A, CancellationToken.None));
        Assert.Null(await FactsFile.ReadAsync(CachePath + "none", A, CancellationToken.None));
        Assert.Contains("another cluster", (await Assert.ThrowsAsync<FactsFileException>(() => FactsFile.ReadAsync(CachePath, A with { Server = "https://b/" }, CancellationToken.None))).Message, StringComparison.Ordinal);
        var whole = await File.ReadAllBytesAsync(CachePath);
        for (var i = 0; i < whole.Length; i++)
        {
            var cut = whole[..i];
            await Assert.ThrowsAsync<FactsFileException>(() => FactsFile.ReadAsync(new MemoryStream(cut), A, CancellationToken.None));
            var damaged = (byte[])whole.Clone();
            damaged[i] ^= 1;
            await Assert.ThrowsAsync<FactsFileException>(() => FactsFile.ReadAsync(new MemoryStream(damaged), A, CancellationToken.None));
        }
    }

    [Fact]
    public async Task AnUnusableCacheIsOneClearLineAndTheSourceGoesOn()
    {
        _folder.Write("facts-v1.json", "{\"format\":\"edgemesh-facts\",\"version\":99}\n");
        await using var server = await TestApiServer.StartAsync();
        server.Put(Sample.Service("web"));
        await using var running = Run(server);
        await running.SeesAsync(f => f.Services.Count == 1);
        Assert.Contains("version 99", Assert.Single(_log.Lines, l => l.Text.Contains("not used", StringComparison.Ordinal)).Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("kubeconfig /etc/a", null, null, true)]
    [InlineData("kubeconfig /etc/a", "https://a/", null, true)]
    [InlineData("kubeconfig /elsewhere", "https://a/", "CA", true)]
    [InlineData("kubeconfig /elsewhere", null, null, false)]
    [InlineData("kubeconfig /etc/a", "https://b/", null, false)]
    [InlineData("kubeconfig /etc/a", "https://a/", "other CA", false)]
    public void ACacheIsUsedWhereWhatIsKnownAgreesAndTheConfigurationFillsTheGaps(string configured, string? server, string? authority, bool accepted) =>
        Assert.Equal(accepted, new ClusterIdentity(configured, server, authority).Accepts(A));

    [Fact]
    public async Task WithABrokenKubeconfigTheNodeRunsFromTheCacheAndGoesLiveOnceItIsMended()
    {
        await using var server = await TestApiServer.StartAsync();
        server.Put(Sample.Service("web"));
        var config = WriteKubeConfig(server.Url);
        await using (var first = RunDeferred(config))
        {
            await first.SeesAsync(f => f.Services.Count == 1);
        }

        File.WriteAllText(config, "users: [");
        await using var running = RunDeferred(config);
        Assert.Equal(FactsOrigin.Cache, (await running.SeesAsync(f => f.Services.Count == 1)).Origin);
        await running.FaultAsync("access", config);
        await RunningSource.UntilAsync(() => _log.Lines.Any(l => l.Text.Contains("cannot be asked", StringComparison.Ordinal)), "a log line that says so");
        Assert.Single(_log.Lines, l => l.Text.Contains("cannot be asked", StringComparison.Ordinal));

        WriteKubeConfig(server.Url);
        await running.SeesAsync(f => f.Origin == FactsOrigin.Live);
    }

    [Fact]
    public async Task ACacheTakenOnTrustIsDroppedWhenTheKubeconfigLeadsToAnotherCluster()
    {
        await using var server = await TestApiServer.StartAsync();
        server.Put(Sample.Service("web"));
        var config = WriteKubeConfig(server.Url);
        await using (var first = RunDeferred(config))
        {
            await first.SeesAsync(f => f.Services.Count == 1);
        }

        File.Delete(config);
        await using var running = RunDeferred(config);
        await running.SeesAsync(f => f.Services.Count == 1);

        await using var other = await TestApiServer.StartAsync();
        other.Always("services", Misbehave.Status(503));
        WriteKubeConfig(other.Url);
        Assert.Equal(FactsOrigin.Cache, (await running.SeesAsync(f => f.Services.IsEmpty)).Origin);
        await RunningSource.UntilAsync(() => _log.Lines.Any(l => l.Text.Contains("of another cluster", StringComparison.Ordinal)), "a line about the other cluster");
    }

    [Fact]
    public async Task TheFolderOfTheCacheIsMadeAndAWriteThatFailedIsTriedAgain()
    {
        await using var server = await TestApiServer.StartAsync();
        server.Put(Sample.Service("web"));
        var options = new ApiAccessOptions { Master = server.Url };
        var inner = new ApiServerSource(ApiAccess.Resolve(options, TimeProvider.System), options, Sample.Quick, TimeProvider.System, _log);
        var state = _folder.Write("state", "a file where the folder should be");
        var path = Path.Combine(state, "facts.json");
        await using var running = new RunningSource(new CachedSource(inner, path, A, _ => Task.FromResult(A), TimeSpan.FromMilliseconds(20), TimeProvider.System, _log));
        await RunningSource.UntilAsync(() => _log.Lines.Any(l => l.Text.Contains("cannot be written", StringComparison.Ordinal)), "a line about the cache");

        File.Delete(state);
        await RunningSource.UntilAsync(() => File.Exists(path), "the cache");
        await RunningSource.UntilAsync(() => _log.Lines.Any(l => l.Text.Contains("can be written again", StringComparison.Ordinal)), "a line about the cache");
        Assert.Single(_log.Lines, l => l.Text.Contains("cannot be written", StringComparison.Ordinal));
    }

    private string WriteKubeConfig(string url) =>
        _folder.Write("kubeconfig", $"current-context: c\ncontexts: [{{name: c, context: {{cluster: k}}}}]\nclusters: [{{name: k, cluster: {{server: '{url}'}}}}]\n");

    private RunningSource RunDeferred(string config) =>
        new(new CachedSource(new DeferredSource(new ApiAccessOptions { KubeConfigPath = config }, new LogOf<ApiServerSource>(_log)), CachePath, new LogOf<CachedSource>(_log)));

    private RunningSource Run(TestApiServer server)
    {
        var options = new ApiAccessOptions { Master = server.Url };
        var inner = new ApiServerSource(ApiAccess.Resolve(options, TimeProvider.System), options, Sample.Quick, TimeProvider.System, _log);
        return new(new CachedSource(inner, CachePath, A, _ => Task.FromResult(A), TimeSpan.FromMilliseconds(50), TimeProvider.System, _log));
    }
}
