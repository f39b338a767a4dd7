using System.Collections.Concurrent;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Balancing;

/// <summary>Remembers which endpoint each client address of one service port has. Shared by all threads; reading takes no
/// lock. Bounded: at the bound, expired clients go first, then those that were idle longest among a sample.</summary>
public sealed class AffinityTable
{
    /// <summary>Of this many entries looked at when the table is full, the oldest goes.</summary>
    private const int Sample = 16;

    // A use is written down at most this often, so that busy clients do not make the threads fight for a cache line.
    private const long UseGranularityMilliseconds = 500;

    private readonly ConcurrentDictionary<InetAddress, Entry> _clients = new();
    private readonly int _capacity;

    // ConcurrentDictionary.Count takes every lock of the table.
    private int _count;

    public AffinityTable(int capacity)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        _capacity = capacity;
    }

    public int Count => Volatile.Read(ref _count);

    /// <summary>The client's endpoint, if it came within the last <paramref name="idleMilliseconds"/>; coming counts as use.</summary>
    public bool TryGet(InetAddress client, long idleMilliseconds, long now, out ServiceEndpoint endpoint)
    {
        endpoint = default;
        if (!_clients.TryGetValue(client, out var entry))
            return false;
        var lastUse = Volatile.Read(ref entry.LastUse);
        if (now - lastUse > idleMilliseconds)
            return false;
        if (now - lastUse > UseGranularityMilliseconds)
            Volatile.Write(ref entry.LastUse, now);
        endpoint = entry.Endpoint;
        return true;
    }

    public void Set(InetAddress client, ServiceEndpoint endpoint, long idleMilliseconds, long now)
    {
        if (_clients.TryGetValue(client, out var known))
        {
            if (known.Endpoint == endpoint)
            {
                if (now - Volatile.Read(ref known.LastUse) > UseGranularityMilliseconds)
                    Volatile.Write(ref known.LastUse, now);
                return;
            }

            _clients.TryUpdate(client, new Entry(endpoint, now), known);
            return;
        }

        if (Volatile.Read(ref _count) >= _capacity)
            MakeRoom(idleMilliseconds, now);
        if (_clients.TryAdd(client, new Entry(endpoint, now)))
            Interlocked.Increment(ref _count);
    }

    /// <summary>Forgets clients whose endpoint left, and those idle for longer than <paramref name="idleMilliseconds"/>.</summary>
    public void Retain(Func<ServiceEndpoint, bool> stays, long idleMilliseconds, long now)
    {
        ArgumentNullException.ThrowIfNull(stays);
        foreach (var (client, entry) in _clients)
        {
            if (!stays(entry.Endpoint) || now - Volatile.Read(ref entry.LastUse) > idleMilliseconds)
                Remove(client, entry);
        }
    }

    private void MakeRoom(long idleMilliseconds, long now)
    {
        var looked = 0;
        KeyValuePair<InetAddress, Entry>? oldest = null;
        foreach (var pair in _clients)
        {
            if (now - Volatile.Read(ref pair.Value.LastUse) > idleMilliseconds)
                Remove(pair.Key, pair.Value);
            else if (oldest is null || Volatile.Read(ref pair.Value.LastUse) < Volatile.Read(ref oldest.Value.Value.LastUse))
                oldest = pair;
            if (++looked == Sample)
                break;
        }

        if (Volatile.Read(ref _count) >= _capacity && oldest is { } victim)
            Remove(victim.Key, victim.Value);
    }

    private void Remove(InetAddress client, Entry entry)
    {
        if (_clients.TryRemove(new KeyValuePair<InetAddress, Entry>(client, entry)))
            Interlocked.Decrement(ref _count);
    }

    private sealed class Entry(ServiceEndpoint endpoint, long lastUse)
    {
        public readonly ServiceEndpoint Endpoint = endpoint;
        public long LastUse = lastUse;
    }
}
