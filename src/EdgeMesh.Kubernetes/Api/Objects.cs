using System.Collections.Immutable;

namespace EdgeMesh.Kubernetes.Api;

// The parts of core/v1 and discovery.k8s.io/v1 that a service proxy reads, with the API's own names. Everything else in an
// object is skipped while reading. An object is set by its schema and never changed after.

public readonly record struct ObjectName(string Namespace, string Name)
{
    public override string ToString() => $"{Namespace}/{Name}";
}

public sealed record ObjectMeta
{
    public string Name { get; internal set; } = "";

    public string Namespace { get; internal set; } = "";

    public string? Uid { get; internal set; }

    public string? ResourceVersion { get; internal set; }

    /// <summary>Only those of <see cref="KeptWords.Labels"/>; the others are dropped while reading.</summary>
    public ImmutableDictionary<string, string> Labels { get; internal set; } = ImmutableDictionary<string, string>.Empty;

    /// <summary>Only those of <see cref="KeptWords.Annotations"/>.</summary>
    public ImmutableDictionary<string, string> Annotations { get; internal set; } = ImmutableDictionary<string, string>.Empty;

    internal static Schema<ObjectMeta> Schema { get; } = new(() => new())
    {
        { "name", JsonShapes.Text, o => o.Name, (ref o, v) => o.Name = v ?? "" },
        { "namespace", JsonShapes.SharedText, o => o.Namespace, (ref o, v) => o.Namespace = v ?? "" },
        { "uid", JsonShapes.Text, o => o.Uid, (ref o, v) => o.Uid = v },
        { "resourceVersion", JsonShapes.Text, o => o.ResourceVersion, (ref o, v) => o.ResourceVersion = v },
        { "labels", KeptWords.Labels, o => o.Labels, (ref o, v) => o.Labels = v },
        { "annotations", KeptWords.Annotations, o => o.Annotations, (ref o, v) => o.Annotations = v },
    };
}

public abstract record KubernetesObject
{
    public ObjectMeta Metadata { get; internal set; } = new();

    public ObjectName Key => new(Metadata.Namespace, Metadata.Name);
}

public sealed record Service : KubernetesObject
{
    /// <summary>By which the cluster's DNS is known, whatever its service is called: <c>kube-dns</c>.</summary>
    public const string AppLabel = "k8s-app";

    public ServiceSpec Spec { get; internal set; } = new();

    public ServiceStatus? Status { get; internal set; }

    internal static ObjectSchema<Service> Schema { get; } = new(() => new())
    {
        { "spec", JsonShapes.Object(ServiceSpec.Schema), o => o.Spec, (ref o, v) => o.Spec = v ?? new() },
        { "status", JsonShapes.Value(ServiceStatus.Schema), o => o.Status, (ref o, v) => o.Status = v },
    };
}

public sealed record ServiceSpec
{
    public ImmutableArray<ServicePort> Ports { get; internal set; } = [];

    public string? ClusterIP { get; internal set; }

    public ImmutableArray<string> ClusterIPs { get; internal set; } = [];

    public string? Type { get; internal set; }

    public ImmutableArray<string> ExternalIPs { get; internal set; } = [];

    /// <summary>Who may come by an address of the load balancer; empty: everybody.</summary>
    public ImmutableArray<string> LoadBalancerSourceRanges { get; internal set; } = [];

    public string? SessionAffinity { get; internal set; }

    public string? ExternalTrafficPolicy { get; internal set; }

    public SessionAffinityConfig? SessionAffinityConfig { get; internal set; }

    public string? InternalTrafficPolicy { get; internal set; }

    /// <summary>Of a service of type ExternalName: the name that stands behind it.</summary>
    public string? ExternalName { get; internal set; }

