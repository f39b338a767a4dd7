using EdgeMesh.Balancing;
using EdgeMesh.Catalog;
using EdgeMesh.Fairness;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Forwarding;

/// <summary>What one loop has seen. Its thread alone writes, without atomics; readers use <see cref="Volatile"/> and sum.</summary>
internal sealed class LoopCounters
{
    public readonly long[] Refused = new long[Enum.GetValues<RefusalReason>().Length];
    public readonly long[] DialFailures = new long[Enum.GetValues<DialFailure>().Length];
    public readonly long[] DialLatency = new long[Forwarding.DialLatency.UpperBounds.Length + 1];

    public long Accepted;
    public long Active;
    public long PendingDials;
    public long BytesToEndpoints;
    public long BytesToClients;
    public long DialAttempts;
    public long DialMicroseconds;
    public long Faults;
    public long PipesLent;
    public long GaveWay;

    private static readonly long[] UpperBoundsMicroseconds = [.. Forwarding.DialLatency.UpperBounds.Select(bound => (long)(bound * 1_000_000))];

    public void Dialled(long microseconds)
    {
        var bucket = 0;
        while (bucket < UpperBoundsMicroseconds.Length && microseconds > UpperBoundsMicroseconds[bucket])
            bucket++;
        DialLatency[bucket]++;
        DialMicroseconds += microseconds;
    }
}

/// <summary>One loop's view of one service port. It outlives route swaps as long as the service exists.</summary>
internal sealed class LoopService(ServicePortName name, ServiceBalancer balancer)
{
    public readonly ServicePortName Name = name;
    public readonly ServiceBalancer Balancer = balancer;

    /// <summary>Of the loop's connections.</summary>
    public readonly Share Share = new(isService: true);

    /// <summary>Under which the service was last found; tells whether it still exists.</summary>
    public TransportAddress LastKey;

    /// <summary>1 while an endpoint behind the tunnel has failed since the last one answered. Set by any thread.</summary>
    public int TunnelFailures;

    // Written by the loop alone, read with Volatile.
    public long Connections;
    public long Active;
    public long Failed;
    public long BytesToEndpoints;
    public long BytesToClients;
}
