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
    private readonly Reflector<Service> _services;
    private readonly Reflector<EndpointSlice>? _slices;
    private readonly Reflector<Endpoints>? _endpoints;
    private readonly Reflector<Node>? _node;
    private readonly string _nodeName;

    internal ApiServerSource(ApiAccess access, ApiAccessOptions options, ApiTimings timings, TimeProvider time, ILogger logger)
    {
        _timings = timings;
        _time = time;
        _logger = logger;
        _nodeName = options.NodeName;
        _round = new(timings.Reopen, time);
        _client = new(access, options, timings, time);
        var selection = new Selection { Labels = "!" + Selection.HeadlessLabel, AtMetaServer = access.IsMetaServer };
        _services = Reflect(ApiResources.Services, Own(selection));
        if (options.UseEndpointSlices ?? !access.IsMetaServer)
        {
            _slices = Reflect(ApiResources.EndpointSlices, Own(selection));
        }
        else
        {
            _endpoints = Reflect(ApiResources.Endpoints, Own(selection));
        }

        if (!access.IsMetaServer && _nodeName.Length > 0)
        {
            _node = Reflect(ApiResources.Nodes, new Selection { Fields = "metadata.name=" + _nodeName });
        }
    }

    public string Description => _client.Access.Description;

    /// <summary>Tells this cluster from another; what a cache is keyed by.</summary>
    public ClusterIdentity Identity => _client.Access.Identity;

    public ClusterFacts? Current => _feed.Current;

    public SourceHealth Health => new()
    {
        Kinds = [.. ((KindStatus?[])[_services.Status, _slices?.Status, _endpoints?.Status, _node?.Status]).OfType<KindStatus>().Select(s => s.Health)],
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
            _services.Seed(facts.Services, facts.Cloud, facts.AsOf);
            _slices?.Seed(facts.EndpointSlices, facts.Cloud, facts.AsOf);
            _endpoints?.Seed(facts.Endpoints, facts.Cloud, facts.AsOf);
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
            _services.RunAsync,
            token => _slices?.RunAsync(token) ?? Task.CompletedTask,
            token => _endpoints?.RunAsync(token) ?? Task.CompletedTask,
            token => _node?.RunAsync(token) ?? Task.CompletedTask,
            PublishAsync,
            FollowAccessAsync,
            TellExpiriesAsync);
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

    private static Selection Own(Selection selection) => selection.AtMetaServer
        ? selection with { WatchLabels = $"{selection.Labels},!service.edgemesh.kubeedge.io/watch-{Random.Shared.Next():x8}" }
        : selection;

    private ImmutableDictionary<string, CloudWord> Words()
    {
        var words = ImmutableDictionary<string, CloudWord>.Empty;
        if (IsMetaServer)
        {
            words = words.Add(ApiResources.Services.Plural, _services.Word);
            words = _slices is null ? words : words.Add(ApiResources.EndpointSlices.Plural, _slices.Word);
            words = _endpoints is null ? words : words.Add(ApiResources.Endpoints.Plural, _endpoints.Word);
        }

        return words;
    }

    private Reflector<T> Reflect<T>(ApiResource<T> resource, Selection selection)
        where T : KubernetesObject => new(_client, resource, selection, MarkDirty, _standing, _round, _timings, _time, _logger);

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
        if (!_services.Status.Health.Synced || !(_slices?.Status ?? _endpoints!.Status).Health.Synced)
        {
            return null;
        }

        var node = _node?.Objects.Values.FirstOrDefault(n => n.Metadata.Name == _nodeName);
        var facts = new ClusterFacts
        {
            Services = _services.Objects,
            EndpointSlices = _slices?.Objects ?? ImmutableDictionary<ObjectName, EndpointSlice>.Empty,
            Endpoints = _endpoints?.Objects ?? ImmutableDictionary<ObjectName, Endpoints>.Empty,
            NodePodRanges = node?.Spec.Ranges ?? [],
            NodeLabels = node?.Metadata.Labels ?? ImmutableDictionary<string, string>.Empty,
            Cloud = Words(),
            Origin = FactsOrigin.Live,
            AsOf = _time.GetUtcNow(),
            Arrived = _time.GetTimestamp(),
        };
        var old = _feed.Current;
        return old is not null && ReferenceEquals(old.Services, facts.Services) && ReferenceEquals(old.EndpointSlices, facts.EndpointSlices)
            && ReferenceEquals(old.Endpoints, facts.Endpoints) && ReferenceEquals(old.NodeLabels, facts.NodeLabels)
            // The cloud's first word on what only a local database had told: the cache must have it, whatever becomes of this process.
            && !facts.Cloud.Any(word => word.Value.Version is not null && old.Cloud.GetValueOrDefault(word.Key)?.Version is null)
            && old.NodePodRanges.AsSpan().SequenceEqual(facts.NodePodRanges.AsSpan())
            ? null
            : facts;
    }
}
