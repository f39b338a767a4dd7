using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;

namespace EdgeMesh.Catalog;

/// <summary>Chooses the usable endpoints of one service port as kube-proxy does, each address family by itself:
/// conditions, then hints, then traffic policy.</summary>
internal static class EndpointSelection
{
    private readonly record struct Candidate(
        InetEndpoint Address, int Order, string? Node, bool Ready, bool Serving, bool Terminating, EndpointHints? Hints)
    {
        public bool ServesItsLast => Serving && Terminating;
    }

    public readonly record struct Selected(ImmutableArray<ServiceEndpoint> Endpoints, EndpointChoice Choice);

    public static Selected Select(
        ServiceSpec spec,
        ServicePort port,
        List<EndpointSlice> slices,
        Endpoints? endpoints,
        CatalogPolicy policy,
        string? zone)
    {
        // v1 Endpoints speak only where there is no slice: both describe the same pods.
        var candidates = new List<Candidate>();
        if (slices.Count > 0)
            AddFromSlices(candidates, port, slices);
        else if (endpoints is not null)
            AddFromEndpoints(candidates, port, endpoints);
        KeepEachAddressOnce(candidates);

        var local = string.Equals(spec.InternalTrafficPolicy, "Local", StringComparison.Ordinal);
        var all = CollectionsMarshal.AsSpan(candidates);
        var split = 0;
        while (split < all.Length && !all[split].Address.Address.IsIPv6)
            split++;

        var selected = ImmutableArray.CreateBuilder<ServiceEndpoint>(all.Length);
        var choice4 = Add(selected, all[..split], local, policy.NodeName, zone);
        var choice6 = Add(selected, all[split..], local, policy.NodeName, zone);
        return new Selected(selected.DrainToImmutable(), choice4 == EndpointChoice.None ? choice6 : choice4);
    }

    private static EndpointChoice Add(
        ImmutableArray<ServiceEndpoint>.Builder selected, ReadOnlySpan<Candidate> family, bool local, string node, string? zone)
    {
        // Hints do not apply to Local: this node's endpoints are as near as it gets.
        var choice = local ? EndpointChoice.LocalOnly : ByHints(family, node, zone);
        var before = selected.Count;
        foreach (ref readonly var candidate in family)
        {
            if (candidate.Ready && Matches(candidate, choice, node, zone))
                selected.Add(Endpoint(candidate, node));
        }

        if (selected.Count > before)
            return choice;

        foreach (ref readonly var candidate in family)
        {
            if (candidate.ServesItsLast && (!local || candidate.Node == node))
                selected.Add(Endpoint(candidate, node));
        }

        if (local)
            return EndpointChoice.LocalOnly;
        return selected.Count > before ? EndpointChoice.ServingWhileTerminating : EndpointChoice.None;
    }

    private static ServiceEndpoint Endpoint(in Candidate candidate, string node) =>
        new(candidate.Address, candidate.Node, candidate.Node == node);

    private static bool Matches(in Candidate candidate, EndpointChoice choice, string node, string? zone) => choice switch
    {
        EndpointChoice.LocalOnly => candidate.Node == node,
        EndpointChoice.NodeHints => Names(candidate.Hints!.ForNodes, node),
        EndpointChoice.ZoneHints => Names(candidate.Hints!.ForZones, zone),
        _ => true,
    };

    /// <summary>All or nothing: one ready endpoint without hints, or hints that never name this node, and every endpoint is used.</summary>
    private static EndpointChoice ByHints(ReadOnlySpan<Candidate> family, string node, string? zone)
    {
        bool everyNode = true, everyZone = zone is not null, myNode = false, myZone = false;
        foreach (ref readonly var candidate in family)
        {
            if (!candidate.Ready)
                continue;
            everyNode &= candidate.Hints is { ForNodes.IsDefaultOrEmpty: false };
            everyZone &= candidate.Hints is { ForZones.IsDefaultOrEmpty: false };
            if (!everyNode && !everyZone)
                break;
            myNode |= everyNode && Names(candidate.Hints!.ForNodes, node);
            myZone |= everyZone && Names(candidate.Hints!.ForZones, zone);
        }

        return everyNode && myNode ? EndpointChoice.NodeHints
            : everyZone && myZone ? EndpointChoice.ZoneHints
            : EndpointChoice.AllReady;
    }

