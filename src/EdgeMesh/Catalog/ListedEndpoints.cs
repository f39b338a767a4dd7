using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Catalog;

/// <summary>What an endpoint's conditions allow, the best first.</summary>
internal enum EndpointUse
{
    Ready,

    /// <summary>It terminates and serves meanwhile: used while none is ready.</summary>
    ServesItsLast,

    None,
}

internal enum HintMatch
{
    NoHint,
    NamesOthers,
    NamesThis,
}

/// <summary>One endpoint as a slice or an Endpoints object lists it, without its ports.</summary>
/// <param name="Serves">Ready, or still serving: a peer may have it dialled.</param>
/// <param name="Order">Its place among all that the service's objects list.</param>
internal sealed record ListedEndpoint(
    InetAddress Address, string? Node, bool IsLocal, EndpointUse Use, bool Serves, HintMatch NodeHint, HintMatch ZoneHint, int Order);

/// <summary>A listed endpoint at one of its ports.</summary>
internal readonly record struct EndpointCandidate(InetEndpoint Address, ListedEndpoint Listed)
{
    public ServiceEndpoint ToEndpoint() => new(Address, Listed.Node, Listed.IsLocal);
}

/// <summary>Everything that the cluster says of one service's endpoints, read once for all of its ports: what a port costs is
/// its own endpoints, and not a look at every port of every slice.</summary>
internal sealed class ListedEndpoints
{
    private readonly record struct PortKey(string Name, TransportProtocol Protocol);

    private readonly record struct Group(ImmutableArray<ListedEndpoint> Endpoints, ImmutableArray<EndpointPort> Ports);

    private readonly record struct Offer(ushort Number, ImmutableArray<ListedEndpoint> Endpoints);

    private readonly List<Group> _groups = [];
    private readonly Dictionary<PortKey, List<Offer>> _offers = [];
    private readonly Dictionary<PortKey, long> _counts = [];
    private readonly AddressScreen _screen;
    private int _order;

    private ListedEndpoints(AddressScreen screen) => _screen = screen;

    /// <summary>v1 Endpoints speak only where there is no slice: both describe the same pods.</summary>
    public static ListedEndpoints Read(JoinedService joined, CatalogPolicy policy, string? zone, AddressScreen screen)
    {
        var listed = new ListedEndpoints(screen);
        if (joined.Slices.Count > 0)
        {
            foreach (var slice in joined.Slices)
            {
                if (slice.AddressType is "IPv4" or "IPv6")
                    listed.Add(slice, policy.NodeName, zone);
            }
        }
        else if (joined.Endpoints is { } endpoints)
        {
            foreach (var subset in endpoints.Subsets)
                listed.Add(subset, policy.NodeName);
        }

        return listed;
    }

    /// <summary>How many endpoints are listed for a port, before any choice.</summary>
    public long CountFor(ServicePort port) => Key(port.Name, port.Protocol) is { } key ? _counts.GetValueOrDefault(key) : 0;

    /// <summary>Addresses on this node times their ports, each as often as it is listed.</summary>
    public long CountLocal()
    {
        long count = 0;
        foreach (var group in _groups)
            count += (long)group.Ports.Length * group.Endpoints.Count(endpoint => endpoint is { IsLocal: true, Serves: true });
        return count;
    }

    /// <summary>Those of one service port that may be dialled.</summary>
    public List<EndpointCandidate> For(ServicePort port)
    {
        if (Key(port.Name, port.Protocol) is not { } key || !_offers.TryGetValue(key, out var offers))
            return [];
        var candidates = new List<EndpointCandidate>((int)Math.Min(_counts.GetValueOrDefault(key), int.MaxValue / 2));
        foreach (var (number, endpoints) in offers)
        {
            foreach (var endpoint in endpoints)
            {
                var address = new InetEndpoint(endpoint.Address, number);
                if (_screen.MayDial(new TransportAddress(address, key.Protocol)))
                    candidates.Add(new EndpointCandidate(address, endpoint));
            }
        }

        return candidates;
    }

