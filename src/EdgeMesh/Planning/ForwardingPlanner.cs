using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Netfilter;

namespace EdgeMesh.Planning;

/// <summary>Turns the catalog into a plan. A service that is the same object as last time keeps its planned ports and
/// rules as the same objects, so that the rule backend sees at a glance what did not change.</summary>
public sealed class ForwardingPlanner
{
    private Dictionary<ObjectName, PlannedService> _planned = [];
    private PlanningOptions? _options;

    public ForwardingPlan Plan(ServiceCatalog catalog, PlanningOptions options)
    {
        ArgumentNullException.ThrowIfNull(catalog);
        ArgumentNullException.ThrowIfNull(options);
        var before = ReferenceEquals(options, _options) ? _planned : [];
        var planned = new Dictionary<ObjectName, PlannedService>(catalog.Services.Length);
        var services = ImmutableArray.CreateBuilder<PlannedService>(catalog.Services.Length);
        var rules = options.Listeners.Keys.ToDictionary(family => family, _ => ImmutableArray.CreateBuilder<PortalRule>());
        var routes = new Dictionary<RouteKey, Route>();
        foreach (var service in catalog.Services)
        {
            if (!before.TryGetValue(service.Name, out var plan) || !ReferenceEquals(plan.Service, service))
                plan = PlanService(service, options);
            planned[service.Name] = plan;
            services.Add(plan);
            foreach (var port in plan.Ports)
            {
                if (port.Rule is not null)
                    rules[Family(port.Address)].Add(port.Rule);
                if (port.Route is not null)
                    routes[port.RouteKey] = port.Route;
            }
        }

        (_planned, _options) = (planned, options);
        return new ForwardingPlan
        {
            Services = services.DrainToImmutable(),
            Portals =
            [
                .. options.Listeners.Select(listener => new FamilyPortals
                {
                    Family = listener.Key,
                    Listener = listener.Value,
                    Rules = rules[listener.Key].DrainToImmutable(),
                    MasqueradeAll = options.MasqueradeAll,
                }),
            ],
            Routes = new RouteTable(routes.ToFrozenDictionary()),
        };
    }

    private static IpFamily Family(CatchAddress address) => address.Address.IsIPv6 ? IpFamily.IPv6 : IpFamily.IPv4;

    private static PlannedService PlanService(CatalogService service, PlanningOptions options)
    {
        var caught = new HashSet<RouteKey>();
        var ports = ImmutableArray.CreateBuilder<PlannedPort>();
        foreach (var port in service.Ports)
        {
            foreach (var address in port.Addresses)
            {
                // A hand-written manifest may list one number twice; the API server would have refused it.
                if (caught.Add(new RouteKey(new InetEndpoint(address.Address, port.Port), port.Name.Protocol)))
                    ports.Add(PlanPort(port, address, options));
            }
        }

        return new PlannedService(service, ports.DrainToImmutable());
    }

    private static PlannedPort PlanPort(CatalogPort port, CatchAddress address, PlanningOptions options)
    {
        var endpoints = port.Endpoints
            .Where(e => e.Address.Address.IsIPv6 == address.Address.IsIPv6)
            .Select(e => e.Address)
            .ToImmutableArray();
        var (path, reason) = ChoosePath(port, address, endpoints, options);
        var key = new RouteKey(new InetEndpoint(address.Address, port.Port), port.Name.Protocol);
        var route = path is ForwardingPath.Listener or ForwardingPath.Refused && port.Name.Protocol != TransportProtocol.Sctp
            ? new Route
            {
                Service = port.Name,
                Endpoints = endpoints,
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
        CatalogPort port, CatchAddress address, ImmutableArray<InetEndpoint> endpoints, PlanningOptions options)
    {
        if (!options.Listeners.ContainsKey(Family(address)))
            return (ForwardingPath.NotCaught, $"this node has no {Family(address)}");
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
        CatalogPort port, CatchAddress address, ImmutableArray<InetEndpoint> endpoints, ForwardingPath path, PlanningOptions options) => new()
    {
        Key = new PortalKey(address.Address.ToIPAddress(), Protocol(port.Name.Protocol), port.Port),
        Comment = port.Name.ToString(),
        Target = path switch
        {
            ForwardingPath.Listener => PortalTarget.Listener.Instance,
            ForwardingPath.Refused => PortalTarget.Refused.Instance,
            _ => new PortalTarget.Backends
            {
                Endpoints = [.. endpoints.Select(e => new IPEndPoint(e.Address.ToIPAddress(), e.Port))],
                Choice = Choice(port, options),
                AffinityTimeout = port.ClientIPAffinity ?? TimeSpan.Zero,
            },
        },
    };

    private static PortalProtocol Protocol(TransportProtocol protocol) => protocol switch
    {
        TransportProtocol.Tcp => PortalProtocol.Tcp,
        TransportProtocol.Udp => PortalProtocol.Udp,
        _ => PortalProtocol.Sctp,
    };
}
