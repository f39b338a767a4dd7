using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Hosts;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Planning;

/// <summary>Plans one service: for each of its addresses and ports how it is caught, where it goes, and why so.</summary>
internal static class ServicePlanner
{
    /// <summary>Endpoints of all ports and addresses of one service: about the number of its rules or map elements. More take the kernel, and the
    /// programs that write them, longer than every other service should wait.</summary>
    private const int MostKernelPairs = 20_000;

    /// <param name="known">The service's plan under the same options; its ports that did not change are taken over.</param>
    /// <param name="knownReachability">What <paramref name="known"/> was planned with.</param>
    public static PlannedService Plan(
        CatalogService service, PlanningOptions options, Reachability? reachability, PlannedService? known, Reachability? knownReachability)
    {
        if (service.Ports.IsEmpty)
            return new PlannedService(service, []);
        var caught = new HashSet<TransportAddress>();
        var pairs = Pairs(service);
        // What it was planned with counts for all of its ports.
        var isAsBefore = known is not null && IsMany(Pairs(known.Service)) == IsMany(pairs);
        var before = isAsBefore ? known!.Ports.ToDictionary(planned => planned.CaughtAt) : null;
        var ports = ImmutableArray.CreateBuilder<PlannedPort>();
        foreach (var port in service.Ports)
        {
            foreach (var address in port.Addresses)
            {
                // A hand-written manifest may list one number twice; the API server would have refused it.
                if (!caught.Add(new TransportAddress(address.Address, port.Port, port.Name.Protocol)))
                    continue;
                var kept = EndpointWays.AreSame(port, knownReachability, reachability) ? Known(before, port, address) : null;
                ports.Add(kept ?? PlanPort(port, address, pairs, options, reachability));
            }
        }

        return new PlannedService(service, ports.DrainToImmutable());
    }

    private static bool IsMany(long pairs) => pairs > MostKernelPairs;

    private static long Pairs(CatalogService service)
    {
        long pairs = 0;
        foreach (var port in service.Ports)
            pairs += (long)port.Endpoints.Length * port.Addresses.Length;
        return pairs;
    }

    private static PlannedPort? Known(Dictionary<TransportAddress, PlannedPort>? known, CatalogPort port, CatchAddress address) =>
        known is not null
        && known.TryGetValue(new TransportAddress(address.Address, port.Port, port.Name.Protocol), out var planned)
        && ReferenceEquals(planned.Port, port) && planned.Address == address
            ? planned
            : null;

