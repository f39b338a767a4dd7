using System.Collections.Concurrent;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;

namespace EdgeMesh.Balancing;

/// <summary>The affinity tables of all service ports that ask for one, shared by every forwarding thread.</summary>
public sealed class AffinityTables
{
    /// <summary>Clients remembered per service port.</summary>
    private const int Capacity = 65_536;

    private readonly ConcurrentDictionary<ServicePortName, AffinityTable> _tables = new();

    public AffinityTable Of(ServicePortName service) => _tables.GetOrAdd(service, static _ => new AffinityTable(Capacity));

    /// <summary>Forgets clients of services and endpoints that are gone, and those that were idle too long.</summary>
    public void Sweep(RouteTable routes, long now)
    {
        ArgumentNullException.ThrowIfNull(routes);
        if (_tables.IsEmpty)
            return;
        var wanted = new Dictionary<ServicePortName, Route>();
        foreach (var route in routes.Routes.Values)
        {
            if (route.ClientIPAffinity is not null)
                wanted.TryAdd(route.Service, route);
        }

        foreach (var (service, table) in _tables)
        {
            if (wanted.TryGetValue(service, out var route))
                table.Retain(route.Endpoints.ToHashSet().Contains, (long)route.ClientIPAffinity!.Value.TotalMilliseconds, now);
            else
                _tables.TryRemove(service, out _);
        }
    }
}
