using System.Runtime.InteropServices;
using EdgeMesh.LibP2P.Admission;

namespace EdgeMesh.Tunnel.Admission;

/// <summary>Handshakes that began with a good proof and came to nothing, by address. A recorded proof can be sent again by
/// whoever saw it, and costs a key exchange each time: an address that does so too often is turned away for a while before it
/// costs one. Nodes finish what they begin. Bounded; any thread.</summary>
internal sealed class HandshakeDebts(TimeProvider time)
{
    private const int MaxAddresses = 4_096;
    private const int AtOnce = 32;
    private const int PerSecond = 4;

    private readonly Dictionary<AddressShare, TokenBucket> _buckets = [];
    private int _count;

    internal void Note(AddressShare share)
    {
        lock (_buckets)
        {
            if (_buckets.Count >= MaxAddresses && !_buckets.ContainsKey(share))
                MakeRoom();
            ref var bucket = ref CollectionsMarshal.GetValueRefOrAddDefault(_buckets, share, out var exists);
            if (!exists)
                bucket = new TokenBucket(AtOnce, PerSecond);
            _ = bucket.TryTake(time);
            Volatile.Write(ref _count, _buckets.Count);
        }
    }

    internal bool IsInDebt(AddressShare share)
    {
        if (Volatile.Read(ref _count) == 0)
            return false;
        lock (_buckets)
        {
            ref var bucket = ref CollectionsMarshal.GetValueRefOrNullRef(_buckets, share);
            return !System.Runtime.CompilerServices.Unsafe.IsNullRef(ref bucket) && !bucket.HasAny(time);
        }
    }

    private void MakeRoom()
    {
        foreach (var share in _buckets.Keys)
        {
            if (CollectionsMarshal.GetValueRefOrNullRef(_buckets, share).IsFull(time))
                _buckets.Remove(share);
        }

        // Thousands of addresses in debt at once: whom this forgets begins anew, which is no more than any other address has.
        if (_buckets.Count >= MaxAddresses)
            _buckets.Clear();
    }
}
