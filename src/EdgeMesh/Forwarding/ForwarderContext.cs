using EdgeMesh.Balancing;
using EdgeMesh.Linux;
using EdgeMesh.Supervision;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Forwarding;

/// <summary>What all loops of one forwarder share.</summary>
internal sealed class ForwarderContext(ForwarderOptions options, Func<RouteTable> routes, IHeartbeat? heartbeat, ILogger logger, TimeProvider time, Supervisor? supervisor = null)
{
    // Set once all loops exist, before the first runs.
    private ForwardingLoop[] _loops = [];

    public ForwarderOptions Options { get; } = options;

    public Func<RouteTable> Routes { get; } = routes;

    public ILogger Logger { get; } = logger;

    /// <summary>Counts what a loop survives; null: nobody does.</summary>
    public Supervisor? Supervisor { get; } = supervisor;

    public AffinityTables Affinities { get; } = new();

    public CarriedConnections Carried { get; } = new();

    public SetAsidePolicy SetAside { get; } = new();

    public Pulse Pulse { get; } = new(heartbeat, logger);

    public IReadOnlyList<ForwardingLoop> Loops => _loops;

    public void SetLoops(ForwardingLoop[] loops) => _loops = loops;

    public long NowMilliseconds() => time.GetTimestamp() / (time.TimestampFrequency / 1_000);

    public long NowMicroseconds() => time.GetTimestamp() / (time.TimestampFrequency / 1_000_000);

    /// <summary>Connections of all loops and in the tunnel; the loops' numbers are read as they are at the moment.</summary>
    public long ActiveConnections()
    {
        var active = Carried.Active;
        foreach (var loop in _loops)
            active += Volatile.Read(ref loop.Counters.Active);
        return active;
    }

    public long PendingDials()
    {
        long pending = 0;
        foreach (var loop in _loops)
            pending += Volatile.Read(ref loop.Counters.PendingDials);
        return pending;
    }
}
