namespace EdgeMesh.Kubernetes.Watching;

/// <summary><c>qps</c> and <c>burst</c> of the configuration: no more than <paramref name="burst"/> requests at once and
/// <paramref name="perSecond"/> on average; 0 or less per second: no limit.</summary>
internal sealed class TokenBucket(double perSecond, int burst, TimeProvider time)
{
    private readonly Lock _gate = new();
    private readonly double _burst = Math.Max(1, burst);
    private double _tokens = Math.Max(1, burst);
    private long _filled = time.GetTimestamp();

    public async ValueTask TakeAsync(CancellationToken cancellationToken)
    {
        if (perSecond <= 0)
        {
            return;
        }

        TimeSpan wait;
        lock (_gate)
        {
            _tokens = Math.Min(_burst, _tokens + (time.GetElapsedTime(_filled).TotalSeconds * perSecond));
            _filled = time.GetTimestamp();
            // A debt is taken in turn: each caller waits for its own token, not for a race after one.
            _tokens--;
            wait = TimeSpan.FromSeconds(Math.Max(0, -_tokens / perSecond));
        }

        if (wait > TimeSpan.Zero)
        {
            await Task.Delay(wait, time, cancellationToken);
        }
    }
}
