using System.Collections.Concurrent;
using EdgeMesh.Balancing;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Forwarding;

/// <summary>What all loops of one forwarder share.</summary>
internal sealed class ForwarderContext(ForwarderOptions options, Func<RouteTable> routes, IHeartbeat? heartbeat, ILogger logger, TimeProvider time)
{
    /// <summary>Clients remembered per service port that asks for affinity.</summary>
    private const int AffinityCapacity = 65_536;

    private readonly ConcurrentDictionary<ServicePortName, AffinityTable> _affinities = new();

    // Set once all loops exist, before the first runs.
    private ForwardingLoop[] _loops = [];

    public ForwarderOptions Options { get; } = options;

    public Func<RouteTable> Routes { get; } = routes;

    public ILogger Logger { get; } = logger;

    public SetAsidePolicy SetAside { get; } = new();

    public Pulse Pulse { get; } = new(heartbeat, logger);

    public IReadOnlyList<ForwardingLoop> Loops => _loops;

    public void SetLoops(ForwardingLoop[] loops) => _loops = loops;

    public long NowMilliseconds() => time.GetTimestamp() / (time.TimestampFrequency / 1_000);

    public long NowMicroseconds() => time.GetTimestamp() / (time.TimestampFrequency / 1_000_000);

    public AffinityTable AffinityOf(ServicePortName service) => _affinities.GetOrAdd(service, static _ => new AffinityTable(AffinityCapacity));

    /// <summary>Forgets clients of services and endpoints that are gone. For one loop, now and then.</summary>
    public void SweepAffinities(long now)
    {
        if (_affinities.IsEmpty)
            return;
        var wanted = new Dictionary<ServicePortName, Route>();
        foreach (var route in Routes().Routes.Values)
        {
            if (route.ClientIPAffinity is not null)
                wanted.TryAdd(route.Service, route);
        }

        foreach (var (service, table) in _affinities)
        {
            if (wanted.TryGetValue(service, out var route))
                table.Retain(endpoint => route.Endpoints.Contains(endpoint), (long)route.ClientIPAffinity!.Value.TotalMilliseconds, now);
            else
                _affinities.TryRemove(service, out _);
        }
    }

    public bool HasRoomForConnection()
    {
        long active = 0;
        foreach (var loop in _loops)
            active += Volatile.Read(ref loop.Counters.Active);
        return active < Options.MaxConnections;
    }

    public bool HasRoomForDial()
    {
        long pending = 0;
        foreach (var loop in _loops)
            pending += Volatile.Read(ref loop.Counters.PendingDials);
        return pending < Options.MaxPendingDials;
    }
}
