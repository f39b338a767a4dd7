using System.Collections.Immutable;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
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

    /// <summary>For each endpoint the node through which it is reached, null for those that are dialled directly; default
    /// where there is no other kind.</summary>
    /// <param name="endpoints">Those of one address family, in the order of the port's.</param>
    public static ImmutableArray<string?> Nodes(CatalogPort port, ImmutableArray<InetEndpoint> endpoints, Reachability? reachability)
    {
        if (reachability is null)
            return default;
        string?[]? nodes = null;
        var place = 0;
        foreach (ref readonly var endpoint in port.Endpoints.AsSpan())
        {
            if (place == endpoints.Length || endpoint.Address != endpoints[place])
                continue;
            if (IsTunnelled(endpoint, reachability))
                (nodes ??= new string?[endpoints.Length])[place] = endpoint.Node;
            place++;
        }

        return nodes is null ? default : ImmutableArray.Create(nodes);
    }

    /// <summary><c>2 of 3 endpoints on edge-b through the tunnel</c>; null where none is.</summary>
    public static string? InWords(ImmutableArray<string?> nodes)
    {
        if (nodes.IsDefault)
            return null;
        var names = nodes.OfType<string>().Distinct(StringComparer.Ordinal).ToList();
        var shown = string.Join(", ", names.Take(NodesNamed));
        if (names.Count > NodesNamed)
            shown += $" and {names.Count - NodesNamed} more nodes";
        return $"{nodes.Count(node => node is not null)} of {nodes.Length} endpoints on {shown} through the tunnel";
    }
}
