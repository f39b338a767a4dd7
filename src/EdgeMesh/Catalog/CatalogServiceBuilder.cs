using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Catalog;

/// <summary>Makes one service of the catalog from its objects. What comes out equal to <c>before</c> stays the same object.</summary>
internal static class CatalogServiceBuilder
{
    private const int DefaultAffinitySeconds = 10_800;
    private const int LongestAffinitySeconds = 86_400;
    private const int MostFaults = 16;

    /// <param name="screen">Has judged the endpoints of this node already; judges the rest here.</param>
    /// <param name="localFault">What is wrong with the endpoints of this node; null: nothing.</param>
    public static CatalogService Build(
        Service service, ListedEndpoints endpoints, CatalogPolicy policy, AddressScreen screen, string? localFault, CatalogService? before)
    {
        var faults = new List<string>();
        if (localFault is not null)
            faults.Add(localFault);
        var handling = HandlingDecision.Decide(service, policy);
        if (handling == Handling.Handled && ServiceBounds.Fault(service, endpoints) is { } tooMuch)
        {
            handling = Handling.TooLarge;
            faults.Add(tooMuch);
        }

        var ports = handling == Handling.Handled ? Ports(service, endpoints, policy, screen, faults, before, out handling) : [];
        faults.AddRange(screen.Faults);
        if (faults.Count > MostFaults)
        {
            var more = faults.Count - MostFaults;
            faults.RemoveRange(MostFaults, more);
            faults.Add($"and {more} more");
        }

        if (before is not null
            && before.Handling == handling
            && SameReferences(before.Ports, ports)
            && before.Faults.AsSpan().SequenceEqual(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(faults)))
        {
            return before;
        }

        return new CatalogService { Name = service.Key, Handling = handling, Ports = ports, Faults = [.. faults] };
    }

    private static ImmutableArray<CatalogPort> Ports(
        Service service, ListedEndpoints endpoints, CatalogPolicy policy, AddressScreen screen, List<string> faults, CatalogService? before, out Handling handling)
    {
        var inside = ServiceAddresses.ClusterIPs(service, policy.AddressKinds);
        var outside = ServiceAddresses.External(service, policy.AddressKinds, screen);
        var local = ServiceAddresses.IsInternalLocal(service);
        var affinity = Affinity(service.Spec);
        var ports = ImmutableArray.CreateBuilder<CatalogPort>(service.Spec.Ports.Length);
        var uncaught = false;
        foreach (var port in service.Spec.Ports)
        {
            if (port.Port is < 1 or > ushort.MaxValue)
            {
                faults.Add($"port '{port.Name}' has the impossible number {port.Port}; it is left out");
                continue;
            }

            if (TransportProtocols.OfKubernetes(port.Protocol) is not { } protocol)
            {
                faults.Add($"port '{port.Name}' has the unknown protocol '{port.Protocol}'; it is left out");
                continue;
            }

            var name = new ServicePortName(service.Key.Namespace, service.Key.Name, port.Name ?? "", protocol);
            var (insideHere, outsideHere) = (Caught(inside, (ushort)port.Port, screen), Caught(outside, (ushort)port.Port, screen));
            if (insideHere.IsEmpty && outsideHere.IsEmpty)
            {
                uncaught = true;
                continue;
            }

            // internalTrafficPolicy is for addresses inside of the cluster only.
            if (!local)
                Add(name, (ushort)port.Port, insideHere.AddRange(outsideHere), EndpointSelection.Select(endpoints.For(port), local: false));
            if (local && !insideHere.IsEmpty)
                Add(name, (ushort)port.Port, insideHere, EndpointSelection.Select(endpoints.For(port), local: true));
            if (local && !outsideHere.IsEmpty)
                Add(name, (ushort)port.Port, outsideHere, EndpointSelection.Select(endpoints.For(port), local: false));
        }

        handling = ports.Count > 0 ? Handling.Handled : uncaught ? Handling.AddressRefused : Handling.NoPorts;
        return ports.DrainToImmutable();

        void Add(ServicePortName name, ushort number, ImmutableArray<CatchAddress> addresses, EndpointSelection.Selected selected)
        {
            var known = before is not null && ports.Count < before.Ports.Length ? before.Ports[ports.Count] : null;
            var made = new CatalogPort
            {
                Name = name,
                Port = number,
                Addresses = addresses,
                Endpoints = selected.Endpoints,
                Choice = selected.Choice,
                ClientIPAffinity = affinity,
            };
            ports.Add(known is not null && SamePort(known, made) ? known : made);
        }
    }

    private static ImmutableArray<CatchAddress> Caught(ImmutableArray<CatchAddress> addresses, ushort port, AddressScreen screen)
    {
        var refused = 0;
        foreach (var address in addresses)
            refused += MayCatch(address) ? 0 : 1;
        return refused == 0 ? addresses
            : refused == addresses.Length ? []
            : addresses.RemoveAll(address => !MayCatch(address));

        bool MayCatch(CatchAddress address) => address.LeftBecause is not null || screen.MayCatch(new InetEndpoint(address.Address, port));
    }

    private static bool SameReferences(ImmutableArray<CatalogPort> before, ImmutableArray<CatalogPort> now)
    {
        if (before.Length != now.Length)
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

    private static TimeSpan? Affinity(ServiceSpec spec)
    {
        if (!string.Equals(spec.SessionAffinity, "ClientIP", StringComparison.Ordinal))
            return null;
        var seconds = spec.SessionAffinityConfig?.ClientIP?.TimeoutSeconds ?? DefaultAffinitySeconds;
        return TimeSpan.FromSeconds(Math.Clamp(seconds, 1, LongestAffinitySeconds));
    }
}
