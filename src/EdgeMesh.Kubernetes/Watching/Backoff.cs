namespace EdgeMesh.Kubernetes.Watching;

/// <summary>Waits that double from <paramref name="first"/> to <paramref name="longest"/>, each half fixed and half
/// random, so that the agents of a thousand nodes do not come back to a restarted API server in step.</summary>
internal sealed class Backoff(TimeSpan first, TimeSpan longest, Random random)
{
    private int _failures;

    public TimeSpan Next()
    {
        var full = Math.Min(longest.TotalMilliseconds, first.TotalMilliseconds * Math.Pow(2, Math.Min(_failures++, 30)));
        return TimeSpan.FromMilliseconds((full / 2) + (random.NextDouble() * full / 2));
    }

    public void Reset() => _failures = 0;
}
