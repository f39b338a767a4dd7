using System.Collections.Immutable;
using System.Net;

namespace EdgeMesh.Tunnel.Sessions;

/// <summary>Where answers on the LAN say that one node is. They cost their sender nothing and prove nothing, so that a true one
/// stands among as many false ones as somebody likes: none replaces another that has not had its turn, and each gets one.
/// Not thread-safe.</summary>
internal sealed class DiscoveredAddresses
{
    /// <summary>As many as a LAN of the usual size has addresses.</summary>
    internal const int MaxHeld = 256;

    /// <summary>When each was given out last, in turns; 0: not yet.</summary>
    private readonly Dictionary<IPEndPoint, long> _turns = [];

    private long _turn;

    internal int Count => _turns.Count;

    /// <returns>Whether it is a new one that has a place.</returns>
    internal bool Offer(IPEndPoint endPoint)
    {
        if (_turns.ContainsKey(endPoint))
            return false;
        if (_turns.Count == MaxHeld)
        {
            var (oldest, turn) = _turns.MinBy(held => held.Value == 0 ? long.MaxValue : held.Value);
            if (turn == 0)
                return false;
            _turns.Remove(oldest);
        }

        _turns.Add(endPoint, 0);
        return true;
    }

    /// <summary>The ones whose turn it is: those that had none, then those that had theirs longest ago.</summary>
    internal ImmutableArray<IPEndPoint> Next(int count)
    {
        if (_turns.Count == 0)
            return [];
        ImmutableArray<IPEndPoint> next = [.. _turns.OrderBy(held => held.Value).Take(count).Select(held => held.Key)];
        foreach (var endPoint in next)
            _turns[endPoint] = ++_turn;
        return next;
    }
}
