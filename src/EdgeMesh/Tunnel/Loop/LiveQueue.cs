using System.Diagnostics.CodeAnalysis;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>A queue whose entries may be over before their turn. Those are dropped wherever they stand, not only at the head:
/// whenever it has doubled since it was last looked through, so that it holds at most about twice what is live, at a cost
/// per entry that does not grow.</summary>
internal sealed class LiveQueue<T>(Func<T, bool> isOver)
{
    private const int LeastSweep = 64;

    private readonly Queue<T> _queue = new();
    private int _sweepAt = LeastSweep;

    public int Count => _queue.Count;

    public void Enqueue(T entry)
    {
        if (_queue.Count >= _sweepAt)
            Sweep();
        _queue.Enqueue(entry);
    }

    public bool TryPeek([MaybeNullWhen(false)] out T entry) => _queue.TryPeek(out entry);

    public bool TryDequeue([MaybeNullWhen(false)] out T entry) => _queue.TryDequeue(out entry);

    public T Dequeue() => _queue.Dequeue();

    private void Sweep()
    {
        for (var left = _queue.Count; left > 0; left--)
        {
            var entry = _queue.Dequeue();
            if (!isOver(entry))
                _queue.Enqueue(entry);
        }

        _sweepAt = Math.Max(LeastSweep, 2 * _queue.Count);
        // The room of a burst is given back once most of it is not needed.
        if (_queue.Capacity > 4 * _sweepAt)
            _queue.TrimExcess(_sweepAt);
    }
}
