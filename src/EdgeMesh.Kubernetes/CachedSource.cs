using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Caching;
using EdgeMesh.Kubernetes.Watching;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Kubernetes;

/// <summary>Keeps the last good facts of another source on disk: a node that starts offline has them at once, marked
/// <see cref="FactsOrigin.Cache"/>, until the source has spoken.</summary>
public sealed partial class CachedSource : IClusterSource
{
    private static readonly TimeSpan StopDeadline = TimeSpan.FromSeconds(5);

    private readonly IClusterSource _inner;
    private readonly string _path;
    private readonly ClusterIdentity _identity;
    private readonly Func<CancellationToken, Task<ClusterIdentity>> _identify;
    private readonly TimeSpan _spacing;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly FactsFeed _feed = new();
    private readonly Action<CachedFacts>? _seed;
    private readonly ImmutableArray<Kind> _kinds;
    private bool _writeFailed;

    /// <param name="path">The cache file; its folder is made when it is first written.</param>
    public CachedSource(DeferredSource inner, string path, ILogger<CachedSource> logger, TimeProvider? time = null)
        : this(inner, path, inner.Identity, inner.IdentifiedAsync, new ApiTimings().CacheWrite, time ?? TimeProvider.System, logger, inner.Seed)
    {
    }

    /// <param name="identity">Tells the source from others, as far as it is known: a cache of another one is not used.</param>
    /// <param name="identify">Completes once it is known in full.</param>
    internal CachedSource(
        IClusterSource inner, string path, ClusterIdentity identity, Func<CancellationToken, Task<ClusterIdentity>> identify, TimeSpan spacing, TimeProvider time, ILogger logger,
        Action<CachedFacts>? seed = null, IEnumerable<Kind>? kinds = null)
    {
        _inner = inner;
        _path = path;
        _identity = identity;
        _identify = identify;
        _spacing = spacing;
        _time = time;
        _logger = logger;
        _seed = seed;
        _kinds = [.. kinds ?? Kinds.All];
    }

    public string Description => _inner.Description;

    public ClusterFacts? Current => _feed.Current;

    public SourceHealth Health => _inner.Health;

    public Task<ClusterFacts> NextAsync(ClusterFacts? seen, CancellationToken cancellationToken) => _feed.NextAsync(seen, cancellationToken);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        // Before the source asks: what a local database answers is judged by what the cloud said last.
        var kept = await ReadAsync(cancellationToken);
        await Together.RunAsync(cancellationToken, _inner.RunAsync, token => FollowAsync(kept, token), KeepWritingAsync);
    }

    /// <returns>Whose facts are in force from the cache; null: none.</returns>
    private async Task<ClusterIdentity?> ReadAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (await FactsFile.ReadAsync(_path, _identity, cancellationToken, _kinds) is { } kept && _inner.Current is null)
            {
                var (source, facts, faults) = kept;
                _seed?.Invoke(kept);
                _feed.Publish(facts);
                if (!faults.IsEmpty)
                {
                    LogFaults(_logger, _path, string.Join("; ", faults.Take(3)), faults.Length);
                }

                LogFromCache(_logger, facts.Services.Count, _path, facts.AsOf, _inner.Description);
                return source;
            }
        }
        catch (FactsFileException e)
        {
            LogUnusable(_logger, _path, e.Message);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The end of the run.
        }

        return null;
    }

    private async Task FollowAsync(ClusterIdentity? kept, CancellationToken cancellationToken)
    {
        try
        {
            if (kept is not null && !(await _identify(cancellationToken)).Accepts(kept))
            {
                // The cache was taken while the kubeconfig could not be read, and that has turned out to lead elsewhere.
                _feed.Publish(new() { Origin = FactsOrigin.Cache, AsOf = _time.GetUtcNow() });
                LogOfAnother(_logger, _path, _inner.Description);
            }

            ClusterFacts? seen = null;
            while (true)
            {
                seen = await _inner.NextAsync(seen, cancellationToken);
                _feed.Publish(seen);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The end of the run.
        }
    }

    private async Task KeepWritingAsync(CancellationToken cancellationToken)
    {
        ClusterFacts? written = null;
        try
        {
            while (true)
            {
                var facts = await _inner.NextAsync(written, cancellationToken);
                written = await WriteAsync(facts, cancellationToken) ? facts : written;
                await Task.Delay(_spacing, _time, cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Written once more below, so that the next start has the newest.
        }

        if (_inner.Current is { } last && !ReferenceEquals(last, written))
        {
            using var deadline = new CancellationTokenSource(StopDeadline, _time);
            try
            {
                await WriteAsync(last, deadline.Token);
            }
            catch (OperationCanceledException)
            {
                LogWriteFailed(_logger, _path, "the disk is too slow");
            }
        }
    }

    /// <returns>False: to be tried again.</returns>
    private async Task<bool> WriteAsync(ClusterFacts facts, CancellationToken cancellationToken)
    {
        try
        {
            await FactsFile.WriteAsync(_path, await _identify(cancellationToken), facts, cancellationToken, _kinds);
            if (_writeFailed)
            {
                _writeFailed = false;
                LogWritten(_logger, _path);
            }

            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (!_writeFailed)
            {
                _writeFailed = true;
                LogWriteFailed(_logger, _path, e.Message);
            }

            return false;
        }
    }
}
