using System.Collections.Immutable;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;

namespace EdgeMesh.Catalog;

/// <summary>Turns cluster facts into the catalog. The result depends on facts and policy alone; what is remembered
/// between builds only lets an unchanged service keep its <see cref="CatalogService"/> object, which is what makes
/// planning and syncing cost as much as the change and not as much as the cluster.</summary>
public sealed class CatalogBuilder
{
    private const int DefaultAffinitySeconds = 10_800;

    private readonly Dictionary<ObjectName, Built> _built = [];
    private CatalogPolicy? _policy;
    private string? _zone;

    private sealed record Built(Service Service, EndpointSlice[] Slices, Endpoints? Endpoints, CatalogService Result)
    {
        public int Round { get; set; }
    }

    private int _round;

    public ServiceCatalog Build(ClusterFacts facts, CatalogPolicy policy)
    {
        ArgumentNullException.ThrowIfNull(facts);
        ArgumentNullException.ThrowIfNull(policy);
        var zone = facts.NodeLabels.GetValueOrDefault(CatalogLabels.ZoneLabel);
        if (!policy.Equals(_policy) || zone != _zone)
            _built.Clear();
        (_policy, _zone) = (policy, zone);
        _round++;

        var slices = SlicesByService(facts);
        var services = new List<CatalogService>(facts.Services.Count);
        foreach (var (name, service) in facts.Services)
        {
            var own = slices.TryGetValue(name, out var list) ? list : [];
            facts.Endpoints.TryGetValue(name, out var endpoints);
            if (!_built.TryGetValue(name, out var built)
                || !ReferenceEquals(built.Service, service)
                || !ReferenceEquals(built.Endpoints, endpoints)
                || !SameReferences(built.Slices, own))
            {
                built = new Built(service, [.. own], endpoints, BuildService(service, own, endpoints, policy, zone));
                _built[name] = built;
            }

            built.Round = _round;
            services.Add(built.Result);
        }

        if (_built.Count > services.Count)
        {
            foreach (var (name, built) in _built)
            {
                if (built.Round != _round)
                    _built.Remove(name);
            }
        }

        services.Sort(static (a, b) =>
        {
            var byNamespace = string.CompareOrdinal(a.Name.Namespace, b.Name.Namespace);
            return byNamespace != 0 ? byNamespace : string.CompareOrdinal(a.Name.Name, b.Name.Name);
        });
        return new ServiceCatalog(GiveEachAddressOnce(services));
    }

    private static Dictionary<ObjectName, List<EndpointSlice>> SlicesByService(ClusterFacts facts)
    {
        var slices = new Dictionary<ObjectName, List<EndpointSlice>>(facts.EndpointSlices.Count);
        foreach (var (_, slice) in facts.EndpointSlices)
        {
            var labels = slice.Metadata.Labels;
            if (labels.ContainsKey(CatalogLabels.HeadlessLabel)
                || !labels.TryGetValue(CatalogLabels.ServiceNameLabel, out var serviceName))
            {
                continue;
            }

            var key = new ObjectName(slice.Metadata.Namespace, serviceName);
            if (!slices.TryGetValue(key, out var list))
                slices[key] = list = [];
            list.Add(slice);
        }

        foreach (var list in slices.Values)
        {
            if (list.Count > 1)
                list.Sort(static (a, b) => string.CompareOrdinal(a.Metadata.Name, b.Metadata.Name));
        }

        return slices;
    }

    private static bool SameReferences(EndpointSlice[] before, List<EndpointSlice> now)
    {
        if (before.Length != now.Count)
            return false;
        for (var i = 0; i < before.Length; i++)
        {
            if (!ReferenceEquals(before[i], now[i]))
                return false;
        }

        return true;
    }

    private static CatalogService BuildService(
        Service service, List<EndpointSlice> slices, Endpoints? endpoints, CatalogPolicy policy, string? zone)
    {
        var handling = HandlingDecision.Decide(service, policy);
        if (handling != Handling.Handled)
            return new CatalogService { Name = service.Key, Handling = handling };

        var addresses = HandlingDecision.ClusterIPs(service);
        var ports = ImmutableArray.CreateBuilder<CatalogPort>(service.Spec.Ports.Length);
        var faults = ImmutableArray.CreateBuilder<string>();
        foreach (var port in service.Spec.Ports)
        {
            if (port.Port is < 1 or > ushort.MaxValue)
            {
                faults.Add($"port '{port.Name}' has the impossible number {port.Port}; it is left out");
                continue;
            }

            if (Protocol(port) is not { } protocol)
            {
                faults.Add($"port '{port.Name}' has the unknown protocol '{port.Protocol}'; it is left out");
                continue;
            }

            var selected = EndpointSelection.Select(service.Spec, port, slices, endpoints, policy, zone);
            ports.Add(new CatalogPort
            {
                Name = new ServicePortName(service.Key.Namespace, service.Key.Name, port.Name ?? "", protocol),
                Port = (ushort)port.Port,
                Addresses = addresses,
                Endpoints = selected.Endpoints,
                Choice = selected.Choice,
                ClientIPAffinity = Affinity(service.Spec),
            });
        }

        return new CatalogService
        {
            Name = service.Key,
            Handling = ports.Count == 0 ? Handling.NoPorts : Handling.Handled,
            Ports = ports.DrainToImmutable(),
            Faults = faults.DrainToImmutable(),
        };
    }

    private static TransportProtocol? Protocol(ServicePort port) => port.Protocol switch
    {
        null or "" or "TCP" => TransportProtocol.Tcp,
        "UDP" => TransportProtocol.Udp,
        "SCTP" => TransportProtocol.Sctp,
        _ => null,
    };

    private static TimeSpan? Affinity(ServiceSpec spec)
    {
        if (!string.Equals(spec.SessionAffinity, "ClientIP", StringComparison.Ordinal))
            return null;
        var seconds = spec.SessionAffinityConfig?.ClientIP?.TimeoutSeconds ?? DefaultAffinitySeconds;
        return TimeSpan.FromSeconds(Math.Clamp(seconds, 1, 86_400));
    }

    /// <summary>Two services that claim one address and port cannot both have it (possible in hand-written manifests):
    /// the first by name keeps it, the other is shown as not handled.</summary>
    private static ImmutableArray<CatalogService> GiveEachAddressOnce(List<CatalogService> services)
    {
        var owners = new Dictionary<(InetAddress, ushort, TransportProtocol), ObjectName>();
        var result = ImmutableArray.CreateBuilder<CatalogService>(services.Count);
        foreach (var service in services)
        {
            var taken = false;
            foreach (var port in service.Ports)
            {
                foreach (var address in port.Addresses)
                {
                    var key = (address.Address, port.Port, port.Name.Protocol);
                    if (owners.TryAdd(key, service.Name) || owners[key] == service.Name)
                        continue;
                    taken = true;
                    result.Add(new CatalogService
                    {
                        Name = service.Name,
                        Handling = Handling.AddressTaken,
                        Faults = [$"{address.Address} port {port.Port} already belongs to {owners[key]}; change one of the two"],
                    });
                    break;
                }

                if (taken)
                    break;
            }

            if (!taken)
                result.Add(service);
        }

        return result.DrainToImmutable();
    }
}
