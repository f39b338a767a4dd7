using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Catalog;

/// <summary>Makes one service of the catalog from its objects. What comes out equal to <c>before</c> stays the same object.</summary>
internal static class CatalogServiceBuilder
{
    private const int DefaultAffinitySeconds = 10_800;
    private const int LongestAffinitySeconds = 86_400;

    public static CatalogService Build(
        Service service, List<EndpointSlice> slices, Endpoints? endpoints, CatalogPolicy policy, string? zone, CatalogService? before)
    {
        var handling = HandlingDecision.Decide(service, policy);
        if (handling != Handling.Handled)
        {
            return before is { Ports.IsEmpty: true, Faults.IsEmpty: true } && before.Handling == handling
                ? before
                : new CatalogService { Name = service.Key, Handling = handling };
        }

        var addresses = HandlingDecision.ClusterIPs(service);
        var ports = ImmutableArray.CreateBuilder<CatalogPort>(service.Spec.Ports.Length);
        var faults = ImmutableArray<string>.Empty;
        foreach (var port in service.Spec.Ports)
        {
            if (port.Port is < 1 or > ushort.MaxValue)
            {
                faults = faults.Add($"port '{port.Name}' has the impossible number {port.Port}; it is left out");
                continue;
            }

            if (Protocol(port) is not { } protocol)
            {
                faults = faults.Add($"port '{port.Name}' has the unknown protocol '{port.Protocol}'; it is left out");
                continue;
            }

            var selected = EndpointSelection.Select(service.Spec, port, slices, endpoints, policy, zone);
            var known = before is not null && ports.Count < before.Ports.Length ? before.Ports[ports.Count] : null;
            var made = new CatalogPort
            {
                Name = new ServicePortName(service.Key.Namespace, service.Key.Name, port.Name ?? "", protocol),
                Port = (ushort)port.Port,
                Addresses = addresses,
                Endpoints = selected.Endpoints,
                Choice = selected.Choice,
                ClientIPAffinity = Affinity(service.Spec),
            };
            ports.Add(known is not null && SamePort(known, made) ? known : made);
        }

        handling = ports.Count == 0 ? Handling.NoPorts : Handling.Handled;
        if (before is not null
            && before.Handling == handling
            && SameReferences(before.Ports, ports)
            && before.Faults.AsSpan().SequenceEqual(faults.AsSpan()))
        {
            return before;
        }

        return new CatalogService
        {
            Name = service.Key,
            Handling = handling,
            Ports = ports.DrainToImmutable(),
            Faults = faults,
        };
    }

    private static bool SameReferences(ImmutableArray<CatalogPort> before, ImmutableArray<CatalogPort>.Builder now)
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

    private static bool SamePort(CatalogPort a, CatalogPort b) =>
        a.Name == b.Name
        && a.Port == b.Port
        && a.Choice == b.Choice
        && a.ClientIPAffinity == b.ClientIPAffinity
        && a.Addresses.AsSpan().SequenceEqual(b.Addresses.AsSpan())
        && a.Endpoints.AsSpan().SequenceEqual(b.Endpoints.AsSpan());

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
        return TimeSpan.FromSeconds(Math.Clamp(seconds, 1, LongestAffinitySeconds));
    }
}
