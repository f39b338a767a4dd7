namespace EdgeMesh.Tunnel.Loop;

/// <summary>What is looked at ten times a second. Nothing here makes an object for what it looks at.</summary>
internal sealed partial class TunnelLoop
{
    private const int TickMilliseconds = 100;

    private readonly List<DeadlineQueue> _deadlines = [];
    private readonly List<IDelivery> _delivering = [];
    private int _lookedAt;

    /// <summary>Looks at each tick whether everything has been delivered.</summary>
    internal void AwaitDelivery(IDelivery delivery) => _delivering.Add(delivery);

    /// <summary>Deadlines of one length; made before the loop starts.</summary>
    internal DeadlineQueue AddDeadlines(TimeSpan length)
    {
        var queue = new DeadlineQueue(this, (long)length.TotalMilliseconds);
        _deadlines.Add(queue);
        return queue;
    }

    private void Tick()
    {
        foreach (var queue in _deadlines)
        {
            while (queue.Overdue(Now) is { } timed)
                Guard(timed, static t => t.OnOverdue());
        }

        LookAtDeliveries();
        LookAtLocalPeers();
        _timer.Set(TickMilliseconds);
    }

    private void LookAtDeliveries()
    {
        for (var i = _delivering.Count - 1; i >= 0; i--)
        {
            if (GoesOn(_delivering[i]))
                continue;
            _delivering[i] = _delivering[^1];
            _delivering.RemoveAt(_delivering.Count - 1);
        }
    }

    private bool GoesOn(IDelivery delivery)
    {
        try
        {
            return delivery.LookAtDelivery();
        }
        catch (Exception e)
        {
            GiveUp(delivery, e);
            return false;
        }
    }

    /// <summary>A few at each tick, every one about every half minute.</summary>
    private void LookAtLocalPeers()
    {
        const int TicksPerRound = 300;
        var count = Math.Min(_slotsUsed, (_slotsUsed / TicksPerRound) + 1);
        for (var i = 0; i < count; i++)
        {
            _lookedAt = _lookedAt + 1 < _slotsUsed ? _lookedAt + 1 : 0;
            if (_slots[_lookedAt].Owner is SocketPump pump)
                Guard(pump, static p => p.LookAtLocal());
        }
    }
}
