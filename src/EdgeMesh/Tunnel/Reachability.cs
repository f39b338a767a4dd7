using System.Collections.Frozen;
using System.Collections.Immutable;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Tunnel;

/// <summary>How far the verification of a range has come.</summary>
public enum RangeState
{
    /// <summary>Nobody has answered yet at an address inside it.</summary>
    Unverified,

    /// <summary>The very node answers at an address inside it.</summary>
    Direct,

    /// <summary>It was direct, and the node no longer answers there.</summary>
    Lost,

    /// <summary>The node answers again; a few more checks and the range is direct.</summary>
    Returning,
}

/// <summary>One range that a node says is its own, and what came of asking there.</summary>
/// <param name="Via">Where the node is asked; null: it announced no address inside the range, so nobody can ask.</param>
/// <param name="Reason">In words, for <c>status</c>.</param>
public sealed record RangeReach(AddressRange Range, InetEndpoint? Via, RangeState State, TimeSpan? RoundTrip, string Reason);

/// <summary>Which addresses of which node can be reached without the tunnel: immutable, and true when it was taken. A range
/// counts only when the node itself proved who it is at an address inside it, so that the same range on two nodes never
/// leads to a stranger.</summary>
public sealed class Reachability
{
    private readonly FrozenDictionary<string, ImmutableArray<RangeReach>> _nodes;

    public Reachability(IEnumerable<KeyValuePair<string, ImmutableArray<RangeReach>>> nodes) =>
        _nodes = nodes.ToFrozenDictionary(StringComparer.Ordinal);

    public static Reachability Empty { get; } = new([]);

    /// <summary>Every node with announced ranges.</summary>
    public IEnumerable<KeyValuePair<string, ImmutableArray<RangeReach>>> Nodes => _nodes;

    /// <summary>Whether an endpoint on a node was verified to be reachable directly.</summary>
    public bool IsDirect(string node, InetAddress endpoint) => Find(node, endpoint) is { State: RangeState.Direct };

    /// <summary>The range of the node that the address is in: a direct one if there is one, else the narrowest; null: none.</summary>
    public RangeReach? Find(string node, InetAddress endpoint)
    {
        RangeReach? best = null;
        if (!_nodes.TryGetValue(node, out var ranges))
            return null;
        foreach (var range in ranges)
        {
            if (range.Range.Contains(endpoint) && (best is null || Rank(range) > Rank(best)))
                best = range;
        }

        return best;
    }

    /// <summary>Whether the same ranges are direct: round trips and reasons may differ.</summary>
    public bool DecidesAs(Reachability other) =>
        Direct().ToHashSet().SetEquals(other.Direct());

    private IEnumerable<(string Node, AddressRange Range)> Direct() =>
        _nodes.SelectMany(node => node.Value.Where(r => r.State == RangeState.Direct).Select(r => (node.Key, r.Range)));

    private static int Rank(RangeReach range) => (range.State == RangeState.Direct ? 1000 : 0) + range.Range.PrefixLength;
}
