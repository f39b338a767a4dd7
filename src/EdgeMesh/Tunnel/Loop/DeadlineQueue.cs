namespace EdgeMesh.Tunnel.Loop;

/// <summary>Has something to be done by a time.</summary>
internal interface ITimed
{
    /// <summary>Done in time, or no longer of interest.</summary>
    bool IsDone { get; }

    /// <summary>The time is over. Called once.</summary>
    void OnOverdue();

    /// <inheritdoc cref="ISocketOwner.OnFault"/>
    void OnFault(Exception exception);
}

/// <summary>Deadlines of one length, so that the first to begin is the first to end. Almost all are met within
/// milliseconds: they are forgotten at the next tick, unless an older one is still open.</summary>
internal sealed class DeadlineQueue(TunnelLoop loop, long milliseconds)
{
    private readonly Queue<(ITimed Timed, long At)> _queue = new();

    public void Add(ITimed timed) => _queue.Enqueue((timed, loop.Now + milliseconds));

    /// <summary>Takes out whose time is over at <paramref name="now"/>, one for each call; null: nobody's is.</summary>
    public ITimed? Overdue(long now)
    {
        while (_queue.TryPeek(out var first) && (first.Timed.IsDone || first.At <= now))
        {
            _queue.Dequeue();
            if (!first.Timed.IsDone)
                return first.Timed;
        }

        return null;
    }
}
