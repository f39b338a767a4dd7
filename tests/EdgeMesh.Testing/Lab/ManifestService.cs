using System.Collections.Immutable;
using System.Text;

namespace EdgeMesh.Testing.Lab;

/// <summary>A port of a service and where it leads.</summary>
public sealed record ManifestPort(string Name, int Port, int TargetPort, string Protocol = "TCP");

/// <summary>A Service and its EndpointSlices, one per address family, as manifests.</summary>
public sealed record ManifestService
{
    public const string FilterLabel = "service.edgemesh.kubeedge.io/service-proxy-name";

    public string Namespace { get; init; } = "demo";

    public required string Name { get; init; }

    public required ImmutableArray<string> ClusterIPs { get; init; }

    public required ImmutableArray<ManifestPort> Ports { get; init; }

    public ImmutableArray<string> Endpoints { get; init; } = [];

    /// <summary>On which node an endpoint runs; peer-node where nothing is said.</summary>
    public ImmutableDictionary<string, string> Nodes { get; init; } = ImmutableDictionary<string, string>.Empty;

    public ImmutableSortedDictionary<string, string> Labels { get; init; } = ImmutableSortedDictionary<string, string>.Empty;

    public ImmutableArray<string> ExternalIPs { get; init; } = [];

    /// <summary>Those that a load balancer gave it; with any, it is of that type.</summary>
    public ImmutableArray<string> LoadBalancerIPs { get; init; } = [];

    public string ExternalTrafficPolicy { get; init; } = "Cluster";

    /// <summary>Seconds; null: no affinity.</summary>
    public int? ClientAffinitySeconds { get; init; }

    /// <summary>The service with the filter label, or without.</summary>
    public ManifestService Labelled(bool yes) =>
        this with { Labels = yes ? Labels.SetItem(FilterLabel, "") : Labels.Remove(FilterLabel) };

    public string ToYaml()
    {
        var yaml = new StringBuilder();
        yaml.Append("apiVersion: v1\nkind: Service\nmetadata:\n");
        yaml.Append($"  name: {Name}\n  namespace: {Namespace}\n");
        if (Labels.Count > 0)
        {
            yaml.Append("  labels:\n");
            foreach (var (key, value) in Labels)
                yaml.Append($"    {key}: \"{value}\"\n");
        }

        if (!LoadBalancerIPs.IsEmpty)
            yaml.Append($"status: {{loadBalancer: {{ingress: [{string.Join(", ", LoadBalancerIPs.Select(ip => $"{{ip: \"{ip}\"}}"))}]}}}}\n");
        yaml.Append($"spec:\n  type: {(LoadBalancerIPs.IsEmpty ? "ClusterIP" : "LoadBalancer")}\n  clusterIP: \"{ClusterIPs[0]}\"\n  clusterIPs: [{string.Join(", ", ClusterIPs.Select(ip => $"\"{ip}\""))}]\n");
        if (!ExternalIPs.IsEmpty)
            yaml.Append($"  externalIPs: [{string.Join(", ", ExternalIPs.Select(ip => $"\"{ip}\""))}]\n");
        if (!ExternalIPs.IsEmpty || !LoadBalancerIPs.IsEmpty)
            yaml.Append($"  externalTrafficPolicy: {ExternalTrafficPolicy}\n");
        if (ClientAffinitySeconds is { } seconds)
            yaml.Append($"  sessionAffinity: ClientIP\n  sessionAffinityConfig: {{clientIP: {{timeoutSeconds: {seconds}}}}}\n");
        yaml.Append("  ports:\n");
        foreach (var port in Ports)
            yaml.Append($"  - {{name: \"{port.Name}\", port: {port.Port}, targetPort: {port.TargetPort}, protocol: {port.Protocol}}}\n");

        foreach (var (family, suffix) in (ReadOnlySpan<(string, string)>)[("IPv4", "v4"), ("IPv6", "v6")])
        {
            var addresses = Endpoints.Where(address => address.Contains(':', StringComparison.Ordinal) == (family == "IPv6")).ToArray();
            if (addresses.Length == 0)
                continue;
            yaml.Append("---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n");
            yaml.Append($"  name: {Name}-{suffix}\n  namespace: {Namespace}\n  labels:\n    kubernetes.io/service-name: {Name}\n");
            yaml.Append($"addressType: {family}\nports:\n");
            foreach (var port in Ports)
                yaml.Append($"- {{name: \"{port.Name}\", port: {port.TargetPort}, protocol: {port.Protocol}}}\n");
            yaml.Append("endpoints:\n");
            foreach (var address in addresses)
                yaml.Append($"- {{addresses: [\"{address}\"], conditions: {{ready: true}}, nodeName: {Nodes.GetValueOrDefault(address, "peer-node")}}}\n");
        }

        return yaml.ToString();
    }
}
