using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Caching;
using EdgeMesh.Kubernetes.Watching;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Kubernetes;

/// <summary>An API server whose access need not stand yet. A kubeconfig or a token that is missing or broken at start is a
/// fault like an unreachable server: it is said once, tried again, and the node goes on from its cache meanwhile.</summary>
public sealed partial class DeferredSource : IClusterSource, IDisposable
{
    private static readonly TimeSpan FirstWait = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(10);

    private readonly ApiAccessOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger<ApiServerSource> _logger;
    private readonly KindStatus _access;
    private readonly TaskCompletionSource<ApiServerSource> _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile ApiServerSource? _inner;
    private CachedFacts? _kept;
    private string? _fault;

    public DeferredSource(ApiAccessOptions options, ILogger<ApiServerSource> logger, TimeProvider? time = null)
    {
        _options = options;
        _logger = logger;
        _time = time ?? TimeProvider.System;
        _access = new("access", _time);
        _fault = Try();
    }

    public string Description => _inner?.Description ?? Identity.Configured;

    /// <summary>As much as can be told now.</summary>
    public ClusterIdentity Identity => _inner?.Identity ?? ApiAccess.Identify(_options);

    public ClusterFacts? Current => _inner?.Current;

    public SourceHealth Health => _inner?.Health ?? new() { Kinds = [_access.Health] };

    /// <summary>Before the run: what the cloud said to an earlier one, so that a metaServer's local database does not undo
    /// it. Other sources know better by themselves.</summary>
    internal void Seed(CachedFacts kept)
    {
        _kept = kept;
        if (_inner is { } inner && inner.Identity.Accepts(kept.Source))
        {
            inner.Seed(kept.Facts);
        }
    }

    /// <summary>Completes once the access stands.</summary>
    public async Task<ClusterIdentity> IdentifiedAsync(CancellationToken cancellationToken) => (await _ready.Task.WaitAsync(cancellationToken)).Identity;

    public async Task<ClusterFacts> NextAsync(ClusterFacts? seen, CancellationToken cancellationToken)
    {
        var inner = await _ready.Task.WaitAsync(cancellationToken);
        return await inner.NextAsync(seen, cancellationToken);
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var backoff = new Backoff(FirstWait, LongestWait, Random.Shared);
        string? said = null;
        for (; _fault is { } fault; _fault = Try())
        {
            _access.Fault(fault, unreachable: false);
            if (said != fault)
            {
                LogNoAccess(_logger, fault);
                said = fault;
            }

            await Task.Delay(backoff.Next(), _time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (cancellationToken.IsCancellationRequested)
            {
                return;
            }
        }

        await _inner!.RunAsync(cancellationToken);
    }

    public void Dispose() => _inner?.Dispose();

    /// <returns>Why the access cannot be set up; null when it stands.</returns>
    private string? Try()
    {
        try
        {
            var inner = ApiServerSource.Create(_options, _logger, _time);
            if (_kept is { } kept && inner.Identity.Accepts(kept.Source))
            {
                inner.Seed(kept.Facts);
            }

            _inner = inner;
            _ready.SetResult(inner);
            return null;
        }
        catch (ApiAccessException e)
        {
            return e.Message;
        }
    }
}
