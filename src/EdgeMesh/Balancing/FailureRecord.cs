namespace EdgeMesh.Balancing;

/// <summary>When a service's failing endpoints are left out, and for how long.</summary>
public sealed record SetAsidePolicy
{
    /// <summary>Failures in a row until an endpoint is set aside.</summary>
    public int Failures { get; init; } = 3;

    /// <summary>The first time out; it doubles with each further failure after it.</summary>
    public TimeSpan First { get; init; } = TimeSpan.FromSeconds(5);

    public TimeSpan Longest { get; init; } = TimeSpan.FromMinutes(2);

    internal long MillisecondsFor(int failuresInARow)
    {
        var doublings = Math.Clamp(failuresInARow - Failures, 0, 20);
        return (long)Math.Min(First.TotalMilliseconds * (1L << doublings), Longest.TotalMilliseconds);
    }
}

internal struct FailureRecord
{
    public int InARow;

    /// <summary>On the balancer's clock, in milliseconds; in the past: in use again, on probation.</summary>
    public long SetAsideUntil;
}
