namespace EdgeMesh.Forwarding;

/// <summary>Deadlines of a loop's connections, one each, set and taken back in constant time without an object per timer.
/// A deadline beyond one turn waits in its slot for the turn in which it is due.</summary>
/// <param name="now">Milliseconds on the clock that later calls use.</param>
internal sealed class TimerWheel(long now)
{
    public const int SlotMilliseconds = 32;

    private const int Slots = 512;

    private readonly Connection?[] _heads = new Connection?[Slots];
    private long _tick = now / SlotMilliseconds;

    public void Set(Connection connection, long deadline)
    {
        Remove(connection);
        // Rounded up: a timer never fires early.
        var tick = Math.Max((deadline + SlotMilliseconds - 1) / SlotMilliseconds, _tick + 1);
        var slot = (int)(tick % Slots);
        connection.TimerDeadline = tick;
        connection.TimerSlot = slot;
        connection.TimerPrevious = null;
        connection.TimerNext = _heads[slot];
        if (_heads[slot] is { } head)
            head.TimerPrevious = connection;
        _heads[slot] = connection;
    }

    public void Remove(Connection connection)
    {
        if (connection.TimerSlot < 0)
            return;
        if (connection.TimerPrevious is { } previous)
            previous.TimerNext = connection.TimerNext;
        else
            _heads[connection.TimerSlot] = connection.TimerNext;
        if (connection.TimerNext is { } next)
            next.TimerPrevious = connection.TimerPrevious;
        connection.TimerNext = connection.TimerPrevious = null;
        connection.TimerSlot = -1;
    }

    /// <summary>Takes out everything that is due and adds it to <paramref name="due"/>.</summary>
    public void Advance(long now, List<Connection> due)
    {
        var target = now / SlotMilliseconds;
        // After a long stop one full turn sees every slot.
        var first = Math.Max(_tick + 1, target - Slots + 1);
        _tick = Math.Max(_tick, target);
        for (var tick = first; tick <= target; tick++)
        {
            for (var connection = _heads[tick % Slots]; connection is not null;)
            {
                var next = connection.TimerNext;
                if (connection.TimerDeadline <= target)
                {
                    Remove(connection);
                    due.Add(connection);
                }

                connection = next;
            }
        }
    }
}
