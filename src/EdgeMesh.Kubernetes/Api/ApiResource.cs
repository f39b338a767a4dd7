using System.Text.Json.Serialization.Metadata;

namespace EdgeMesh.Kubernetes.Api;

/// <summary>One kind of object as the API serves it.</summary>
internal sealed record ApiResource<T>(string Group, string Version, string Plural, string Kind, JsonTypeInfo<T> Json)
    where T : KubernetesObject
{
    /// <summary>As written in apiVersion: <c>v1</c> or <c>discovery.k8s.io/v1</c>.</summary>
    public string ApiVersion => Group.Length == 0 ? Version : $"{Group}/{Version}";

    /// <summary>Relative to the server's base address, over all namespaces.</summary>
    public string ListPath => Group.Length == 0 ? $"api/{Version}/{Plural}" : $"apis/{Group}/{Version}/{Plural}";

    public string ListKind => Kind + "List";
}

internal static class ApiResources
{
    public static ApiResource<Service> Services { get; } = new("", "v1", "services", "Service", ObjectJson.Default.Service);

    public static ApiResource<EndpointSlice> EndpointSlices { get; } = new("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", ObjectJson.Default.EndpointSlice);

    public static ApiResource<Endpoints> Endpoints { get; } = new("", "v1", "endpoints", "Endpoints", ObjectJson.Default.Endpoints);

    public static ApiResource<Node> Nodes { get; } = new("", "v1", "nodes", "Node", ObjectJson.Default.Node);
}
