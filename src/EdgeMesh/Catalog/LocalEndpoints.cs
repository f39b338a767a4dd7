using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Catalog;

/// <summary>What the cluster lists as running on this node: the only addresses that are dialled on behalf of a peer.
/// Services that this agent leaves alone count too, because the peer may handle them.</summary>
internal sealed class LocalEndpoints
{
    // Two services may select one pod.
    private readonly Dictionary<TransportAddress, int> _listed = [];

    public ImmutableHashSet<TransportAddress> Set { get; private set; } = [];

    /// <returns>False where the set is as before.</returns>
    public bool Replace(
        ImmutableArray<TransportAddress> before,
        ImmutableArray<TransportAddress> now)
    {
        if (before.AsSpan().SequenceEqual(now.AsSpan()))
            return false;
        var set = Set.ToBuilder();
        foreach (var endpoint in now)
        {
            if (++CollectionsMarshal.GetValueRefOrAddDefault(_listed, endpoint, out _) == 1)
                set.Add(endpoint);
        }

        foreach (var endpoint in before)
        {
            ref var count = ref CollectionsMarshal.GetValueRefOrNullRef(_listed, endpoint);
            if (--count > 0)
                continue;
            _listed.Remove(endpoint);
            set.Remove(endpoint);
        }

        var result = set.ToImmutable();
        if (ReferenceEquals(result, Set))
            return false;
        Set = result;
        return true;
    }
}
