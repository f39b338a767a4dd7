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
        if (ServiceAddresses.ClusterIPs(service).IsEmpty)
            return Handling.NoClusterIP;
        return service.Spec.Ports.IsEmpty ? Handling.NoPorts : Handling.Handled;
    }

    private static bool IsHeadless(Service service) =>
        service.Metadata.Labels.ContainsKey(CatalogLabels.HeadlessLabel)
        || string.Equals(service.Spec.ClusterIP, "None", StringComparison.OrdinalIgnoreCase)
        || service.Spec.ClusterIPs.Any(ip => string.Equals(ip, "None", StringComparison.OrdinalIgnoreCase));
}
