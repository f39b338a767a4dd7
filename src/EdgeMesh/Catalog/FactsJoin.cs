using System.Collections.Immutable;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Catalog;

/// <summary>A service with everything that the cluster says about its endpoints, and what was made of it last.</summary>
internal sealed class JoinedService(ObjectName name)
{
    public ObjectName Name { get; } = name;

    /// <summary>Null while only endpoints are known.</summary>
    public Service? Service { get; set; }

    public Endpoints? Endpoints { get; set; }

    /// <summary>By name, in that order.</summary>
    public SortedDictionary<string, EndpointSlice> SlicesByName { get; } = new(StringComparer.Ordinal);

    public SortedDictionary<string, EndpointSlice>.ValueCollection Slices => SlicesByName.Values;

    public CatalogService? Result { get; set; }

    /// <summary>Its endpoints on this node, as last looked at.</summary>
    public ImmutableArray<TransportAddress> Local { get; set; } = [];

    /// <summary>Set when another service of an earlier name has one of its addresses.</summary>
    public CatalogService? Taken { get; set; }

    public bool IsForgotten => Service is null && Endpoints is null && SlicesByName.Count == 0;
}

/// <summary>Joins services with their slices and endpoints, and says which of them a new view of the facts touches.
/// A kind of object whose dictionary is the same reference as last time is not looked at.</summary>
internal sealed class FactsJoin
{
    private const int MostInserted = 64;

    private readonly Dictionary<ObjectName, JoinedService> _joined = [];
    private readonly Seen<Service> _seenServices = new();
    private readonly Seen<EndpointSlice> _seenSlices = new();
    private readonly Seen<Endpoints> _seenEndpoints = new();
    private readonly HashSet<JoinedService> _changed = [];

    /// <summary>Every service that exists, ordered by namespace and name.</summary>
    public List<JoinedService> Services { get; } = [];

    /// <returns>Services whose objects are others than last time; one that is gone has no <see cref="JoinedService.Service"/>.
    /// Valid until the next call.</returns>
    public HashSet<JoinedService> Take(ClusterFacts facts)
    {
        _changed.Clear();
        var added = new List<JoinedService>();
        var gone = false;
        _seenServices.Take(facts.Services, (before, now) =>
        {
            var joined = Joined((before ?? now)!.Key);
            if (before is null)
                added.Add(joined);
            joined.Service = now;
            gone |= now is null;
        });
        _seenEndpoints.Take(facts.Endpoints, (before, now) => Joined((before ?? now)!.Key).Endpoints = now);
        _seenSlices.Take(facts.EndpointSlices, (before, now) =>
        {
            if (before is not null && Kinds.EndpointSlices.JoinKey(before) is { } left)
                Joined(left).SlicesByName.Remove(before.Metadata.Name);
            if (now is not null && Kinds.EndpointSlices.JoinKey(now) is { } owner)
                Joined(owner).SlicesByName[now.Metadata.Name] = now;
        });
        if (gone)
            Services.RemoveAll(joined => joined.Service is null);
        Insert(added);
        foreach (var joined in _changed)
        {
            if (joined.IsForgotten)
                _joined.Remove(joined.Name);
        }

        return _changed;
    }

    private JoinedService Joined(ObjectName name)
    {
        if (!_joined.TryGetValue(name, out var joined))
            _joined[name] = joined = new JoinedService(name);
        _changed.Add(joined);
        return joined;
    }

    private void Insert(List<JoinedService> added)
    {
        // Few among many are put in their places; sorting everything would compare every name again.
        if (added.Count <= MostInserted)
        {
            foreach (var joined in added)
                Services.Insert(~Services.BinarySearch(joined, NameOrder.Instance), joined);
            return;
        }

        Services.AddRange(added);
        Services.Sort(ByName);
    }

    private static int ByName(JoinedService a, JoinedService b) => CatalogService.CompareNames(a.Name, b.Name);

    private sealed class NameOrder : IComparer<JoinedService>
    {
        public static NameOrder Instance { get; } = new();

        public int Compare(JoinedService? x, JoinedService? y) => ByName(x!, y!);
    }
}