    internal static Schema<ServiceSpec> Schema { get; } = new(() => new())
    {
        { "ports", JsonShapes.List(ServicePort.Schema), o => o.Ports, (ref o, v) => o.Ports = v },
        { "clusterIP", JsonShapes.Text, o => o.ClusterIP, (ref o, v) => o.ClusterIP = v },
        { "clusterIPs", JsonShapes.Texts, o => o.ClusterIPs, (ref o, v) => o.ClusterIPs = v },
        { "type", JsonShapes.SharedText, o => o.Type, (ref o, v) => o.Type = v },
        { "externalIPs", JsonShapes.Texts, o => o.ExternalIPs, (ref o, v) => o.ExternalIPs = v },
        { "loadBalancerSourceRanges", JsonShapes.Texts, o => o.LoadBalancerSourceRanges, (ref o, v) => o.LoadBalancerSourceRanges = v },
        { "sessionAffinity", JsonShapes.SharedText, o => o.SessionAffinity, (ref o, v) => o.SessionAffinity = v },
        { "externalTrafficPolicy", JsonShapes.SharedText, o => o.ExternalTrafficPolicy, (ref o, v) => o.ExternalTrafficPolicy = v },
        { "sessionAffinityConfig", JsonShapes.Object(SessionAffinityConfig.Schema), o => o.SessionAffinityConfig, (ref o, v) => o.SessionAffinityConfig = v },
        { "internalTrafficPolicy", JsonShapes.SharedText, o => o.InternalTrafficPolicy, (ref o, v) => o.InternalTrafficPolicy = v },
        { "externalName", JsonShapes.Text, o => o.ExternalName, (ref o, v) => o.ExternalName = v },
    };
}

public record struct ServiceStatus
{
    public LoadBalancerStatus? LoadBalancer { get; internal set; }

    internal static Schema<ServiceStatus> Schema { get; } = new(() => default)
    {
        { "loadBalancer", JsonShapes.Value(LoadBalancerStatus.Schema), o => o.LoadBalancer, (ref o, v) => o.LoadBalancer = v },
    };
}

public record struct LoadBalancerStatus()
{
    public ImmutableArray<LoadBalancerIngress> Ingress { get; internal set; } = [];

    internal static Schema<LoadBalancerStatus> Schema { get; } = new(() => new())
    {
        { "ingress", JsonShapes.List(LoadBalancerIngress.Schema), o => o.Ingress, (ref o, v) => o.Ingress = v },
    };
}

public sealed record LoadBalancerIngress
{
    public string? IP { get; internal set; }

    /// <summary>VIP, which is also what none means: packets come with this destination. Proxy: they come to the node's own addresses.</summary>
    public string? IPMode { get; internal set; }

    internal static Schema<LoadBalancerIngress> Schema { get; } = new(() => new())
    {
        { "ip", JsonShapes.Text, o => o.IP, (ref o, v) => o.IP = v },
        { "ipMode", JsonShapes.SharedText, o => o.IPMode, (ref o, v) => o.IPMode = v },
    };
}

public sealed record ServicePort
{
    public string? Name { get; internal set; }

    public string? Protocol { get; internal set; }

    public string? AppProtocol { get; internal set; }

    public int Port { get; internal set; }

    public int NodePort { get; internal set; }

    internal static Schema<ServicePort> Schema { get; } = new(() => new())
    {
        { "name", JsonShapes.SharedText, o => o.Name, (ref o, v) => o.Name = v },
        { "protocol", JsonShapes.SharedText, o => o.Protocol, (ref o, v) => o.Protocol = v },
        { "appProtocol", JsonShapes.SharedText, o => o.AppProtocol, (ref o, v) => o.AppProtocol = v },
        { "port", JsonShapes.Number, o => o.Port, (ref o, v) => o.Port = v },
        { "nodePort", JsonShapes.Number, o => o.NodePort, (ref o, v) => o.NodePort = v },
    };
}

public sealed record SessionAffinityConfig
{
    public ClientIPConfig? ClientIP { get; internal set; }

    internal static Schema<SessionAffinityConfig> Schema { get; } = new(() => new())
    {
        { "clientIP", JsonShapes.Object(ClientIPConfig.Schema), o => o.ClientIP, (ref o, v) => o.ClientIP = v },
    };
}

