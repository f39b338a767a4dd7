using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;

namespace EdgeMesh.Catalog;

/// <summary>What the cluster lists as running on this node: the only addresses that are dialled on behalf of a peer.
/// Services that this agent leaves alone count too, because the peer may handle them.</summary>
internal sealed class LocalEndpoints
{
    // Two services may select one pod.
    private readonly Dictionary<(InetEndpoint, TransportProtocol), int> _listed = [];

    public ImmutableHashSet<(InetEndpoint Endpoint, TransportProtocol Protocol)> Set { get; private set; } = [];

    /// <returns>False where the set is as before.</returns>
    public bool Replace(
        ImmutableArray<(InetEndpoint Endpoint, TransportProtocol Protocol)> before,
        ImmutableArray<(InetEndpoint Endpoint, TransportProtocol Protocol)> now)
    {
        if (before.AsSpan().SequenceEqual(now.AsSpan()))
            return false;
        var set = Set.ToBuilder();
        foreach (var endpoint in now)
        {
            if (++CollectionsMarshal.GetValueRefOrAddDefault(_listed, endpoint, out _) == 1)
                set.Add(endpoint);
        }

        foreach (var endpoint in before)
        {
            ref var count = ref CollectionsMarshal.GetValueRefOrNullRef(_listed, endpoint);
            if (--count > 0)
                continue;
            _listed.Remove(endpoint);
            set.Remove(endpoint);
        }

        var result = set.ToImmutable();
        if (ReferenceEquals(result, Set))
            return false;
        Set = result;
        return true;
    }

    /// <summary>Those of one service, each once, in the order of its objects.</summary>
    public static ImmutableArray<(InetEndpoint Endpoint, TransportProtocol Protocol)> Of(JoinedService joined, string node)
    {
        if (joined.Service is null)
            return [];
        var found = ImmutableArray.CreateBuilder<(InetEndpoint, TransportProtocol)>();
        foreach (var slice in joined.Slices)
        {
            foreach (var endpoint in slice.Endpoints)
            {
                // A pod that terminates may still serve, and is dialled by peers that have no other.
                if (endpoint.NodeName == node && !endpoint.Addresses.IsEmpty
                    && ((endpoint.Conditions?.Ready ?? true) || (endpoint.Conditions?.Serving ?? true)))
                {
                    Add(found, endpoint.Addresses[0], slice.Ports);
                }
            }
        }

        if (joined.Slices.Count == 0 && joined.Endpoints is { } endpoints)
        {
            foreach (var subset in endpoints.Subsets)
            {
                foreach (var entry in subset.Addresses)
                {
                    if (entry.NodeName == node)
                        Add(found, entry.Ip, subset.Ports);
                }
            }
        }

        return found.DrainToImmutable();
    }

    private static void Add(
        ImmutableArray<(InetEndpoint, TransportProtocol)>.Builder found, string text, ImmutableArray<EndpointPort> ports)
    {
        if (!InetAddress.TryParse(text, out var address))
            return;
        foreach (var port in ports)
        {
            if (port.Port is not (> 0 and <= ushort.MaxValue) || Protocol(port.Protocol) is not { } protocol)
                continue;
            var endpoint = (new InetEndpoint(address, (ushort)port.Port), protocol);
            if (!found.Contains(endpoint))
                found.Add(endpoint);
        }
    }

    private static TransportProtocol? Protocol(string? text) => text switch
    {
        null or "" or "TCP" => TransportProtocol.Tcp,
        "UDP" => TransportProtocol.Udp,
        _ => null,
    };
}
