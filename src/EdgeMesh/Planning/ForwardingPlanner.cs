using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Netfilter;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Planning;

/// <summary>Turns the catalog into a plan. What is the same object in the catalog as last time keeps its planned ports,
/// rules and routes as the same objects, so that the rule backend sees at a glance what did not change.</summary>
public sealed class ForwardingPlanner
{
    private PlanningOptions? _options;
    private ServiceCatalog? _catalog;
    private Reachability? _reachability;
    private ForwardingPlan _plan = ForwardingPlan.Empty;
    private readonly KernelPathNetworks _networks = new();

    /// <param name="reachability">Which endpoints of other nodes are reached directly; null: there is no tunnel, and all are.
    /// A change replans the services with an endpoint that goes another way now, and no other.</param>
    /// <returns>The same object as last time where nothing has changed.</returns>
    public ForwardingPlan Plan(ServiceCatalog catalog, PlanningOptions options, Reachability? reachability = null)
    {
        ArgumentNullException.ThrowIfNull(catalog);
        ArgumentNullException.ThrowIfNull(options);
        var sameOptions = ReferenceEquals(options, _options);
        if (sameOptions && ReferenceEquals(catalog, _catalog) && ReferenceEquals(reachability, _reachability))
            return _plan;

        var services = Services(catalog, options, reachability, options.PlansServicesAs(_options));
        if (!sameOptions || !AreSame(services, _plan.Services))
        {
            var changes = PlanChanges.Between(_plan.Services, services);
            _networks.Apply(changes);
            _plan = new ForwardingPlan
            {
                Services = services,
                Portals = Portals(services, options),
                Routes = Routes(changes),
                CaughtNetworks = _networks.Caught(),
            };
        }

        (_catalog, _options, _reachability) = (catalog, options, reachability);
        return _plan;
    }

    private static bool AreSame(ImmutableArray<PlannedService> one, ImmutableArray<PlannedService> other)
    {
        if (one.Length != other.Length)
            return false;
        for (var i = 0; i < one.Length; i++)
        {
            if (!ReferenceEquals(one[i], other[i]))
                return false;
        }

        return true;
    }

    private ImmutableArray<PlannedService> Services(ServiceCatalog catalog, PlanningOptions options, Reachability? reachability, bool sameOptions)
    {
        // Both are in the same order, so one walk over the two finds every service's plan of last time.
        var before = _plan.Services.AsSpan();
        var services = new PlannedService[catalog.Services.Length];
        for (var i = 0; i < services.Length; i++)
        {
            var service = catalog.Services[i];
            while (!before.IsEmpty
                && !ReferenceEquals(before[0].Service, service)
                && CatalogService.CompareNames(before[0].Service.Name, service.Name) < 0)
            {
                before = before[1..];
            }

            var known = !before.IsEmpty && before[0].Service.Name == service.Name ? before[0] : null;
            services[i] = sameOptions && known is not null && ReferenceEquals(known.Service, service) && EndpointWays.AreSame(service, _reachability, reachability)
                ? known
                : ServicePlanner.Plan(service, options, reachability, sameOptions ? known : null, _reachability);
            if (known is not null)
                before = before[1..];
        }

        return ImmutableCollectionsMarshal.AsImmutableArray(services);
    }

    private ImmutableArray<FamilyPortals> Portals(ImmutableArray<PlannedService> services, PlanningOptions options)
    {
        var portals = ImmutableArray.CreateBuilder<FamilyPortals>(options.Listeners.Count);
        foreach (var (family, listener) in options.Listeners)
        {
            var known = _plan.Portals.FirstOrDefault(p => p.Family == family);
            var rules = ImmutableArray.CreateBuilder<PortalRule>(known?.Rules.Length + 16 ?? services.Length);
            foreach (var service in services)
            {
                foreach (var port in service.Ports)
                {
                    if (port.Rule is not null && port.Family == family)
                        rules.Add(port.Rule);
                }
            }

            portals.Add(new FamilyPortals
            {
                Family = family,
                Listener = listener,
                Rules = rules.DrainToImmutable(),
                Masquerade = options.Host.Of(family).Masquerade,
                AcceptListener = options.Host.Of(family).AcceptListener,
                AcceptForwarded = options.Host.Of(family).AcceptForwarded,
                Invalid = _networks.Guard(family),
                Lease = options.Lease,
            });
        }

        return portals.DrainToImmutable();
    }

    private RouteTable Routes(PlanChanges changes)
    {
        var routes = _plan.Routes.Routes.ToBuilder();

        // All that goes before all that comes: an address may move from one service to another.
        foreach (var gone in changes.Before)
        {
            foreach (var port in gone.Ports)
            {
                if (port.Route is not null)
                    routes.Remove(port.CaughtAt);
            }
        }

        foreach (var now in changes.After)
        {
            foreach (var port in now.Ports)
            {
                if (port.Route is not null)
                    routes[port.CaughtAt] = port.Route;
            }
        }

        var result = routes.ToImmutable();
        return ReferenceEquals(result, _plan.Routes.Routes) ? _plan.Routes : new RouteTable(result);
    }
}
