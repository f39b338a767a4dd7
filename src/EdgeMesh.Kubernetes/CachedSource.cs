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
    private readonly string _identity;
    private readonly TimeSpan _spacing;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly FactsFeed _feed = new();
    private bool _writeFailed;

    /// <param name="path">The cache file; its folder must exist.</param>
    /// <param name="identity">Tells the source from others: a cache of another source is not used.</param>
    public CachedSource(IClusterSource inner, string path, string identity, ILogger<CachedSource> logger, TimeProvider? time = null)
        : this(inner, path, identity, new ApiTimings().CacheWrite, time ?? TimeProvider.System, logger)
    {
    }

    internal CachedSource(IClusterSource inner, string path, string identity, TimeSpan spacing, TimeProvider time, ILogger logger)
    {
        _inner = inner;
        _path = path;
        _identity = identity;
        _spacing = spacing;
        _time = time;
        _logger = logger;
    }

    public string Description => _inner.Description;

    public ClusterFacts? Current => _feed.Current;

    public SourceHealth Health => _inner.Health;

    public Task<ClusterFacts> NextAsync(ClusterFacts? seen, CancellationToken cancellationToken) => _feed.NextAsync(seen, cancellationToken);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var running = _inner.RunAsync(cancellationToken);
        await ReadAsync(cancellationToken);
        await Task.WhenAll(running, FollowAsync(cancellationToken), KeepWritingAsync(cancellationToken));
    }

    private async Task ReadAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (await FactsFile.ReadAsync(_path, _identity, cancellationToken) is { } facts && _inner.Current is null)
            {
                _feed.Publish(facts);
                LogFromCache(_logger, facts.Services.Count, _path, facts.AsOf, _inner.Description);
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
    }

    private async Task FollowAsync(CancellationToken cancellationToken)
    {
        try
        {
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
                await WriteAsync(facts, cancellationToken);
                written = facts;
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

    private async Task WriteAsync(ClusterFacts facts, CancellationToken cancellationToken)
    {
        try
        {
            await FactsFile.WriteAsync(_path, _identity, facts, cancellationToken);
            _writeFailed = false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (!_writeFailed)
            {
                _writeFailed = true;
                LogWriteFailed(_logger, _path, e.Message);
            }
        }
    }
}
