using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Catalog;

/// <summary>Decides from a Service object alone whether this agent handles it.</summary>
internal static class HandlingDecision
{
    public static Handling Decide(Service service, CatalogPolicy policy)
    {
        var labels = service.Metadata.Labels;
        if (string.Equals(service.Spec.Type, "ExternalName", StringComparison.Ordinal))
            return Handling.ExternalName;
        if (IsHeadless(service))
            return Handling.Headless;
        if (policy.ExcludedServices.Contains(service.Key))
            return Handling.Excluded;
        if (labels.TryGetValue(CatalogLabels.ProxyNameLabel, out var proxy) && proxy != CatalogLabels.ProxyName)
            return Handling.OtherProxy;

        var labelled = labels.ContainsKey(CatalogLabels.FilterLabel);
        if (policy.FilterMode == ServiceFilterMode.FilterIfLabelExists && labelled)
            return Handling.Labelled;
        if (policy.FilterMode == ServiceFilterMode.FilterIfLabelDoesNotExists && !labelled)
            return Handling.NotLabelled;
        if (ClusterIPs(service).IsEmpty)
            return Handling.NoClusterIP;
        return service.Spec.Ports.IsEmpty ? Handling.NoPorts : Handling.Handled;
    }

    /// <summary>clusterIPs where the API server filled it in, else clusterIP: objects of old clusters and
    /// hand-written manifests have only the second.</summary>
    public static ImmutableArray<CatchAddress> ClusterIPs(Service service)
    {
        var texts = service.Spec.ClusterIPs.IsEmpty ? [service.Spec.ClusterIP ?? ""] : service.Spec.ClusterIPs;
        var addresses = ImmutableArray.CreateBuilder<CatchAddress>(texts.Length);
        foreach (var text in texts)
        {
            if (InetAddress.TryParse(text, out var address))
                addresses.Add(new CatchAddress(CatchKind.ClusterIP, address));
        }

        return addresses.DrainToImmutable();
    }

    private static bool IsHeadless(Service service) =>
        service.Metadata.Labels.ContainsKey(CatalogLabels.HeadlessLabel)
        || string.Equals(service.Spec.ClusterIP, "None", StringComparison.OrdinalIgnoreCase)
        || service.Spec.ClusterIPs.Any(ip => string.Equals(ip, "None", StringComparison.OrdinalIgnoreCase));
}
