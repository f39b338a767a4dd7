using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Kubernetes.Watching;

/// <summary>Which objects of a kind are wanted: sent to the server, and checked on arrival because a metaServer's local
/// database ignores part of it.</summary>
internal sealed record Selection
{
    // kube-proxy also selects on !service.kubernetes.io/service-proxy-name. We do not: a service whose value names us is
    // ours, requirements of a selector cannot be OR-ed, so the catalog decides on that label.
    private const string HeadlessLabel = "service.kubernetes.io/headless";

    public const string NotHeadless = "!" + HeadlessLabel;

    public string? Labels { get; init; }

    public string? Fields { get; init; }

    /// <summary>Null: as <see cref="Labels"/>. Two clients of a metaServer with the same watch share one upstream, and
    /// when one ends its watch the other's falls silent; a requirement that is always true makes ours our own.</summary>
    public string? WatchLabels { get; init; }

    /// <summary>Everything that has a name is wanted.</summary>
    public bool ForNames { get; init; }

    /// <summary>Quirks of a metaServer apply.</summary>
    public bool AtMetaServer { get; init; }

    public bool Wants(KubernetesObject value)
    {
        // The API's own service: its endpoints are not reachable from the edge, and catching it would cut the agent off.
        return ForNames || (!value.Metadata.Labels.ContainsKey(HeadlessLabel)
            && !(AtMetaServer && value.Metadata is { Name: "kubernetes", Namespace: "default" }));
    }

    /// <summary>Current metaServers list every EndpointSlice with the single endpoint 127.0.0.1, which no API server accepts.</summary>
    public bool LooksCorrupted(KubernetesObject value) =>
        AtMetaServer && value is EndpointSlice { Endpoints: [{ Addresses: ["127.0.0.1"] }] };

    /// <summary>The service that a slice belongs to; null: none that is handled.</summary>
    public static ObjectName? ServiceOf(EndpointSlice slice) =>
        !slice.Metadata.Labels.ContainsKey(HeadlessLabel) && slice.Metadata.Labels.TryGetValue(EndpointSlice.ServiceNameLabel, out var service)
            ? new ObjectName(slice.Metadata.Namespace, service)
            : null;
}
