using System.Collections.Immutable;
using EdgeMesh.Catalog;

namespace EdgeMesh.Forwarding;

/// <summary>Why a client was reset without (further) trying an endpoint. Names become metric labels.</summary>
public enum RefusalReason
{
    /// <summary>No rule redirected it: it came to the listener itself, or conntrack does not know it.</summary>
    NotRedirected,

    /// <summary>It was going to an address that no route has.</summary>
    NoRoute,

    NoEndpoints,

    /// <summary>Every attempt to reach an endpoint failed.</summary>
    AllEndpointsFailed,

    ConnectionLimit,

    DialLimit,

    DescriptorLimit,
}

/// <summary>Why one attempt to reach an endpoint failed. Names become metric labels.</summary>
public enum DialFailure
{
    Timeout,
    Refused,
    Unreachable,
    NoLocalPort,
    NoDescriptor,
    NotPermitted,
    Other,
}

/// <summary>Sums over all loops since the start. Each number is exact; together they are not one instant.</summary>
public sealed record ForwarderStatistics
{
    public required long Accepted { get; init; }

    public required long Active { get; init; }

    /// <summary>Of <see cref="Active"/>, those that the tunnel carries.</summary>
    public required long Carried { get; init; }

    public required long PendingDials { get; init; }

    /// <summary>From clients to endpoints, and back.</summary>
    public required long BytesToEndpoints { get; init; }

    public required long BytesToClients { get; init; }

    /// <summary>Indexed by <see cref="RefusalReason"/>.</summary>
    public required ImmutableArray<long> Refused { get; init; }

    public required long DialAttempts { get; init; }

    /// <summary>Indexed by <see cref="DialFailure"/>.</summary>
    public required ImmutableArray<long> DialFailures { get; init; }

    public required DialLatency DialLatency { get; init; }

    /// <summary>Connections that were reset by a fault of this program; each is in the log.</summary>
    public required long Faults { get; init; }

    public required long Heartbeats { get; init; }

    public required long HeartbeatFailures { get; init; }

    /// <summary>Beats left out because a loop had not come round for too long.</summary>
    public required long HeartbeatsWithheld { get; init; }

    /// <summary>Connections that were closed for others: their client or service had more than its share of a limit.</summary>
    public required long GaveWay { get; init; }

    public required int PipesLent { get; init; }
}

/// <summary>How long successful dials took: counts per bucket (not cumulative), the last without an upper bound.</summary>
public sealed record DialLatency
{
    /// <summary>Upper bounds in seconds.</summary>
    public static ImmutableArray<double> UpperBounds { get; } = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

    public required ImmutableArray<long> Counts { get; init; }

    public required double SumSeconds { get; init; }
}

/// <summary>What one service port has had since its first connection.</summary>
public sealed record ServiceStatistics(ServicePortName Service, long Connections, long Active, long Failed, long BytesToEndpoints, long BytesToClients);
