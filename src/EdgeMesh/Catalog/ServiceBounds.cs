using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Catalog;

/// <summary>What one service may cost. One object must not hold up every other service of the node, whoever wrote it.</summary>
internal static class ServiceBounds
{
    public const int MostPorts = 4_096;

    /// <summary>Of cluster IPs the API allows one of each family; the rest are addresses outside of the cluster.</summary>
    public const int MostAddresses = 64;

    /// <summary>Endpoints times ports times addresses: about the number of rules.</summary>
    public const int MostPairs = 500_000;

    /// <returns>What is beyond its bound; null: nothing.</returns>
    public static string? Fault(Service service, ListedEndpoints endpoints)
    {
        var ports = service.Spec.Ports;
        if (ports.Length > MostPorts)
            return $"it has {ports.Length} ports, and {MostPorts} are the most that are handled";
        var addresses = ServiceAddresses.Count(service);
        if (addresses > MostAddresses)
            return $"it has {addresses} addresses, and {MostAddresses} are the most that are handled";
        long pairs = 0;
        foreach (var port in ports)
            pairs += endpoints.CountFor(port) * addresses;
        return pairs > MostPairs
            ? $"its ports have {pairs} endpoints in all, and {MostPairs} are the most that are handled; split the service"
            : null;
    }

    public static string? LocalFault(ListedEndpoints endpoints) => endpoints.CountLocal() is var count and > MostPairs
        ? $"it lists {count} endpoints on this node, and no peer reaches any of them: {MostPairs} are the most"
        : null;
}
