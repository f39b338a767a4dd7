using System.Collections.Frozen;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Planning;

namespace EdgeMesh.Reconciling;

/// <summary>What connection tracking has to forget after a change.</summary>
/// <param name="Udp">Null: no UDP entry.</param>
/// <param name="UnansweredTcp">Service addresses whose connections that nobody has answered yet began on a way that this host may
/// not carry: the client's next attempt shall take the way that it does. A connection that was answered works, and stays.</param>
public sealed record StaleFlows(UdpStaleness? Udp, FrozenSet<InetEndpoint> UnansweredTcp)
{
    public int Count => (Udp?.Count ?? 0) + UnansweredTcp.Count;

    /// <param name="hostChanged">The kernel of this host carries other connections than before, or with other rules.</param>
    /// <returns>Null: nothing.</returns>
    public static StaleFlows? Between(ForwardingPlan before, ForwardingPlan after, bool hostChanged)
    {
        ArgumentNullException.ThrowIfNull(before);
        ArgumentNullException.ThrowIfNull(after);
        var udp = UdpStaleness.Between(before, after);
        var tcp = hostChanged
            ? before.Services.Concat(after.Services).SelectMany(service => service.Ports).Where(port => port.CaughtAt.Protocol == TransportProtocol.Tcp && port.Path != ForwardingPath.NotCaught)
                .Select(port => port.CaughtAt.Endpoint).ToFrozenSet()
            : [];
        return udp is null && tcp.Count == 0 ? null : new StaleFlows(udp, tcp);
    }
}