    private static PlannedPort PlanPort(CatalogPort port, CatchAddress address, long pairs, PlanningOptions options, Reachability? reachability)
    {
        var (endpoints, tunnelled) = EndpointWays.Of(port, address.Address.IsIPv6, reachability);
        var host = options.Host.Of(address.Address.Family);
        var (path, reason) = ChoosePath(port, address, pairs, endpoints, tunnelled, host, options);
        var key = new TransportAddress(address.Address, port.Port, port.Name.Protocol);
        var asking = path == ForwardingPath.Kernel ? ThroughListener(port, address, host) : [];
        var route = (path is ForwardingPath.Listener or ForwardingPath.Refused || !asking.IsEmpty) && port.Name.Protocol != TransportProtocol.Sctp
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
            Reason = asking.IsEmpty ? reason : $"{reason}; an endpoint that asks its own service goes through the agent, since its bridge has no hairpin mode",
            Rule = path == ForwardingPath.NotCaught ? null : Rule(port, address, endpoints, asking, path, host, options),
            CaughtAt = key,
            Route = route,
        };
    }

    private static (ForwardingPath Path, string Reason) ChoosePath(
        CatalogPort port, CatchAddress address, long pairs, ImmutableArray<ServiceEndpoint> endpoints, FrozenSet<ServiceEndpoint> ways, HostCarriage host, PlanningOptions options)
    {
        var tunnelled = EndpointWays.InWords(endpoints, ways);
        var family = address.Address.Family;
        if (!options.Listeners.ContainsKey(family))
            return (ForwardingPath.NotCaught, $"this node has no {family}");
        if (address.LeftBecause is { } left)
            return (ForwardingPath.NotCaught, $"left to kube-proxy: {left}");
        if (endpoints.IsEmpty)
        {
            // What is refused by this node's own kernel has to come in first.
            return host.ListenerShutBy is { } firewall ? (ForwardingPath.NotCaught, Left(NoEndpoints(port), firewall)) : (ForwardingPath.Refused, NoEndpoints(port));
        }

        var choice = Choice(port, options);
        var expressible = options.KernelChoices.Contains(choice);
        var obstacle = host.Carries ? Shut(endpoints, host) : host.Sentence;
        if (port.Name.Protocol == TransportProtocol.Sctp)
        {
            if (options.DataPath != DataPath.Userspace && expressible && obstacle is not null)
                return (ForwardingPath.NotCaught, $"SCTP can only be forwarded in the kernel, and {obstacle}");
            return options.DataPath != DataPath.Userspace && expressible
                ? (ForwardingPath.Kernel, "SCTP")
                : (ForwardingPath.NotCaught, "SCTP can only be forwarded in the kernel");
        }

        var chosen = options.DataPath switch
        {
            DataPath.Kernel when tunnelled is not null => (ForwardingPath.NotCaught, $"{tunnelled}, and dataPath is kernel"),
            _ when tunnelled is not null => (ForwardingPath.Listener, tunnelled),
            DataPath.Userspace => (ForwardingPath.Listener, "dataPath is userspace"),
            DataPath.Kernel when obstacle is not null => (ForwardingPath.NotCaught, $"{obstacle}, and dataPath is kernel"),
            _ when obstacle is not null => (ForwardingPath.Listener, obstacle),
            DataPath.Auto when IsMany(pairs) => (ForwardingPath.Listener, $"the service's ports have {pairs} endpoints in all, and {MostKernelPairs} are the most for which the kernel is given rules"),
            _ when expressible => (ForwardingPath.Kernel, "every endpoint is reached directly"),
            DataPath.Kernel => (ForwardingPath.NotCaught, $"the rule backend cannot express {choice}"),
            _ => (ForwardingPath.Listener, $"the rule backend cannot express {choice}"),
        };
        if (chosen.Item1 != ForwardingPath.Listener || host.ListenerShutBy is not { } shut)
            return chosen;
        // What kube-proxy could not bring there either loses nothing: the firewall may well let this node's pods in.
        return ways.Count == endpoints.Length
            ? (ForwardingPath.Listener, $"{chosen.Item2}; {shut} may drop what is redirected to this node")
            : (ForwardingPath.NotCaught, Left(chosen.Item2, shut));
    }

    /// <returns>Why the kernel cannot bring everybody to one of the endpoints; null: nothing is known against it.</returns>
    private static string? Shut(ImmutableArray<ServiceEndpoint> endpoints, HostCarriage host)
    {
        if (host.ShutPods.IsEmpty)
            return null;
        foreach (var endpoint in endpoints)
        {
            if (host.WhyShut(endpoint.Address.Address) is { } why)
                return why;
        }

        return null;
    }

    private static string Left(string reason, string firewall) => $"{reason}; left to kube-proxy, since {firewall} may drop what is redirected to this node";

    private static string NoEndpoints(CatalogPort port) => port.Choice == EndpointChoice.LocalOnly
        ? "internalTrafficPolicy is Local and no endpoint is on this node"
        : "no usable endpoint";

    private static BackendChoice Choice(CatalogPort port, PlanningOptions options) =>
        port.ClientIPAffinity is not null ? BackendChoice.ClientAffinity
        : options.Policy == BalancingPolicy.Random ? BackendChoice.Random
        : BackendChoice.RoundRobin;

    private static PortalRule Rule(
        CatalogPort port, CatchAddress address, ImmutableArray<ServiceEndpoint> endpoints, ImmutableArray<InetAddress> asking, ForwardingPath path, HostCarriage host, PlanningOptions options) => new()
    {
        Key = new TransportAddress(address.Address, port.Port, port.Name.Protocol),
        Comment = port.Name.ToString(),
        Target = path switch
        {
            ForwardingPath.Listener => PortalTarget.Listener.Instance,
            ForwardingPath.Refused => PortalTarget.Refused.Instance,
            _ => new PortalTarget.Backends
            {
                Endpoints = ImmutableArray.CreateRange(endpoints, e => e.Address),
                Choice = Choice(port, options),
                Local = Local(endpoints, host),
                ThroughListener = asking,
                AffinityTimeout = port.ClientIPAffinity ?? TimeSpan.Zero,
            },
        },
    };

    /// <summary>Endpoints that run on this node, or may: where nobody said which node it is, it can be this one; and a node whose
    /// name is not the one that Kubernetes knows takes its own for another's.</summary>
    private static ImmutableArray<InetEndpoint> Local(ImmutableArray<ServiceEndpoint> endpoints, HostCarriage host)
    {
        var local = ImmutableArray.CreateBuilder<InetEndpoint>();
        foreach (var endpoint in endpoints)
        {
            if (endpoint.IsLocal || endpoint.Node is null || host.IsBehindBridge(endpoint.Address.Address))
                local.Add(endpoint.Address);
        }

        return local.DrainToImmutable();
    }

    /// <summary>Endpoints here whose own connections to the service the kernel could not bring back to them. SCTP has no other way.</summary>
    private static ImmutableArray<InetAddress> ThroughListener(CatalogPort port, CatchAddress address, HostCarriage host)
    {
        if (host.SelfThroughListener.IsEmpty || port.Name.Protocol == TransportProtocol.Sctp)
            return [];
        return
        [
            .. port.Endpoints.Where(endpoint => endpoint.Address.Address.IsIPv6 == address.Address.IsIPv6 && host.GoesThroughListener(endpoint.Address.Address))
                .Select(endpoint => endpoint.Address.Address).Distinct(),
        ];
    }
}
