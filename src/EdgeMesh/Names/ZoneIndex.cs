using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Names;

/// <summary>A name that an address leads to; of several services there are several.</summary>
/// <param name="Service">SVC.NS as labels.</param>
/// <param name="Label">HOST, for an endpoint of a headless service.</param>
internal sealed record PointerNames(byte[] Service, byte[]? Label, PointerNames? Next);

/// <summary>
/// What the zone knows: by service, by namespace, by address. One writer brings in what changed between two views of the facts, and
/// nothing else is touched; any thread reads without a lock. A service changes as a whole.
/// </summary>
internal sealed class ZoneIndex
{
    private readonly ConcurrentDictionary<byte[], ServiceNames> _services = new(LabelComparer.Instance);
    private readonly ConcurrentDictionary<byte[], int> _namespaces = new(LabelComparer.Instance);
    private readonly ConcurrentDictionary<InetAddress, PointerNames> _pointers = new();
    private readonly ConcurrentDictionary<byte[], ServiceNames>.AlternateLookup<ReadOnlySpan<byte>> _servicesByLabels;
    private readonly ConcurrentDictionary<byte[], int>.AlternateLookup<ReadOnlySpan<byte>> _namespacesByLabel;

    // The writer's alone.
    private readonly Seen<Service> _seenServices = new();
    private readonly Seen<EndpointSlice> _seenSlices = new();
    private readonly Seen<Endpoints> _seenEndpoints = new();
    private readonly Seen<Namespace> _seenNamespaces = new();
    private readonly Dictionary<ObjectName, EndpointSlice[]> _slices = [];
    private readonly HashSet<ObjectName> _changed = [];
    private readonly LabelPool _labels = new();
    private volatile bool _hasFacts;

    public ZoneIndex()
    {
        _servicesByLabels = _services.GetAlternateLookup<ReadOnlySpan<byte>>();
        _namespacesByLabel = _namespaces.GetAlternateLookup<ReadOnlySpan<byte>>();
    }

    /// <summary>False: nothing can be denied yet.</summary>
    public bool HasFacts => _hasFacts;

    public int ServiceCount => _services.Count;

    /// <summary>Brings in what has changed. One thread at a time.</summary>
    /// <returns>How many services were looked at.</returns>
    public int Take(ClusterFacts facts)
    {
        _changed.Clear();
        _seenServices.Take(facts.Services, (before, now) => _changed.Add((before ?? now)!.Key));
        _seenEndpoints.Take(facts.Endpoints, (before, now) => _changed.Add((before ?? now)!.Key));
        _seenSlices.Take(facts.EndpointSlices, (before, now) =>
        {
            if (before is not null && OwnerOf(before) is { } left)
                ReplaceSlice(left, before, null);
            if (now is not null && OwnerOf(now) is { } owner)
                ReplaceSlice(owner, null, now);
        });

        foreach (var name in _changed)
            Replace(name, facts);
        // Most are known by their services; one without any exists too.
        _seenNamespaces.Take(facts.Of(Kinds.Namespaces), (before, now) =>
        {
            if (before is null || now is null)
                CountNamespace(_labels.WithLength((before ?? now)!.Metadata.Name), now is null ? -1 : 1);
        });
        _hasFacts = true;
        return _changed.Count;
    }

    /// <param name="labels">SVC.NS in small letters.</param>
    public bool TryFind(ReadOnlySpan<byte> labels, [NotNullWhen(true)] out ServiceNames? service) => _servicesByLabels.TryGetValue(labels, out service);

    /// <param name="label">With its length in front, in small letters.</param>
    public bool HasNamespace(ReadOnlySpan<byte> label) => _namespacesByLabel.ContainsKey(label);

    public PointerNames? Pointers(in InetAddress address) => _pointers.GetValueOrDefault(address);

    private static ObjectName? OwnerOf(EndpointSlice slice) =>
        slice.Metadata.Labels.TryGetValue(EndpointSlice.ServiceNameLabel, out var service) ? new ObjectName(slice.Metadata.Namespace, service) : null;

