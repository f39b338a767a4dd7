namespace EdgeMesh.Tunnel.Loop;

/// <summary>Has something to be done by a time.</summary>
internal interface ITimed : IFallible
{
    /// <summary>Done in time, or no longer of interest.</summary>
    bool IsDone { get; }

    /// <summary>The time is over. Called once.</summary>
    void OnOverdue();
}

/// <summary>Deadlines of one length, so that the first to begin is the first to end. Almost all are met within
/// milliseconds: they are forgotten at the next tick, or behind an older one that is still open by <see cref="LiveQueue{T}"/>.</summary>
internal sealed class DeadlineQueue(TunnelLoop loop, long milliseconds)
{
    private readonly LiveQueue<(ITimed Timed, long At)> _queue = new(static entry => entry.Timed.IsDone);

    /// <summary>Entries that are held, met ones among them.</summary>
    public int Count => _queue.Count;

    public void Add(ITimed timed) => _queue.Enqueue((timed, loop.Now + milliseconds));

    /// <summary>Takes out whose time is over at <paramref name="now"/>, one for each call; null: nobody's is.</summary>
    public ITimed? Overdue(long now)
    {
        while (_queue.TryPeek(out var first) && (first.Timed.IsDone || first.At <= now))
        {
            _ = _queue.Dequeue();
            if (!first.Timed.IsDone)
                return first.Timed;
        }

        return null;
    }
}
