using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;

namespace EdgeMesh.Catalog;

/// <summary>Chooses the usable endpoints of one service port as kube-proxy does: conditions, then hints, then traffic policy.</summary>
internal static class EndpointSelection
{
    private sealed record Candidate(
        InetEndpoint Address, string? Node, bool Ready, bool Serving, bool Terminating, EndpointHints? Hints);

    public readonly record struct Selected(ImmutableArray<ServiceEndpoint> Endpoints, EndpointChoice Choice);

    public static Selected Select(
        ServiceSpec spec,
        ServicePort port,
        IReadOnlyList<EndpointSlice> slices,
        Endpoints? endpoints,
        CatalogPolicy policy,
        string? zone)
    {
        // v1 Endpoints speak only where there is no slice: both describe the same pods.
        var candidates = slices.Count > 0 ? FromSlices(port, slices) : FromEndpoints(port, endpoints);
        var usable = candidates.Values.Where(c => c.Ready).ToList();
        var choice = EndpointChoice.AllReady;
        if (usable.Count == 0)
        {
            usable = candidates.Values.Where(c => c.Serving && c.Terminating).ToList();
            choice = EndpointChoice.ServingWhileTerminating;
        }
        else
        {
            (usable, choice) = ByHints(usable, policy.NodeName, zone);
        }

        if (string.Equals(spec.InternalTrafficPolicy, "Local", StringComparison.Ordinal))
        {
            // Hints do not apply to Local: this node's endpoints are as near as it gets.
            usable = candidates.Values.Where(c => IsLocal(c, policy) && c.Ready).ToList();
            if (usable.Count == 0)
                usable = candidates.Values.Where(c => IsLocal(c, policy) && c.Serving && c.Terminating).ToList();
            choice = EndpointChoice.LocalOnly;
        }

        if (usable.Count == 0)
            return new Selected([], choice == EndpointChoice.LocalOnly ? choice : EndpointChoice.None);

        usable.Sort(ByAddress);
        return new Selected(
            [.. usable.Select(c => new ServiceEndpoint(c.Address, c.Node, IsLocal(c, policy)))], choice);
    }

    private static bool IsLocal(Candidate candidate, CatalogPolicy policy) =>
        candidate.Node is not null && candidate.Node == policy.NodeName;

    private static int ByAddress(Candidate a, Candidate b)
    {
        var family = a.Address.Address.IsIPv6.CompareTo(b.Address.Address.IsIPv6);
        if (family != 0)
            return family;
        var bits = a.Address.Address.Bits.CompareTo(b.Address.Address.Bits);
        return bits != 0 ? bits : a.Address.Port.CompareTo(b.Address.Port);
    }

    private static (List<Candidate> Usable, EndpointChoice Choice) ByHints(List<Candidate> ready, string node, string? zone)
    {
        if (ready.All(c => c.Hints is { ForNodes.IsDefaultOrEmpty: false }))
        {
            var mine = ready.Where(c => c.Hints!.ForNodes.Any(h => h.Name == node)).ToList();
            if (mine.Count > 0)
                return (mine, EndpointChoice.NodeHints);
        }

        if (zone is not null && ready.All(c => c.Hints is { ForZones.IsDefaultOrEmpty: false }))
        {
            var mine = ready.Where(c => c.Hints!.ForZones.Any(h => h.Name == zone)).ToList();
            if (mine.Count > 0)
                return (mine, EndpointChoice.ZoneHints);
        }

        return (ready, EndpointChoice.AllReady);
    }

    private static Dictionary<InetEndpoint, Candidate> FromSlices(ServicePort port, IReadOnlyList<EndpointSlice> slices)
    {
        var found = new Dictionary<InetEndpoint, Candidate>();
        foreach (var slice in slices)
        {
            if (slice.AddressType is not ("IPv4" or "IPv6"))
                continue;
            foreach (var number in PortNumbers(slice.Ports, port))
            {
                foreach (var endpoint in slice.Endpoints)
                {
                    // Consumers look at the first address only (discovery/v1, Endpoint.addresses).
                    if (endpoint.Addresses.IsEmpty || !InetAddress.TryParse(endpoint.Addresses[0], out var address))
                        continue;
                    if (address.IsIPv6 != (slice.AddressType == "IPv6"))
                        continue;
                    var ready = endpoint.Conditions?.Ready ?? true;
                    Add(found, new Candidate(
                        new InetEndpoint(address, number),
                        endpoint.NodeName,
                        ready,
                        endpoint.Conditions?.Serving ?? true,
                        endpoint.Conditions?.Terminating ?? false,
                        endpoint.Hints));
                }
            }
        }

        return found;
    }

    private static Dictionary<InetEndpoint, Candidate> FromEndpoints(ServicePort port, Endpoints? endpoints)
    {
        var found = new Dictionary<InetEndpoint, Candidate>();
        foreach (var subset in endpoints?.Subsets ?? [])
        {
            foreach (var number in PortNumbers(subset.Ports, port))
            {
                foreach (var entry in subset.Addresses)
                {
                    if (InetAddress.TryParse(entry.Ip, out var address))
                    {
                        Add(found, new Candidate(
                            new InetEndpoint(address, number), entry.NodeName, Ready: true, Serving: true, Terminating: false, Hints: null));
                    }
                }
            }
        }

        return found;
    }

    /// <summary>The same ip:port may stand in two slices while a pod moves between them: the one that lives wins.</summary>
    private static void Add(Dictionary<InetEndpoint, Candidate> found, Candidate candidate)
    {
        if (!found.TryGetValue(candidate.Address, out var known) || (known.Terminating && !candidate.Terminating))
            found[candidate.Address] = candidate;
    }

    private static IEnumerable<ushort> PortNumbers(ImmutableArray<EndpointPort> ports, ServicePort wanted)
    {
        foreach (var port in ports)
        {
            if (string.Equals(port.Name ?? "", wanted.Name ?? "", StringComparison.Ordinal)
                && string.Equals(port.Protocol ?? "TCP", wanted.Protocol ?? "TCP", StringComparison.Ordinal)
                && port.Port is > 0 and <= ushort.MaxValue)
            {
                yield return (ushort)port.Port;
            }
        }
    }
}
