using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Watching;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Kubernetes;

/// <summary>Facts from an API server or a metaServer, by list and watch, one reflector per kind.</summary>
public sealed partial class ApiServerSource : IClusterSource, IDisposable
{
    private readonly StandingFaults _standing = new();
    private readonly WatchRound _round;
    private readonly ApiTimings _timings;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ApiClient _client;
    private readonly FactsFeed _feed = new();
    private readonly SemaphoreSlim _dirty = new(0, 1);
    private readonly ImmutableArray<Reflector> _reflectors;
    private readonly string _nodeName;
    private readonly bool _forNames;

    internal ApiServerSource(ApiAccess access, ApiAccessOptions options, ApiTimings timings, TimeProvider time, ILogger logger, IEnumerable<Kind>? kinds = null)
    {
        _timings = timings;
        _time = time;
        _logger = logger;
        _nodeName = options.NodeName;
        _forNames = options.ForNames;
        _round = new(timings.Reopen, time);
        _client = new(access, options, timings, time);
        var parts = new ReflectorParts(_client, MarkDirty, _standing, _round, timings, time, logger);
        _reflectors = [.. (kinds ?? Kinds.All).Where(kind => Asks(kind, options)).Select(kind => kind.Reflect(parts, SelectionOf(kind)))];
    }

    public string Description => _client.Access.Description;

    /// <summary>Tells this cluster from another; what a cache is keyed by.</summary>
    public ClusterIdentity Identity => _client.Access.Identity;

    public ClusterFacts? Current => _feed.Current;

    public SourceHealth Health => new()
    {
        Kinds = [.. _reflectors.Select(reflector => reflector.Status.Health)],
        Expiries = _client.Access.Expiries,
        ClockNotice = _client.Access.ClockNotice,
    };

    /// <exception cref="ApiAccessException">The access is not configured rightly: the message says what to do.</exception>
    public static ApiServerSource Create(ApiAccessOptions options, ILogger<ApiServerSource> logger, TimeProvider? time = null)
    {
        time ??= TimeProvider.System;
        return new(ApiAccess.Resolve(options, time), options, new ApiTimings(), time, logger);
    }

    internal bool IsMetaServer => _client.Access.IsMetaServer;

    /// <summary>What the cloud last said to an earlier run, before this one asks: a local database must not undo it.</summary>
    internal void Seed(ClusterFacts facts)
    {
        if (IsMetaServer)
        {
            foreach (var reflector in _reflectors)
            {
                reflector.Seed(facts);
            }
        }
    }

    public Task<ClusterFacts> NextAsync(ClusterFacts? seen, CancellationToken cancellationToken) => _feed.NextAsync(seen, cancellationToken);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        LogStart(_logger, Description);
        foreach (var warning in _client.Access.Warnings)
        {
            LogAccess(_logger, warning);
        }

