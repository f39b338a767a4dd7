using System.Collections.Frozen;
using System.Collections.Immutable;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Planning;

/// <summary>Which endpoints are reached directly and which through the tunnel: this node's and those that nobody places on a
/// node directly, another node's only where that node was met at an address of the endpoint's range.</summary>
public static class EndpointWays
{
    private const int NodesNamed = 3;

    /// <param name="reachability">Null: there is no tunnel, and every endpoint is dialled directly.</param>
    public static bool IsTunnelled(in ServiceEndpoint endpoint, Reachability? reachability) =>
        reachability is not null
        && endpoint is { IsLocal: false, Node: { } node }
        && !reachability.IsDirect(node, endpoint.Address.Address);

    /// <summary>Whether two views send every endpoint of the port the same way.</summary>
    public static bool AreSame(CatalogPort port, Reachability? before, Reachability? now)
    {
        if (ReferenceEquals(before, now))
            return true;
        foreach (ref readonly var endpoint in port.Endpoints.AsSpan())
        {
            if (IsTunnelled(endpoint, before) != IsTunnelled(endpoint, now))
                return false;
        }

        return true;
    }

    public static bool AreSame(CatalogService service, Reachability? before, Reachability? now)
    {
        foreach (var port in service.Ports)
        {
            if (!AreSame(port, before, now))
                return false;
        }

        return true;
    }

    /// <summary>The endpoints of one family that connections are brought to, and those of them that go through the tunnel. What
    /// is dialled directly is told apart by its address alone: two nodes with one address are one place then, whichever
    /// of them answers.</summary>
    public static (ImmutableArray<ServiceEndpoint> Endpoints, FrozenSet<ServiceEndpoint> Tunnelled) Of(
        CatalogPort port, bool ipv6, Reachability? reachability)
    {
        var endpoints = ImmutableArray.CreateBuilder<ServiceEndpoint>(port.Endpoints.Length);
        List<ServiceEndpoint>? tunnelled = null;
        HashSet<InetEndpoint>? dialled = null;
        foreach (ref readonly var endpoint in port.Endpoints.AsSpan())
        {
            if (endpoint.Address.Address.IsIPv6 != ipv6)
                continue;
            if (IsTunnelled(endpoint, reachability))
                (tunnelled ??= []).Add(endpoint);
            else if (!(dialled ??= new(port.Endpoints.Length)).Add(endpoint.Address))
                continue;
            endpoints.Add(endpoint);
        }

        // Most services have one family and no two nodes with one address: nothing to copy then.
        return (endpoints.Count == port.Endpoints.Length ? port.Endpoints : endpoints.DrainToImmutable(), tunnelled?.ToFrozenSet() ?? []);
    }

    /// <summary><c>2 of 3 endpoints on edge-b through the tunnel</c>; null where none is.</summary>
    public static string? InWords(ImmutableArray<ServiceEndpoint> endpoints, FrozenSet<ServiceEndpoint> tunnelled)
    {
        if (tunnelled.Count == 0)
            return null;
        var names = endpoints.Where(tunnelled.Contains).Select(endpoint => endpoint.Node).Distinct(StringComparer.Ordinal).ToList();
        var shown = string.Join(", ", names.Take(NodesNamed));
        if (names.Count > NodesNamed)
            shown += $" and {names.Count - NodesNamed} more nodes";
        return $"{tunnelled.Count} of {endpoints.Length} endpoints on {shown} through the tunnel";
    }
}