    /// <summary>Nearly every service has one slice, and so an array of one.</summary>
    private void ReplaceSlice(ObjectName owner, EndpointSlice? before, EndpointSlice? now)
    {
        _changed.Add(owner);
        EndpointSlice[] kept = [.. _slices.GetValueOrDefault(owner, []).Where(slice => !ReferenceEquals(slice, before))];
        if (now is not null)
            _slices[owner] = [.. kept, now];
        else if (kept.Length > 0)
            _slices[owner] = kept;
        else
            _slices.Remove(owner);
    }

    private void Replace(ObjectName name, ClusterFacts facts)
    {
        if (ServiceNames.KeyOf(name, _labels) is not { } key)
            return;
        var before = _services.GetValueOrDefault(key);
        ServiceNames? now = null;
        if (facts.Services.TryGetValue(name, out var service))
        {
            // Endpoints of a service with a cluster address have no names, and change often.
            if (before is { Headless: null } && service.Spec.ClusterIP != "None" && service.Spec.Type != "ExternalName" && ReferenceEquals(before.Of, service))
                return;
            now = ServiceNames.Build(service, key, _slices.GetValueOrDefault(name, []), facts.Endpoints.GetValueOrDefault(name), _labels);
        }

        if (now is not null)
        {
            now.Of = service;
            _services[key] = now;
            if (before is null)
                CountNamespace(now.Namespace.ToArray(), 1);
        }
        else if (before is not null)
        {
            _services.TryRemove(key, out _);
            CountNamespace(before.Namespace.ToArray(), -1);
        }

        ReplacePointers(before, now);
    }

    private void CountNamespace(byte[]? label, int by)
    {
        if (label is null)
            return;
        var count = _namespaces.GetValueOrDefault(label) + by;
        if (count > 0)
            _namespaces[label] = count;
        else
            _namespaces.TryRemove(label, out _);
    }

    /// <summary>The new ones first: an address that stays has a name at every moment.</summary>
    private void ReplacePointers(ServiceNames? before, ServiceNames? now)
    {
        var kept = new HashSet<InetAddress>();
        if (now is not null)
        {
            foreach (var (address, label) in PointersOf(now))
            {
                kept.Add(address);
                var chain = _pointers.GetValueOrDefault(address);
                if (!Has(chain, now.Key, label))
                    _pointers[address] = new PointerNames(now.Key, label, Without(chain, now.Key));
            }
        }

        if (before is null)
            return;
        foreach (var (address, _) in PointersOf(before))
        {
            if (kept.Contains(address))
                continue;
            if (Without(_pointers.GetValueOrDefault(address), before.Key) is { } others)
                _pointers[address] = others;
            else
                _pointers.TryRemove(address, out _);
        }
    }

    private static IEnumerable<(InetAddress Address, byte[]? Label)> PointersOf(ServiceNames service)
    {
        foreach (var address in service.Addresses)
            yield return (address, null);
        if (service.Headless is not { } headless)
            yield break;
        for (var i = 0; i < headless.All.Length; i++)
        {
            var endpoint = headless.All[i];
            if (endpoint.HasHostName)
                yield return (endpoint.Address, endpoint.Label);
        }
    }

    private static bool Has(PointerNames? chain, byte[] service, byte[]? label)
    {
        for (; chain is not null; chain = chain.Next)
        {
            if (chain.Service.AsSpan().SequenceEqual(service))
                return chain.Label.AsSpan().SequenceEqual(label);
        }

        return false;
    }

    private static PointerNames? Without(PointerNames? chain, byte[] service)
    {
        if (chain is null)
            return null;
        var rest = Without(chain.Next, service);
        return chain.Service.AsSpan().SequenceEqual(service) ? rest : ReferenceEquals(rest, chain.Next) ? chain : chain with { Next = rest };
    }

    /// <summary>Compares labels that are in small letters already, with a hash whose seed is the process' own.</summary>
    private sealed class LabelComparer : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
    {
        public static LabelComparer Instance { get; } = new();

        public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();

        public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

        public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

        public int GetHashCode(byte[] obj) => GetHashCode(obj.AsSpan());

        public int GetHashCode(ReadOnlySpan<byte> alternate)
        {
            var hash = new HashCode();
            hash.AddBytes(alternate);
            return hash.ToHashCode();
        }
    }
}