        await Together.RunAsync(
            cancellationToken,
            [.. _reflectors.Select(reflector => (Func<CancellationToken, Task>)reflector.RunAsync), PublishAsync, FollowAccessAsync, TellExpiriesAsync]);
    }

    /// <summary>A watch that stands makes no request for minutes, and would not notice that another server counts.</summary>
    private async Task FollowAccessAsync(CancellationToken cancellationToken)
    {
        string? said = null, clockSaid = null;
        var description = Description;
        using var timer = new PeriodicTimer(_timings.AccessLook, _time);
        try
        {
            while (await timer.WaitForNextTickAsync(cancellationToken))
            {
                var fault = _client.Look();
                if (fault is not null && fault != said)
                {
                    LogAccess(_logger, $"{fault}. Until then the agent goes on with what it said before.");
                }

                said = fault;
                if (_client.Access.ClockNotice is { } clock && clockSaid is null)
                {
                    LogAccess(_logger, clock);
                }

                clockSaid = _client.Access.ClockNotice;
                if (Description != description)
                {
                    description = Description;
                    LogStart(_logger, description);
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The end of the run.
        }
    }

    /// <summary>Names certificates that end soon, once a day.</summary>
    private async Task TellExpiriesAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                foreach (var notice in _client.Access.Expiries.Select(expiry => expiry.NoticeAt(_time.GetUtcNow())).OfType<string>())
                {
                    LogAccess(_logger, notice);
                }

                await Task.Delay(TimeSpan.FromDays(1), _time, cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The end of the run.
        }
    }

    public void Dispose()
    {
        _client.Dispose();
        _round.Dispose();
        _dirty.Dispose();
    }

    /// <summary>One of two kinds tells the endpoints. The own node is asked for by its name, and at an API server alone; so are namespaces,
    /// which clouds seldom grant their edge nodes: a metaServer then answers from its database, as if it were offline.</summary>
    private bool Asks(Kind kind, ApiAccessOptions options)
    {
        var slices = options.UseEndpointSlices ?? !IsMetaServer;
        return kind == Kinds.EndpointSlices ? slices : kind == Kinds.Endpoints ? !slices : kind.IsOwnNode ? !IsMetaServer && _nodeName.Length > 0 : !kind.IsForNames || (_forNames && !IsMetaServer);
    }

    private Selection SelectionOf(Kind kind)
    {
        var selector = _forNames ? null : kind.Selector;
        // What only this agent would select by, and is always true.
        var own = $"!service.edgemesh.kubeedge.io/watch-{Random.Shared.Next():x8}";
        return new()
        {
            Labels = selector,
            Fields = kind.IsOwnNode ? "metadata.name=" + _nodeName : null,
            WatchLabels = !IsMetaServer ? null : selector is null ? own : $"{selector},{own}",
            ForNames = _forNames,
            AtMetaServer = IsMetaServer,
        };
    }

    private void MarkDirty()
    {
        lock (_dirty)
        {
            if (_dirty.CurrentCount == 0)
            {
                _dirty.Release();
            }
        }
    }

    /// <summary>The first change is published at once, those of the next moments together.</summary>
    private async Task PublishAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                await _dirty.WaitAsync(cancellationToken);
                if (Snapshot() is { } facts)
                {
                    _feed.Publish(facts);
                    await Task.Delay(_timings.Publish, _time, cancellationToken);
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The end of the run.
        }
    }

    /// <returns>Null while services and endpoints have not both been listed, or when nothing differs.</returns>
    private ClusterFacts? Snapshot()
    {
        if (_reflectors.Any(reflector => reflector.Kind.IsEssential && !reflector.Status.Health.Synced))
        {
            return null;
        }

        var node = _reflectors.OfType<Reflector<Node>>().FirstOrDefault()?.Objects.Values.FirstOrDefault(n => n.Metadata.Name == _nodeName);
        var facts = new ClusterFacts
        {
            NodePodRanges = node?.Spec.Ranges ?? [],
            NodeLabels = node?.Metadata.Labels ?? ImmutableDictionary<string, string>.Empty,
            Cloud = IsMetaServer ? _reflectors.ToImmutableDictionary(reflector => reflector.Kind.Plural, reflector => reflector.Word) : ImmutableDictionary<string, CloudWord>.Empty,
            Origin = FactsOrigin.Live,
            AsOf = _time.GetUtcNow(),
            Arrived = _time.GetTimestamp(),
        };
        facts = _reflectors.Where(reflector => !reflector.Kind.IsOwnNode).Aggregate(facts, (all, reflector) => reflector.AddTo(all));
        var old = _feed.Current;
        return facts.SaysTheSameAs(old)
            // The cloud's first word on what only a local database had told: the cache must have it, whatever becomes of this process.
            && !facts.Cloud.Any(word => word.Value.Version is not null && old!.Cloud.GetValueOrDefault(word.Key)?.Version is null)
            ? null
            : facts;
    }
}
