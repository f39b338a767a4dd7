using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Access;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Kubernetes;

public enum FactsOrigin
{
    /// <summary>Listed from a live source in this run.</summary>
    Live,

    /// <summary>Read from the last good state on disk; the source has not answered yet.</summary>
    Cache,
}

/// <summary>One consistent, immutable view of what exists. A new view shares all unchanged objects with the old one:
/// an object that is the same reference has not changed.</summary>
public sealed record ClusterFacts
{
    private ImmutableDictionary<Kind, object> _byKind = ImmutableDictionary<Kind, object>.Empty;

    public ImmutableDictionary<ObjectName, Service> Services { get => Of(Kinds.Services); init => Set(Kinds.Services, value); }

    public ImmutableDictionary<ObjectName, EndpointSlice> EndpointSlices { get => Of(Kinds.EndpointSlices); init => Set(Kinds.EndpointSlices, value); }

    public ImmutableDictionary<ObjectName, Endpoints> Endpoints { get => Of(Kinds.Endpoints); init => Set(Kinds.Endpoints, value); }

    /// <summary>Labels of this agent's own node; empty where the source has no Node objects.</summary>
    public ImmutableDictionary<string, string> NodeLabels { get; init; } = ImmutableDictionary<string, string>.Empty;

    /// <summary>spec.podCIDRs of this agent's own node; empty where nobody says.</summary>
    public ImmutableArray<string> NodePodRanges { get; init; } = [];

    /// <summary>At a metaServer, by plural: what the cloud last said.</summary>
    public ImmutableDictionary<string, CloudWord> Cloud { get; init; } = ImmutableDictionary<string, CloudWord>.Empty;

    public required FactsOrigin Origin { get; init; }

    /// <summary>When the newest fact in this view arrived.</summary>
    public required DateTimeOffset AsOf { get; init; }

    /// <summary>The same on the monotonic clock of this run; null for what is from a run before.</summary>
    public long? Arrived { get; init; }

    /// <summary>The objects of one kind; empty where the source has none, or does not ask for it.</summary>
    public ImmutableDictionary<ObjectName, T> Of<T>(Kind<T> kind)
        where T : KubernetesObject =>
        _byKind.TryGetValue(kind, out var objects) ? (ImmutableDictionary<ObjectName, T>)objects : ImmutableDictionary<ObjectName, T>.Empty;

    public ClusterFacts With<T>(Kind<T> kind, ImmutableDictionary<ObjectName, T> objects)
        where T : KubernetesObject
    {
        var facts = this with { };
        facts.Set(kind, objects);
        return facts;
    }

    /// <summary>Whether nothing differs from what was known, but for when it was.</summary>
    internal bool SaysTheSameAs(ClusterFacts? old) =>
        old is not null && _byKind.Count == old._byKind.Count && _byKind.All(k => ReferenceEquals(k.Value, old._byKind.GetValueOrDefault(k.Key)))
        && ReferenceEquals(NodeLabels, old.NodeLabels) && NodePodRanges.AsSpan().SequenceEqual(old.NodePodRanges.AsSpan());

    private void Set<T>(Kind<T> kind, ImmutableDictionary<ObjectName, T> objects)
        where T : KubernetesObject => _byKind = _byKind.SetItem(kind, objects);
}

/// <summary>Who says what exists: an API server, a metaServer, or a folder of manifests.</summary>
public interface IClusterSource
{
    /// <summary>For people: <c>https://10.0.0.1:6443 (kubeconfig /etc/…)</c>, <c>metaServer http://…</c>, <c>manifests /etc/…</c>.</summary>
    string Description { get; }

    /// <summary>Null until services and endpoints have both been listed once, or read from the cache.</summary>
    ClusterFacts? Current { get; }

    SourceHealth Health { get; }

    /// <summary>Completes when <see cref="Current"/> is another object than <paramref name="seen"/>.</summary>
    Task<ClusterFacts> NextAsync(ClusterFacts? seen, CancellationToken cancellationToken);

    /// <summary>Runs until cancelled. Faults of the outside world are reported through <see cref="Health"/> and the log, never thrown.</summary>
    Task RunAsync(CancellationToken cancellationToken);
}

/// <summary>How well the facts arrive, per kind of object.</summary>
public sealed record SourceHealth
{
    public required ImmutableArray<KindHealth> Kinds { get; init; }

    /// <summary>Since when the source does not answer at all; null while it does.</summary>
    public DateTimeOffset? UnreachableSince => Kinds.Min(kind => kind.UnreachableSince);

    public bool Offline => Kinds.Any(kind => kind.Offline);

    /// <summary>Of when the facts are where <see cref="Offline"/>; null: the cloud has never been heard.</summary>
    public DateTimeOffset? OfflineAsOf => Kinds.Any(kind => kind is { Offline: true, CloudAsOf: null }) ? null : Kinds.Where(kind => kind.Offline).Min(kind => kind.CloudAsOf);

    /// <summary>What a person has to know beside "ready"; null: the facts are those of now.</summary>
    public string? Stale => UnreachableSince is { } since ? $"not reachable since {since:HH:mm} UTC"
        : !Offline ? null
        : OfflineAsOf is { } asOf ? $"offline, facts of {asOf:HH:mm} UTC"
        : "offline, facts of the local database alone";

    /// <summary>Certificates by which the source is asked; empty where there are none.</summary>
    public ImmutableArray<AccessExpiry> Expiries { get; init; } = [];

    /// <summary>That this machine's clock was not believed where the source's certificate was judged; null: it was.</summary>
    public string? ClockNotice { get; init; }
}

public sealed record KindHealth
{
    /// <summary>Plural API name: services, endpointslices, endpoints, nodes; for a folder: files.</summary>
    public required string Kind { get; init; }

    public required bool Synced { get; init; }

    /// <summary>When the source last answered for it, on the monotonic clock: the wall clock may be years off, and be put right at any moment.</summary>
    public long? LastSuccess { get; init; }

    /// <summary>What went wrong last, in words for an operator; null when all is well.</summary>
    public string? Fault { get; init; }

    /// <summary>True while a metaServer answers from its local database, without its cloud.</summary>
    public bool Offline { get; init; }

    /// <summary>When the cloud (or the API server) last listed this kind itself.</summary>
    public DateTimeOffset? CloudAsOf { get; init; }

    /// <summary>Since when nobody answers; null while somebody does.</summary>
    public DateTimeOffset? UnreachableSince { get; init; }

    public long Lists { get; init; }

    public long Watches { get; init; }

    public long Events { get; init; }

    public long Faults { get; init; }
}
