using System.Collections.Immutable;
using EdgeMesh.Catalog;

namespace EdgeMesh.Forwarding.Udp;

/// <summary>Why datagrams were dropped. Names become metric labels.</summary>
public enum UdpDropReason
{
    /// <summary>No rule redirected it: it was sent to the listener itself, or conntrack does not know it.</summary>
    NotRedirected,

    /// <summary>It was sent to an address that no route has.</summary>
    NoRoute,

    NoEndpoints,

    /// <summary>No endpoint took it.</summary>
    AllEndpointsFailed,

    /// <summary>No descriptor was free for a new flow.</summary>
    DescriptorLimit,

    /// <summary>Conntrack could not be asked.</summary>
    LookupFailed,

    /// <summary>It would have begun a new flow while this process stops.</summary>
    Stopping,

    /// <summary>A kernel buffer was full, or the kernel refused this datagram.</summary>
    NotSent,
}

/// <summary>Why a flow was closed. Names become metric labels.</summary>
public enum UdpCloseReason
{
    Idle,

    /// <summary>The table was full and this flow was idle longest.</summary>
    Evicted,

    /// <summary>Its service or its endpoint is gone.</summary>
    RouteChanged,

    /// <summary>The client's port now belongs to another flow.</summary>
    Reused,

    Failed,

    Stopped,

    /// <summary>The tunnel let go of it: the endpoint's node refused, the session was lost, or nothing came for a while.</summary>
    TunnelEnded,
}

/// <summary>Sums over all loops since the start. Each number is exact; together they are not one instant.</summary>
public sealed record UdpStatistics
{
    public required long FlowsOpened { get; init; }

    public required long FlowsActive { get; init; }

    /// <summary>Indexed by <see cref="UdpCloseReason"/>.</summary>
    public required ImmutableArray<long> FlowsClosed { get; init; }

    public required long DatagramsToEndpoints { get; init; }

    public required long DatagramsToClients { get; init; }

    public required long BytesToEndpoints { get; init; }

    public required long BytesToClients { get; init; }

    /// <summary>Datagrams, indexed by <see cref="UdpDropReason"/>.</summary>
    public required ImmutableArray<long> Dropped { get; init; }

    /// <summary>Times that an endpoint refused or could not be reached.</summary>
    public required long EndpointFailures { get; init; }

    /// <summary>Flows that went on with another endpoint.</summary>
    public required long FlowsMoved { get; init; }

    /// <summary>Flows that were closed by a fault of this program; each is in the log.</summary>
    public required long Faults { get; init; }
}

/// <summary>What one UDP service port has had since its first flow.</summary>
/// <param name="Failed">Times that an endpoint refused or could not be reached.</param>
public sealed record UdpServiceStatistics(
    ServicePortName Service, long Flows, long Active, long Failed, long BytesToEndpoints, long BytesToClients);

/// <summary>Written by one loop thread, read by anybody.</summary>
internal sealed class UdpCounters
{
    internal readonly long[] Dropped = new long[Enum.GetValues<UdpDropReason>().Length];
    internal readonly long[] Closed = new long[Enum.GetValues<UdpCloseReason>().Length];
    internal long Opened;
    internal long Active;
    internal long DatagramsToEndpoints;
    internal long DatagramsToClients;
    internal long BytesToEndpoints;
    internal long BytesToClients;
    internal long EndpointFailures;
    internal long Moved;
    internal long Faults;

    /// <summary>For the one writer: other threads see whole numbers, and no locked instruction is needed.</summary>
    internal static void Add(ref long counter, long amount) => Volatile.Write(ref counter, counter + amount);

    internal static UdpStatistics Sum(IReadOnlyCollection<UdpCounters> loops) => new()
    {
        FlowsOpened = loops.Sum(loop => Volatile.Read(ref loop.Opened)),
        FlowsActive = loops.Sum(loop => Volatile.Read(ref loop.Active)),
        FlowsClosed = SumEach(loops, loop => loop.Closed),
        DatagramsToEndpoints = loops.Sum(loop => Volatile.Read(ref loop.DatagramsToEndpoints)),
        DatagramsToClients = loops.Sum(loop => Volatile.Read(ref loop.DatagramsToClients)),
        BytesToEndpoints = loops.Sum(loop => Volatile.Read(ref loop.BytesToEndpoints)),
        BytesToClients = loops.Sum(loop => Volatile.Read(ref loop.BytesToClients)),
        Dropped = SumEach(loops, loop => loop.Dropped),
        EndpointFailures = loops.Sum(loop => Volatile.Read(ref loop.EndpointFailures)),
        FlowsMoved = loops.Sum(loop => Volatile.Read(ref loop.Moved)),
        Faults = loops.Sum(loop => Volatile.Read(ref loop.Faults)),
    };

    private static ImmutableArray<long> SumEach(IReadOnlyCollection<UdpCounters> loops, Func<UdpCounters, long[]> which) =>
        [.. Enumerable.Range(0, which(loops.First()).Length).Select(i => loops.Sum(loop => Volatile.Read(ref which(loop)[i])))];
}
