using System.Collections.Immutable;
using EdgeMesh.Net;

namespace EdgeMesh.Tunnel.Sessions;

/// <summary>Where answers on the LAN say that one node is. They cost their sender nothing and prove nothing, so that a true one
/// stands among as many false ones as somebody likes: none replaces another that has not had its turn, and each gets one.
/// Not thread-safe.</summary>
internal sealed class DiscoveredAddresses
{
    /// <summary>As many as a LAN of the usual size has addresses.</summary>
    internal const int MaxHeld = 256;

    private readonly HashSet<InetEndpoint> _held = [];

    /// <summary>Those that have not had a turn, in the order in which they came.</summary>
    private readonly Queue<InetEndpoint> _new = [];

    /// <summary>Those that have, the one whose turn was longest ago first.</summary>
    private readonly Queue<InetEndpoint> _given = [];

    internal int Count => _held.Count;

    /// <returns>Whether it is a new one that has a place.</returns>
    internal bool Offer(InetEndpoint endPoint)
    {
        if (_held.Contains(endPoint))
            return false;
        if (_held.Count == MaxHeld)
        {
            if (!_given.TryDequeue(out var oldest))
                return false;
            _held.Remove(oldest);
        }

        _held.Add(endPoint);
        _new.Enqueue(endPoint);
        return true;
    }

    /// <summary>The ones whose turn it is: those that had none, then those that had theirs longest ago.</summary>
    internal ImmutableArray<InetEndpoint> Next(int count)
    {
        var next = ImmutableArray.CreateBuilder<InetEndpoint>();
        for (var left = Math.Min(count, _held.Count); left > 0; left--)
            next.Add(_new.TryDequeue(out var endPoint) ? endPoint : _given.Dequeue());
        foreach (var endPoint in next)
            _given.Enqueue(endPoint);
        return next.ToImmutable();
    }
}
