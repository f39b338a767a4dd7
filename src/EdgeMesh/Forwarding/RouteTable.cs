using System.Collections.Frozen;
using System.Collections.Immutable;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Forwarding;

/// <summary>How one service port's connections are spread.</summary>
public enum BalancingPolicy
{
    RoundRobin,
    Random,
}

/// <summary>One service port of the user-mode path: where its connections may go and how one is chosen. Immutable.</summary>
public sealed record Route
{
    public required ServicePortName Service { get; init; }

    /// <summary>Usable endpoints, in a stable order; empty: the client is refused.</summary>
    public required ImmutableArray<ServiceEndpoint> Endpoints { get; init; }

    /// <summary>Those of them to which the tunnel brings connections, by way of their nodes; the others are dialled directly.</summary>
    public FrozenSet<ServiceEndpoint> Tunnelled { get; init; } = [];

    public BalancingPolicy Policy { get; init; } = BalancingPolicy.RoundRobin;

    /// <summary>Null: no affinity. Else how long an idle client address keeps its endpoint (sliding).</summary>
    public TimeSpan? ClientIPAffinity { get; init; }

    /// <summary>The node through which the tunnel brings connections to an endpoint; null: it is dialled directly.</summary>
    public string? NodeOf(in ServiceEndpoint endpoint) => Tunnelled.Count > 0 && Tunnelled.Contains(endpoint) ? endpoint.Node : null;
}

/// <summary>All routes of the user-mode path. Readers take the reference once per connection; a change swaps it.
/// A tree and not a frozen dictionary: it shares what did not change, so a change costs its own size and not the table's.</summary>
public sealed class RouteTable(IEnumerable<KeyValuePair<TransportAddress, Route>> routes)
{
    public static RouteTable Empty { get; } = new([]);

    public ImmutableDictionary<TransportAddress, Route> Routes { get; } = routes.ToImmutableDictionary();
}