public sealed record ClientIPConfig
{
    public int? TimeoutSeconds { get; internal set; }

    internal static Schema<ClientIPConfig> Schema { get; } = new(() => new())
    {
        { "timeoutSeconds", JsonShapes.OptionalNumber, o => o.TimeoutSeconds, (ref o, v) => o.TimeoutSeconds = v },
    };
}

public sealed record EndpointSlice : KubernetesObject
{
    /// <summary>Names the service that a slice belongs to.</summary>
    public const string ServiceNameLabel = "kubernetes.io/service-name";

    /// <summary>IPv4, IPv6 or FQDN.</summary>
    public string? AddressType { get; internal set; }

    public ImmutableArray<Endpoint> Endpoints { get; internal set; } = [];

    public ImmutableArray<EndpointPort> Ports { get; internal set; } = [];

    internal static ObjectSchema<EndpointSlice> Schema { get; } = new(() => new())
    {
        { "addressType", JsonShapes.SharedText, o => o.AddressType, (ref o, v) => o.AddressType = v },
        { "endpoints", JsonShapes.List(Endpoint.Schema), o => o.Endpoints, (ref o, v) => o.Endpoints = v },
        { "ports", JsonShapes.List(EndpointPort.Schema), o => o.Ports, (ref o, v) => o.Ports = v },
    };
}

public sealed record EndpointPort
{
    public string? Name { get; internal set; }

    public int? Port { get; internal set; }

    public string? Protocol { get; internal set; }

    internal static Schema<EndpointPort> Schema { get; } = new(() => new())
    {
        { "name", JsonShapes.SharedText, o => o.Name, (ref o, v) => o.Name = v },
        { "port", JsonShapes.OptionalNumber, o => o.Port, (ref o, v) => o.Port = v },
        { "protocol", JsonShapes.SharedText, o => o.Protocol, (ref o, v) => o.Protocol = v },
    };
}

public sealed record Endpoint
{
    public ImmutableArray<string> Addresses { get; internal set; } = [];

    public EndpointConditions? Conditions { get; internal set; }

    public string? NodeName { get; internal set; }

    public string? Zone { get; internal set; }

    public string? Hostname { get; internal set; }

    public EndpointHints? Hints { get; internal set; }

    internal static Schema<Endpoint> Schema { get; } = new(() => new())
    {
        { "addresses", JsonShapes.Texts, o => o.Addresses, (ref o, v) => o.Addresses = v },
        { "conditions", JsonShapes.Value(EndpointConditions.Schema), o => o.Conditions, (ref o, v) => o.Conditions = v },
        { "nodeName", JsonShapes.SharedText, o => o.NodeName, (ref o, v) => o.NodeName = v },
        { "zone", JsonShapes.SharedText, o => o.Zone, (ref o, v) => o.Zone = v },
        { "hostname", JsonShapes.Text, o => o.Hostname, (ref o, v) => o.Hostname = v },
        { "hints", JsonShapes.Object(EndpointHints.Schema), o => o.Hints, (ref o, v) => o.Hints = v },
    };
}

public record struct EndpointConditions
{
    public bool? Ready { get; internal set; }

    public bool? Serving { get; internal set; }

    public bool? Terminating { get; internal set; }

    internal static Schema<EndpointConditions> Schema { get; } = new(() => default)
    {
        { "ready", JsonShapes.Flag, o => o.Ready, (ref o, v) => o.Ready = v },
        { "serving", JsonShapes.Flag, o => o.Serving, (ref o, v) => o.Serving = v },
        { "terminating", JsonShapes.Flag, o => o.Terminating, (ref o, v) => o.Terminating = v },
    };
}

public sealed record EndpointHints
{
    public ImmutableArray<HintName> ForZones { get; internal set; } = [];

    public ImmutableArray<HintName> ForNodes { get; internal set; } = [];

