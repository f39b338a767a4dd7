using System.Collections.Frozen;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Planning;

namespace EdgeMesh.Reconciling;

/// <summary>Which conntrack entries a change of the plan made stale. conntrack pins a UDP flow to its first endpoint for as
/// long as datagrams flow, so without this a client keeps talking to an endpoint that is gone. TCP is never touched:
/// its ends notice by themselves, and an established connection may well outlive its endpoint's readiness.</summary>
public sealed class UdpStaleness
{
    /// <summary>Per UDP service address: the reply sources that are still right. Empty set: none is.</summary>
    private readonly FrozenDictionary<InetEndpoint, FrozenSet<InetEndpoint>> _current;

    private UdpStaleness(Dictionary<InetEndpoint, FrozenSet<InetEndpoint>> current) => _current = current.ToFrozenDictionary();

    /// <summary>Number of service addresses whose flows have to be looked at.</summary>
    public int Count => _current.Count;

    /// <returns>Null when no UDP service address changed: then conntrack need not be read at all.</returns>
    public static UdpStaleness? Between(ForwardingPlan before, ForwardingPlan after)
    {
        ArgumentNullException.ThrowIfNull(before);
        ArgumentNullException.ThrowIfNull(after);
        var changes = PlanChanges.Between(before.Services, after.Services);
        var old = CaughtUdp(changes.Before);
        var changed = new Dictionary<InetEndpoint, FrozenSet<InetEndpoint>>();
        foreach (var (address, port) in CaughtUdp(changes.After))
        {
            if (!old.Remove(address, out var known) || !ReferenceEquals(known, port))
                changed[address] = ReplySources(port, after);
        }

        foreach (var (address, _) in old)
            changed[address] = [];
        return changed.Count == 0 ? null : new UdpStaleness(changed);
    }

    /// <summary>For when the rules that need this process are taken out: flows that conntrack still sends to it would
    /// meet nobody.</summary>
    /// <returns>Null when no UDP service address needs this process.</returns>
    public static UdpStaleness? WithoutListeners(ForwardingPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        var changed = new Dictionary<InetEndpoint, FrozenSet<InetEndpoint>>();
        foreach (var (address, port) in CaughtUdp(plan.Services))
        {
            if (port.Path != ForwardingPath.Kernel)
                changed[address] = [];
        }

        return changed.Count == 0 ? null : new UdpStaleness(changed);
    }

    /// <param name="originalDestination">What the client sent to.</param>
    /// <param name="replySource">Who answers it.</param>
    public bool IsStale(InetEndpoint originalDestination, InetEndpoint replySource) =>
        _current.TryGetValue(originalDestination, out var right) && !right.Contains(replySource);

    private static Dictionary<InetEndpoint, PlannedPort> CaughtUdp(IEnumerable<PlannedService> services)
    {
        var ports = new Dictionary<InetEndpoint, PlannedPort>();
        foreach (var service in services)
        {
            foreach (var port in service.Ports)
            {
                if (port.CaughtAt.Protocol == TransportProtocol.Udp && port.Path != ForwardingPath.NotCaught)
                    ports[port.CaughtAt.Endpoint] = port;
            }
        }

        return ports;
    }

    private static FrozenSet<InetEndpoint> ReplySources(PlannedPort port, ForwardingPlan plan)
    {
        if (port.Path == ForwardingPath.Refused)
            return [];
        var listener = plan.Portals.First(p => p.Family == port.Family).Listener;
        if (port.Path != ForwardingPath.Kernel)
            return [listener];
        // With a route of its own, some clients of the kernel path go to the listener.
        var endpoints = port.Port.Endpoints.Select(e => e.Address);
        return (port.Route is null ? endpoints : endpoints.Append(listener)).ToFrozenSet();
    }
}
