using System.Collections.Concurrent;
using EdgeMesh.LibP2P.Admission;

namespace EdgeMesh.Tunnel.Admission;

/// <summary>Addresses from or at which nodes have proved who they are: a part of the places is kept for them. Bounded; the ones
/// that were not seen for the longest time are forgotten first. Any thread.</summary>
internal sealed class KnownAddresses(TimeProvider time, int limit = KnownAddresses.MostKept)
{
    internal const int MostKept = 8_192;

    private readonly ConcurrentDictionary<AddressShare, long> _seen = new();

    internal void Note(AddressShare share)
    {
        if (_seen.Count >= limit && !_seen.ContainsKey(share))
            ForgetOldest();
        _seen[share] = time.GetTimestamp();
    }

    internal bool Contains(AddressShare share) => _seen.ContainsKey(share);

    private void ForgetOldest()
    {
        foreach (var (share, _) in _seen.OrderBy(s => s.Value).Take(Math.Max(1, limit / 4)))
            _seen.TryRemove(share, out _);
    }
}
