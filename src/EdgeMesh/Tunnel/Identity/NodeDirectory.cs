using System.Collections.Immutable;
using EdgeMesh.LibP2P.Addresses;

namespace EdgeMesh.Tunnel.Identity;

/// <summary>Which peer ids belong to which node names, as far as names are known. Bounded; any thread.</summary>
internal sealed class NodeDirectory(PresharedKeys keys, int limit)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, ImmutableArray<PeerId>> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<PeerId, string> _byPeer = new(PeerId.ByMultihash);

    /// <summary>Everybody who may call itself so; from now on <see cref="NameOf"/> knows them.</summary>
    internal ImmutableArray<PeerId> Learn(string node)
    {
        lock (_gate)
        {
            if (_byName.TryGetValue(node, out var known))
                return known;
        }

        var peers = keys.PeersNamed(node);
        lock (_gate)
        {
            if (_byName.Count < limit && _byName.TryAdd(node, peers))
            {
                foreach (var peer in peers)
                    _byPeer[peer] = node;
            }
        }

        return peers;
    }

    /// <summary>Whether the peer may call itself so. A name that somebody claims without right is not kept.</summary>
    internal bool Is(string node, PeerId peer)
    {
        lock (_gate)
        {
            if (_byName.TryGetValue(node, out var known))
                return known.Contains(peer);
        }

        if (!keys.PeersNamed(node).Contains(peer))
            return false;
        Learn(node);
        return true;
    }

    internal void Forget(string node)
    {
        lock (_gate)
        {
            if (!_byName.Remove(node, out var peers))
                return;
            foreach (var peer in peers)
                _byPeer.Remove(peer);
        }
    }

    /// <summary>The node with this peer id; null if no known name gives it.</summary>
    internal string? NameOf(PeerId peer)
    {
        lock (_gate)
            return _byPeer.GetValueOrDefault(peer);
    }

    /// <summary>As above, by the bytes of its multihash.</summary>
    internal string? NameOf(ReadOnlySpan<byte> multihash)
    {
        lock (_gate)
            return _byPeer.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(multihash, out var name) ? name : null;
    }
}