    internal static Schema<EndpointHints> Schema { get; } = new(() => new())
    {
        { "forZones", JsonShapes.List(HintName.Schema), o => o.ForZones, (ref o, v) => o.ForZones = v },
        { "forNodes", JsonShapes.List(HintName.Schema), o => o.ForNodes, (ref o, v) => o.ForNodes = v },
    };
}

public sealed record HintName
{
    public string Name { get; internal set; } = "";

    internal static Schema<HintName> Schema { get; } = new(() => new())
    {
        { "name", JsonShapes.SharedText, o => o.Name, (ref o, v) => o.Name = v ?? "" },
    };
}

/// <summary>core/v1 Endpoints: deprecated since 1.33, and still what an edge node has to use.</summary>
public sealed record Endpoints : KubernetesObject
{
    public ImmutableArray<EndpointSubset> Subsets { get; internal set; } = [];

    internal static ObjectSchema<Endpoints> Schema { get; } = new(() => new())
    {
        { "subsets", JsonShapes.List(EndpointSubset.Schema), o => o.Subsets, (ref o, v) => o.Subsets = v },
    };
}

public sealed record EndpointSubset
{
    public ImmutableArray<SubsetAddress> Addresses { get; internal set; } = [];

    public ImmutableArray<SubsetAddress> NotReadyAddresses { get; internal set; } = [];

    public ImmutableArray<EndpointPort> Ports { get; internal set; } = [];

    internal static Schema<EndpointSubset> Schema { get; } = new(() => new())
    {
        { "addresses", JsonShapes.List(SubsetAddress.Schema), o => o.Addresses, (ref o, v) => o.Addresses = v },
        { "notReadyAddresses", JsonShapes.List(SubsetAddress.Schema), o => o.NotReadyAddresses, (ref o, v) => o.NotReadyAddresses = v },
        { "ports", JsonShapes.List(EndpointPort.Schema), o => o.Ports, (ref o, v) => o.Ports = v },
    };
}

public sealed record SubsetAddress
{
    public string Ip { get; internal set; } = "";

    public string? NodeName { get; internal set; }

    public string? Hostname { get; internal set; }

    internal static Schema<SubsetAddress> Schema { get; } = new(() => new())
    {
        { "ip", JsonShapes.Text, o => o.Ip, (ref o, v) => o.Ip = v ?? "" },
        { "hostname", JsonShapes.Text, o => o.Hostname, (ref o, v) => o.Hostname = v },
        { "nodeName", JsonShapes.SharedText, o => o.NodeName, (ref o, v) => o.NodeName = v },
    };
}

/// <summary>core/v1 Node, for its topology labels and the addresses of its pods.</summary>
public sealed record Node : KubernetesObject
{
    public NodeSpec Spec { get; internal set; } = new();

    internal static ObjectSchema<Node> Schema { get; } = new(() => new())
    {
        { "spec", JsonShapes.Object(NodeSpec.Schema), o => o.Spec, (ref o, v) => o.Spec = v ?? new() },
    };
}

/// <summary>That it exists is all that is asked.</summary>
public sealed record Namespace : KubernetesObject
{
    internal static ObjectSchema<Namespace> Schema { get; } = new(() => new());
}

public sealed record NodeSpec
{
    public string PodCidr { get; internal set; } = "";

    public ImmutableArray<string> PodCidrs { get; internal set; } = [];

    /// <summary>The older field stands alone where the newer one is missing.</summary>
    public ImmutableArray<string> Ranges => !PodCidrs.IsEmpty ? PodCidrs : PodCidr.Length > 0 ? [PodCidr] : [];

    internal static Schema<NodeSpec> Schema { get; } = new(() => new())
    {
        { "podCIDR", JsonShapes.Text, o => o.PodCidr, (ref o, v) => o.PodCidr = v ?? "" },
        { "podCIDRs", JsonShapes.Texts, o => o.PodCidrs, (ref o, v) => o.PodCidrs = v },
    };
}
