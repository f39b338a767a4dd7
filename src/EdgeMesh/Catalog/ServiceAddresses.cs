using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Net;

namespace EdgeMesh.Catalog;

/// <summary>At which addresses a service is reached, as its object says.</summary>
internal static class ServiceAddresses
{
    private const string Local = "Local";
    private const string NotAsked = "modules.edgeProxy.addressKinds does not name this kind of address";

    /// <summary>clusterIPs where the API server filled it in, else clusterIP: objects of old clusters and
    /// hand-written manifests have only the second.</summary>
    public static ImmutableArray<CatchAddress> ClusterIPs(Service service, AddressKinds kinds = AddressKinds.All)
    {
        var left = kinds.HasFlag(AddressKinds.ClusterIP) ? null : NotAsked;
        var texts = service.Spec.ClusterIPs.IsEmpty ? [service.Spec.ClusterIP ?? ""] : service.Spec.ClusterIPs;
        var addresses = ImmutableArray.CreateBuilder<CatchAddress>(texts.Length);
        foreach (var text in texts)
        {
            if (InetAddress.TryParse(text, out var address))
                addresses.Add(new CatchAddress(CatchKind.ClusterIP, address) { LeftBecause = left });
        }

        return addresses.DrainToImmutable();
    }

    /// <summary>externalIPs, and those that a load balancer was given, each once. What only kube-proxy does with them is said at each.</summary>
    public static ImmutableArray<CatchAddress> External(Service service, AddressKinds kinds, AddressScreen screen)
    {
        var spec = service.Spec;
        var ingress = service.Status?.LoadBalancer?.Ingress ?? [];
        if (spec.ExternalIPs.IsEmpty && ingress.IsEmpty)
            return [];
        var addresses = ImmutableArray.CreateBuilder<CatchAddress>(spec.ExternalIPs.Length + ingress.Length);
        var local = string.Equals(spec.ExternalTrafficPolicy, Local, StringComparison.Ordinal) ? "externalTrafficPolicy is Local" : null;
        foreach (var text in spec.ExternalIPs)
            Add(CatchKind.ExternalIP, text, kinds.HasFlag(AddressKinds.ExternalIP) ? local : NotAsked);
        // A service that is no LoadBalancer any more may still have the addresses of the time when it was.
        if (!string.Equals(spec.Type, "LoadBalancer", StringComparison.Ordinal))
            return addresses.DrainToImmutable();
        foreach (var given in ingress)
        {
            if (given.IP is not null && !string.Equals(given.IPMode, "Proxy", StringComparison.Ordinal))
            {
                Add(CatchKind.LoadBalancerIP, given.IP,
                    !kinds.HasFlag(AddressKinds.LoadBalancerIP) ? NotAsked : local ?? (spec.LoadBalancerSourceRanges.IsEmpty ? null : "loadBalancerSourceRanges says who may come"));
            }
        }

        return addresses.DrainToImmutable();

        void Add(CatchKind kind, string text, string? left)
        {
            if (!InetAddress.TryParse(text, out var address))
                screen.Say($"'{AddressScreen.Shown(text)}' is no IP address; it is left out");
            else if (!addresses.Any(known => known.Address == address))
                addresses.Add(new CatchAddress(kind, address) { LeftBecause = left });
        }
    }

    /// <summary>How many there are at most, whatever becomes of them.</summary>
    public static int Count(Service service) =>
        Math.Max(service.Spec.ClusterIPs.Length, 1) + service.Spec.ExternalIPs.Length + (service.Status?.LoadBalancer?.Ingress.Length ?? 0);

    public static bool IsInternalLocal(Service service) => string.Equals(service.Spec.InternalTrafficPolicy, Local, StringComparison.Ordinal);
}