    /// <summary>Those on this node, each once, in the order of the objects: what is dialled for a peer. A pod that terminates
    /// may still serve, and is dialled by peers that have no other.</summary>
    public ImmutableArray<TransportAddress> Local()
    {
        var found = ImmutableArray.CreateBuilder<TransportAddress>();
        var seen = new HashSet<TransportAddress>();
        foreach (var (endpoints, ports) in _groups)
        {
            foreach (var listed in endpoints)
            {
                if (!listed.IsLocal || !listed.Serves)
                    continue;
                foreach (var port in ports)
                {
                    if (port.Port is not (> 0 and <= ushort.MaxValue) || TransportProtocols.OfKubernetes(port.Protocol) is not { } protocol
                        || protocol == TransportProtocol.Sctp)
                        continue;
                    var endpoint = new TransportAddress(listed.Address, (ushort)port.Port, protocol);
                    if (_screen.MayDialForPeer(endpoint) && seen.Add(endpoint))
                        found.Add(endpoint);
                }
            }
        }

        return found.DrainToImmutable();
    }

    private void Add(EndpointSlice slice, string node, string? zone)
    {
        var endpoints = ImmutableArray.CreateBuilder<ListedEndpoint>(slice.Endpoints.Length);
        foreach (var endpoint in slice.Endpoints)
        {
            // Consumers look at the first address only (discovery/v1, Endpoint.addresses).
            if (endpoint.Addresses.IsEmpty || !InetAddress.TryParse(endpoint.Addresses[0], out var address))
                continue;
            // An IPv4 address written as IPv6 (::ffff:10.0.0.1) is what it stands for, and no IPv6 endpoint.
            if (address.IsIPv6 != (slice.AddressType == "IPv6"))
                continue;
            var ready = endpoint.Conditions?.Ready ?? true;
            var serving = endpoint.Conditions?.Serving ?? true;
            endpoints.Add(new ListedEndpoint(
                address,
                endpoint.NodeName,
                endpoint.NodeName == node,
                ready ? EndpointUse.Ready : serving && (endpoint.Conditions?.Terminating ?? false) ? EndpointUse.ServesItsLast : EndpointUse.None,
                ready || serving,
                Match(endpoint.Hints?.ForNodes ?? default, node),
                zone is null ? HintMatch.NoHint : Match(endpoint.Hints?.ForZones ?? default, zone),
                _order++));
        }

        Add(endpoints.DrainToImmutable(), slice.Ports);
    }

    private void Add(EndpointSubset subset, string node)
    {
        var endpoints = ImmutableArray.CreateBuilder<ListedEndpoint>(subset.Addresses.Length);
        foreach (var entry in subset.Addresses)
        {
            if (InetAddress.TryParse(entry.Ip, out var address))
                endpoints.Add(new ListedEndpoint(address, entry.NodeName, entry.NodeName == node, EndpointUse.Ready, Serves: true, HintMatch.NoHint, HintMatch.NoHint, _order++));
        }

        Add(endpoints.DrainToImmutable(), subset.Ports);
    }

    private void Add(ImmutableArray<ListedEndpoint> endpoints, ImmutableArray<EndpointPort> ports)
    {
        if (endpoints.IsEmpty)
            return;
        _groups.Add(new Group(endpoints, ports));
        foreach (var port in ports)
        {
            if (port.Port is not (> 0 and <= ushort.MaxValue) || Key(port.Name, port.Protocol) is not { } key)
                continue;
            ref var offers = ref CollectionsMarshal.GetValueRefOrAddDefault(_offers, key, out _);
            (offers ??= []).Add(new Offer((ushort)port.Port, endpoints));
            CollectionsMarshal.GetValueRefOrAddDefault(_counts, key, out _) += endpoints.Length;
        }
    }

    private static HintMatch Match(ImmutableArray<HintName> hints, string name)
    {
        if (hints.IsDefaultOrEmpty)
            return HintMatch.NoHint;
        foreach (var hint in hints)
        {
            if (hint.Name == name)
                return HintMatch.NamesThis;
        }

        return HintMatch.NamesOthers;
    }

    /// <returns>Null: no protocol of a service.</returns>
    private static PortKey? Key(string? name, string? protocol) =>
        TransportProtocols.OfKubernetes(protocol) is { } known ? new PortKey(name ?? "", known) : null;
}
