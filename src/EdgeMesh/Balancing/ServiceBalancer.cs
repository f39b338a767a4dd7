using System.Collections.Immutable;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Balancing;

/// <summary>Chooses endpoints of one service port for one thread: no locks, no clock of its own. It outlives changes of the
/// route, so that a change of one endpoint neither restarts the rotation nor forgets which endpoints fail.</summary>
/// <remarks>All times are milliseconds on any clock that never goes back.</remarks>
public sealed class ServiceBalancer
{
    private readonly Random _random;
    private readonly SetAsidePolicy _setAside;

    private ImmutableArray<ServiceEndpoint> _endpoints = [];
    private HashSet<ServiceEndpoint> _known = [];
    private ServiceEndpoint[] _rotation = [];
    private int _next;

    // Null while nothing fails, which is nearly always.
    private Dictionary<ServiceEndpoint, FailureRecord>? _failures;

    public ServiceBalancer(Random random, SetAsidePolicy setAside)
    {
        _random = random;
        _setAside = setAside;
    }

    /// <summary>Shared by all threads of this service; null as long as no route of it asked for affinity.</summary>
    public AffinityTable? Affinity { get; set; }

    /// <summary>Chooses an endpoint of <paramref name="route"/> that <paramref name="tried"/> does not hold, or false when
    /// there is none. Endpoints that keep failing are left out, unless all others have been tried.</summary>
    public bool TryChoose(Route route, InetAddress client, ReadOnlySpan<ServiceEndpoint> tried, long now, out ServiceEndpoint endpoint)
    {
        ArgumentNullException.ThrowIfNull(route);
        if (_endpoints != route.Endpoints)
            TakeEndpoints(route.Endpoints);

        if (route.ClientIPAffinity is { } idle && Affinity is not null
            && Affinity.TryGet(client, (long)idle.TotalMilliseconds, now, out endpoint)
            && !tried.Contains(endpoint) && IsUsable(endpoint, now) && _known.Contains(endpoint))
        {
            return true;
        }

        var start = route.Policy == BalancingPolicy.Random && _rotation.Length > 0 ? _random.Next(_rotation.Length) : _next;
        return TryChooseFrom(start, tried, now, onlyUsable: true, out endpoint)
            || TryChooseFrom(start, tried, now, onlyUsable: false, out endpoint);
    }

    /// <summary>The endpoint answered: it is in good standing, and with affinity it is this client's from now on.</summary>
    public void Succeeded(Route route, InetAddress client, ServiceEndpoint endpoint, long now)
    {
        ArgumentNullException.ThrowIfNull(route);
        Answered(endpoint);
        if (route.ClientIPAffinity is { } idle)
            Affinity?.Set(client, endpoint, (long)idle.TotalMilliseconds, now);
    }

    /// <summary>The endpoint answered somebody: it is in good standing.</summary>
    public void Answered(ServiceEndpoint endpoint)
    {
        if (_failures is not null && _failures.Remove(endpoint) && _failures.Count == 0)
            _failures = null;
    }

    /// <summary>The endpoint did not answer.</summary>
    public void Failed(ServiceEndpoint endpoint, long now)
    {
        // An endpoint that a change removed while it was being dialled has no record to keep.
        if (!_known.Contains(endpoint))
            return;
        _failures ??= [];
        _failures.TryGetValue(endpoint, out var record);
        record.InARow++;
        if (record.InARow >= _setAside.Failures)
            record.SetAsideUntil = now + _setAside.MillisecondsFor(record.InARow);
        _failures[endpoint] = record;
    }

    /// <summary>Whether the route still has an endpoint.</summary>
    public bool Has(Route route, in ServiceEndpoint endpoint)
    {
        ArgumentNullException.ThrowIfNull(route);
        if (_endpoints != route.Endpoints)
            TakeEndpoints(route.Endpoints);
        return _known.Contains(endpoint);
    }

    /// <summary>Endpoints left out at the moment.</summary>
    public int CountSetAside(long now) => _failures?.Values.Count(record => record.SetAsideUntil > now) ?? 0;

    private bool IsUsable(ServiceEndpoint endpoint, long now)
        => _failures is null || !_failures.TryGetValue(endpoint, out var record) || record.SetAsideUntil <= now;

    private bool TryChooseFrom(int start, ReadOnlySpan<ServiceEndpoint> tried, long now, bool onlyUsable, out ServiceEndpoint endpoint)
    {
        for (var i = 0; i < _rotation.Length; i++)
        {
            var index = (start + i) % _rotation.Length;
            endpoint = _rotation[index];
            if (tried.Contains(endpoint) || (onlyUsable && !IsUsable(endpoint, now)))
                continue;
            _next = (index + 1) % _rotation.Length;
            return true;
        }

        endpoint = default;
        return false;
    }

    private void TakeEndpoints(ImmutableArray<ServiceEndpoint> endpoints)
    {
        _endpoints = endpoints;
        // Kept endpoints keep their order, so the rotation goes on where it was; new ones come in at random places.
        // Without the shuffle every thread and every agent would send its first connection to the same endpoint.
        var before = _known;
        _known = endpoints.ToHashSet();
        var kept = new List<ServiceEndpoint>(_rotation.Length);
        var next = 0;
        for (var i = 0; i < _rotation.Length; i++)
        {
            if (i == _next)
                next = kept.Count;
            if (_known.Contains(_rotation[i]))
                kept.Add(_rotation[i]);
        }

        var added = _known.Where(endpoint => !before.Contains(endpoint)).ToArray();
        _random.Shuffle(added);
        Mix(kept, added, next);
        if (_failures is null)
            return;
        foreach (var gone in _failures.Keys.Where(endpoint => !_known.Contains(endpoint)).ToList())
            _failures.Remove(gone);
        if (_failures.Count == 0)
            _failures = null;
    }

    /// <summary>Each new endpoint falls into one of the gaps between the kept ones: a hand of cards is taken from one pile or
    /// the other, by chance and by what is left of each.</summary>
    private void Mix(List<ServiceEndpoint> kept, ServiceEndpoint[] added, int next)
    {
        _rotation = new ServiceEndpoint[kept.Count + added.Length];
        _next = 0;
        for (int i = 0, k = 0, a = 0; i < _rotation.Length; i++)
        {
            if (_random.Next(kept.Count - k + added.Length - a) < kept.Count - k)
            {
                if (k == next)
                    _next = i;
                _rotation[i] = kept[k++];
            }
            else
            {
                _rotation[i] = added[a++];
            }
        }
    }
}
