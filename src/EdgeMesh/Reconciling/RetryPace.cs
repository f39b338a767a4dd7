namespace EdgeMesh.Reconciling;

/// <summary>When to try again what failed: half a second, doubling to half a minute. Not thread-safe.</summary>
internal sealed class RetryPace(TimeProvider time)
{
    private static readonly TimeSpan First = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(30);

    private TimeSpan _next = First;
    private TimeSpan _rest;
    private long? _since;

    // Timers may come a little early.
    private static readonly TimeSpan Due = TimeSpan.FromMilliseconds(5);

    /// <summary>How long until the next try is due; null: nothing waits for one.</summary>
    public TimeSpan? Left => _since is not { } since ? null
        : _rest - time.GetElapsedTime(since) is var left && left > Due ? left : TimeSpan.Zero;

    public void Succeeded() => (_next, _since) = (First, null);

    /// <summary>Something is left to be done: as <see cref="Failed"/>, unless a try for it is to come already.</summary>
    public void Unfinished()
    {
        if (Left is null || Left == TimeSpan.Zero)
            Failed();
    }

    /// <returns>How long to wait.</returns>
    public TimeSpan Failed()
    {
        (_rest, _since) = (_next, time.GetTimestamp());
        _next = _next * 2 < Longest ? _next * 2 : Longest;
        return _rest;
    }
}
