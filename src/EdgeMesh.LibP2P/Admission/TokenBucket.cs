namespace EdgeMesh.LibP2P.Admission;

/// <summary>How often something may happen: so many at once, and so many a second after that. The clock is looked at only
/// when the bucket is empty. Not thread-safe.</summary>
public struct TokenBucket
{
    private readonly double _burst;
    private readonly double _perSecond;
    private double _tokens;
    private long _filledAt;

    public TokenBucket(double burst, double perSecond)
    {
        _burst = _tokens = burst;
        _perSecond = perSecond;
    }

    /// <summary>Takes one; false if it happens too often.</summary>
    public bool TryTake(TimeProvider time)
    {
        if (_tokens < 1)
            Fill(time);
        if (_tokens < 1)
            return false;
        // The time from here on is what fills it again.
        if (_filledAt == 0)
            _filledAt = time.GetTimestamp();
        _tokens--;
        return true;
    }

    /// <summary>Whether one could be taken.</summary>
    public bool HasAny(TimeProvider time)
    {
        if (_tokens < 1)
            Fill(time);
        return _tokens >= 1;
    }

    /// <summary>Whether nothing has been taken for long enough that it is as at first.</summary>
    public bool IsFull(TimeProvider time)
    {
        Fill(time);
        return _tokens >= _burst;
    }

    private void Fill(TimeProvider time)
    {
        var now = time.GetTimestamp();
        if (_filledAt != 0)
            _tokens = Math.Min(_burst, _tokens + time.GetElapsedTime(_filledAt, now).TotalSeconds * _perSecond);
        _filledAt = now;
    }
}
