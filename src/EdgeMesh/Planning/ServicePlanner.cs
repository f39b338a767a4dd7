using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Linux;
using EdgeMesh.Netfilter;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Planning;

/// <summary>Plans one service: for each of its addresses and ports how it is caught, where it goes, and why so.</summary>
internal static class ServicePlanner
{
    /// <param name="known">The service's plan under the same options; its ports that did not change are taken over.</param>
    /// <param name="knownReachability">What <paramref name="known"/> was planned with.</param>
    public static PlannedService Plan(
        CatalogService service, PlanningOptions options, Reachability? reachability, PlannedService? known, Reachability? knownReachability)
    {
        if (service.Ports.IsEmpty)
            return new PlannedService(service, []);
        var caught = new HashSet<RouteKey>();
        var before = known?.Ports.ToDictionary(planned => planned.RouteKey);
        var ports = ImmutableArray.CreateBuilder<PlannedPort>();
        foreach (var port in service.Ports)
        {
            foreach (var address in port.Addresses)
            {
                // A hand-written manifest may list one number twice; the API server would have refused it.
                if (!caught.Add(new RouteKey(new InetEndpoint(address.Address, port.Port), port.Name.Protocol)))
                    continue;
                var kept = EndpointWays.AreSame(port, knownReachability, reachability) ? Known(before, port, address) : null;
                ports.Add(kept ?? PlanPort(port, address, options, reachability));
            }
        }

        return new PlannedService(service, ports.DrainToImmutable());
    }

    private static PlannedPort? Known(Dictionary<RouteKey, PlannedPort>? known, CatalogPort port, CatchAddress address) =>
        known is not null
        && known.TryGetValue(new RouteKey(new InetEndpoint(address.Address, port.Port), port.Name.Protocol), out var planned)
        && ReferenceEquals(planned.Port, port) && planned.Address == address
            ? planned
            : null;

    private static PlannedPort PlanPort(CatalogPort port, CatchAddress address, PlanningOptions options, Reachability? reachability)
    {
        var (endpoints, tunnelled) = EndpointWays.Of(port, address.Address.IsIPv6, reachability);
        var (path, reason) = ChoosePath(port, address, endpoints, EndpointWays.InWords(endpoints, tunnelled), options);
        var key = new RouteKey(new InetEndpoint(address.Address, port.Port), port.Name.Protocol);
        var route = path is (ForwardingPath.Listener or ForwardingPath.Refused) && port.Name.Protocol != TransportProtocol.Sctp
            ? new Route
            {
                Service = port.Name,
                Endpoints = endpoints,
                Tunnelled = tunnelled,
                Policy = options.Policy,
                ClientIPAffinity = port.ClientIPAffinity,
            }
            : null;
        return new PlannedPort
        {
            Port = port,
            Address = address,
            Path = path,
            Reason = reason,
            Rule = path == ForwardingPath.NotCaught ? null : Rule(port, address, endpoints, path, options),
            RouteKey = key,
            Route = route,
        };
    }

    private static (ForwardingPath Path, string Reason) ChoosePath(
        CatalogPort port, CatchAddress address, ImmutableArray<ServiceEndpoint> endpoints, string? tunnelled, PlanningOptions options)
    {
        var family = address.Address.IsIPv6 ? IpFamily.IPv6 : IpFamily.IPv4;
        if (!options.Listeners.ContainsKey(family))
            return (ForwardingPath.NotCaught, $"this node has no {family}");
        if (endpoints.IsEmpty)
            return (ForwardingPath.Refused, NoEndpoints(port));

        var choice = Choice(port, options);
        var expressible = options.KernelChoices.Contains(choice);
        if (port.Name.Protocol == TransportProtocol.Sctp)
        {
            return options.DataPath != DataPath.Userspace && expressible
                ? (ForwardingPath.Kernel, "SCTP")
                : (ForwardingPath.NotCaught, "SCTP can only be forwarded in the kernel");
        }

        return options.DataPath switch
        {
            DataPath.Kernel when tunnelled is not null => (ForwardingPath.NotCaught, $"{tunnelled}, and dataPath is kernel"),
            _ when tunnelled is not null => (ForwardingPath.Listener, tunnelled),
            DataPath.Userspace => (ForwardingPath.Listener, "dataPath is userspace"),
            _ when expressible => (ForwardingPath.Kernel, "every endpoint is reached directly"),
            DataPath.Kernel => (ForwardingPath.NotCaught, $"the rule backend cannot express {choice}"),
            _ => (ForwardingPath.Listener, $"the rule backend cannot express {choice}"),
        };
    }

    private static string NoEndpoints(CatalogPort port) => port.Choice == EndpointChoice.LocalOnly
        ? "internalTrafficPolicy is Local and no endpoint is on this node"
        : "no usable endpoint";

    private static BackendChoice Choice(CatalogPort port, PlanningOptions options) =>
        port.ClientIPAffinity is not null ? BackendChoice.ClientAffinity
        : options.Policy == BalancingPolicy.Random ? BackendChoice.Random
        : BackendChoice.RoundRobin;

    private static PortalRule Rule(
        CatalogPort port, CatchAddress address, ImmutableArray<ServiceEndpoint> endpoints, ForwardingPath path, PlanningOptions options) => new()
    {
        Key = new PortalKey(address.Address.ToIPAddress(), Protocol(port.Name.Protocol), port.Port),
        Comment = port.Name.ToString(),
        Target = path switch
        {
            ForwardingPath.Listener => PortalTarget.Listener.Instance,
            ForwardingPath.Refused => PortalTarget.Refused.Instance,
            _ => new PortalTarget.Backends
            {
                Endpoints = ImmutableArray.CreateRange(endpoints, e => new IPEndPoint(e.Address.Address.ToIPAddress(), e.Address.Port)),
                Choice = Choice(port, options),
                Local = Local(endpoints),
                AffinityTimeout = port.ClientIPAffinity ?? TimeSpan.Zero,
            },
        },
    };

    /// <summary>Endpoints that run on this node, or may: where nobody said which node it is, it can be this one.</summary>
    private static ImmutableArray<IPEndPoint> Local(ImmutableArray<ServiceEndpoint> endpoints)
    {
        var local = ImmutableArray.CreateBuilder<IPEndPoint>();
        foreach (var endpoint in endpoints)
        {
            if (endpoint.IsLocal || endpoint.Node is null)
                local.Add(new IPEndPoint(endpoint.Address.Address.ToIPAddress(), endpoint.Address.Port));
        }

        return local.DrainToImmutable();
    }

    private static PortalProtocol Protocol(TransportProtocol protocol) => protocol switch
    {
        TransportProtocol.Tcp => PortalProtocol.Tcp,
        TransportProtocol.Udp => PortalProtocol.Udp,
        _ => PortalProtocol.Sctp,
    };
}