    private static bool Names(ImmutableArray<HintName> hints, string? name)
    {
        foreach (var hint in hints)
        {
            if (hint.Name == name)
                return true;
        }

        return false;
    }

    private static void AddFromSlices(List<Candidate> candidates, ServicePort wanted, List<EndpointSlice> slices)
    {
        foreach (var slice in slices)
        {
            if (slice.AddressType is not ("IPv4" or "IPv6"))
                continue;
            foreach (var port in slice.Ports)
            {
                if (!Serves(port, wanted, out var number))
                    continue;
                foreach (var endpoint in slice.Endpoints)
                {
                    // Consumers look at the first address only (discovery/v1, Endpoint.addresses).
                    if (endpoint.Addresses.IsEmpty || !InetAddress.TryParse(endpoint.Addresses[0], out var address))
                        continue;
                    if (address.IsIPv6 != (slice.AddressType == "IPv6"))
                        continue;
                    candidates.Add(new Candidate(
                        new InetEndpoint(address, number),
                        candidates.Count,
                        endpoint.NodeName,
                        endpoint.Conditions?.Ready ?? true,
                        endpoint.Conditions?.Serving ?? true,
                        endpoint.Conditions?.Terminating ?? false,
                        endpoint.Hints));
                }
            }
        }
    }

    private static void AddFromEndpoints(List<Candidate> candidates, ServicePort wanted, Endpoints endpoints)
    {
        foreach (var subset in endpoints.Subsets)
        {
            foreach (var port in subset.Ports)
            {
                if (!Serves(port, wanted, out var number))
                    continue;
                foreach (var entry in subset.Addresses)
                {
                    if (InetAddress.TryParse(entry.Ip, out var address))
                    {
                        candidates.Add(new Candidate(
                            new InetEndpoint(address, number), candidates.Count, entry.NodeName, Ready: true, Serving: true, Terminating: false, Hints: null));
                    }
                }
            }
        }
    }

    /// <summary>The same ip:port may stand in two slices while a pod moves between them: the one that lives wins, else
    /// the one in the first slice by name.</summary>
    private static void KeepEachAddressOnce(List<Candidate> candidates)
    {
        candidates.Sort(ByAddress);
        var kept = 0;
        for (var i = 0; i < candidates.Count; i++)
        {
            if (kept == 0 || candidates[kept - 1].Address != candidates[i].Address)
                candidates[kept++] = candidates[i];
        }

        candidates.RemoveRange(kept, candidates.Count - kept);
    }

    private static int ByAddress(Candidate a, Candidate b)
    {
        var order = a.Address.Address.IsIPv6.CompareTo(b.Address.Address.IsIPv6);
        if (order == 0)
            order = a.Address.Address.Bits.CompareTo(b.Address.Address.Bits);
        if (order == 0)
            order = a.Address.Port.CompareTo(b.Address.Port);
        if (order == 0)
            order = a.Terminating.CompareTo(b.Terminating);
        return order != 0 ? order : a.Order.CompareTo(b.Order);
    }

    private static bool Serves(EndpointPort port, ServicePort wanted, out ushort number)
    {
        number = port.Port is > 0 and <= ushort.MaxValue ? (ushort)port.Port : (ushort)0;
        return number != 0
            && string.Equals(port.Name ?? "", wanted.Name ?? "", StringComparison.Ordinal)
            && string.Equals(Protocol(port.Protocol), Protocol(wanted.Protocol), StringComparison.Ordinal);
    }

    private static string Protocol(string? text) => string.IsNullOrEmpty(text) ? "TCP" : text;
}
