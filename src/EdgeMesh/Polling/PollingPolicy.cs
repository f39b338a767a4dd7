namespace EdgeMesh.Polling;

/// <summary>Whether a loop looks for events for a moment before it sleeps. To sleep and be woken costs more than the whole
/// way of a small message, so it pays where the next event is only microseconds away: a request and its answer on one
/// node. It must cost nothing where it is not, and take no core from those who are waited for.</summary>
/// <remarks>
/// Begins after sleeps that were all too short to be worth it, and ends after looks that were all in vain. Between two looks
/// the thread yields: who else wants the core gets it at once, and one who keeps it for long shows by that that
/// the core is busy, where a thread that is woken has it sooner than one that yielded.
/// Times are those of <see cref="System.Diagnostics.Stopwatch"/>, given in nanoseconds.
/// </remarks>
/// <param name="limit">How long to look; 0: never.</param>
internal sealed class PollingPolicy(long limit)
{
    private const int ShortSleepsToBegin = 16;
    private const int VainLooksToEnd = 2;

    /// <summary>Where more come at once, they share the price of a sleep, and the cores are busy anyway.</summary>
    private const int FewEvents = 2;

    /// <summary>Longer than any peer works on a small message, shorter than the slice of one that computes.</summary>
    private const long LongAway = 1_000_000;

    // A host that takes the core away looks the same as a process that computes, but for a moment only.
    private const long ShortestRest = 10_000_000;
    private const long LongestRest = 1_000_000_000;
    private const int FoundToForget = 256;

    private bool _polls;
    private int _shortSleeps;
    private int _vainLooks;
    private long _rest = ShortestRest;
    private long _restsUntil = long.MinValue;
    private int _foundSinceRest;
    private long _until;
    private long _last;

    /// <summary>Whether to look before the next sleep. If so, ask <see cref="GoesOn"/> after each look without an event.</summary>
    public bool Begins(long now)
    {
        if (!_polls || now < _restsUntil)
            return false;
        _until = now + limit;
        _last = now;
        return true;
    }

    public bool GoesOn(long now)
    {
        if (now - _last > LongAway)
        {
            _restsUntil = now + _rest;
            _rest = Math.Min(_rest * 2, LongestRest);
            _foundSinceRest = 0;
            return false;
        }

        _last = now;
        if (now <= _until)
            return true;
        if (++_vainLooks == VainLooksToEnd)
            (_polls, _shortSleeps) = (false, 0);
        return false;
    }

    /// <summary>Events were there while it looked.</summary>
    public void Found(int events)
    {
        _vainLooks = 0;
        if (++_foundSinceRest == FoundToForget)
            _rest = ShortestRest;
        if (events > FewEvents)
            (_polls, _shortSleeps) = (false, 0);
    }

    /// <summary>Events ended a sleep.</summary>
    public void Slept(long nanoseconds, int events)
    {
        if (_polls || limit == 0)
            return;
        _shortSleeps = nanoseconds <= limit && events <= FewEvents ? _shortSleeps + 1 : 0;
        if (_shortSleeps >= ShortSleepsToBegin)
            (_polls, _vainLooks) = (true, 0);
    }
}
