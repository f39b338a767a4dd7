using System.Collections.Immutable;
using System.Text.Json.Serialization;

namespace EdgeMesh.Kubernetes.Api;

// The parts of core/v1 and discovery.k8s.io/v1 that a service proxy reads, with the API's own names.
// Everything else in an object is skipped while reading.
// Setters turn null and default into the empty value: generated deserialization passes those for absent members,
// and the API itself writes "endpoints": null for an empty slice.

public readonly record struct ObjectName(string Namespace, string Name)
{
    public override string ToString() => $"{Namespace}/{Name}";
}

public sealed record ObjectMeta
{
    public string Name { get; init => field = value ?? ""; } = "";

    [JsonConverter(typeof(SharedString))]
    public string Namespace { get; init => field = value ?? ""; } = "";

    public string? Uid { get; init; }

    public string? ResourceVersion { get; init; }

    /// <summary>Only the labels that <see cref="KeptLabels"/> names; the others are dropped while reading.</summary>
    [JsonConverter(typeof(KeptLabels))]
    public ImmutableDictionary<string, string> Labels { get; init => field = value ?? ImmutableDictionary<string, string>.Empty; } = ImmutableDictionary<string, string>.Empty;

    /// <summary>Only the annotations that <see cref="KeptAnnotations"/> names.</summary>
    [JsonConverter(typeof(KeptAnnotations))]
    public ImmutableDictionary<string, string> Annotations { get; init => field = value ?? ImmutableDictionary<string, string>.Empty; } = ImmutableDictionary<string, string>.Empty;
}

public abstract record KubernetesObject
{
    public ObjectMeta Metadata { get; init => field = value ?? new(); } = new();

    [JsonIgnore]
    public ObjectName Key => new(Metadata.Namespace, Metadata.Name);
}

public sealed record Service : KubernetesObject
{
    public ServiceSpec Spec { get; init => field = value ?? new(); } = new();
}

public sealed record ServiceSpec
{
    [JsonConverter(typeof(SharedString))]
    public string? Type { get; init; }

    public string? ClusterIP { get; init; }

    public ImmutableArray<string> ClusterIPs { get; init => field = value.IsDefault ? [] : value; } = [];

    public ImmutableArray<string> ExternalIPs { get; init => field = value.IsDefault ? [] : value; } = [];

    public ImmutableArray<ServicePort> Ports { get; init => field = value.IsDefault ? [] : value; } = [];

    [JsonConverter(typeof(SharedString))]
    public string? SessionAffinity { get; init; }

    public SessionAffinityConfig? SessionAffinityConfig { get; init; }

    [JsonConverter(typeof(SharedString))]
    public string? InternalTrafficPolicy { get; init; }

    [JsonConverter(typeof(SharedString))]
    public string? ExternalTrafficPolicy { get; init; }

    public string? ExternalName { get; init; }
}

public sealed record ServicePort
{
    [JsonConverter(typeof(SharedString))]
    public string? Name { get; init; }

    [JsonConverter(typeof(SharedString))]
    public string? Protocol { get; init; }

    [JsonConverter(typeof(SharedString))]
    public string? AppProtocol { get; init; }

    public int Port { get; init; }

    public int NodePort { get; init; }
}

public sealed record SessionAffinityConfig
{
    public ClientIPConfig? ClientIP { get; init; }
}

public sealed record ClientIPConfig
{
    public int? TimeoutSeconds { get; init; }
}

public sealed record EndpointSlice : KubernetesObject
{
    /// <summary>IPv4, IPv6 or FQDN.</summary>
    [JsonConverter(typeof(SharedString))]
    public string? AddressType { get; init; }

    public ImmutableArray<EndpointPort> Ports { get; init => field = value.IsDefault ? [] : value; } = [];

    public ImmutableArray<Endpoint> Endpoints { get; init => field = value.IsDefault ? [] : value; } = [];
}

public sealed record EndpointPort
{
    [JsonConverter(typeof(SharedString))]
    public string? Name { get; init; }

    [JsonConverter(typeof(SharedString))]
    public string? Protocol { get; init; }

    public int? Port { get; init; }
}

public sealed record Endpoint
{
    public ImmutableArray<string> Addresses { get; init => field = value.IsDefault ? [] : value; } = [];

    [JsonConverter(typeof(SharedConditions))]
    public EndpointConditions? Conditions { get; init; }

    [JsonConverter(typeof(SharedString))]
    public string? NodeName { get; init; }

    [JsonConverter(typeof(SharedString))]
    public string? Zone { get; init; }

    public string? Hostname { get; init; }

    public EndpointHints? Hints { get; init; }
}

public sealed record EndpointConditions
{
    public bool? Ready { get; init; }

    public bool? Serving { get; init; }

    public bool? Terminating { get; init; }
}

public sealed record EndpointHints
{
    public ImmutableArray<HintName> ForZones { get; init => field = value.IsDefault ? [] : value; } = [];

    public ImmutableArray<HintName> ForNodes { get; init => field = value.IsDefault ? [] : value; } = [];
}

public sealed record HintName
{
    [JsonConverter(typeof(SharedString))]
    public string Name { get; init => field = value ?? ""; } = "";
}

/// <summary>core/v1 Endpoints: deprecated since 1.33, and still what an edge node has to use.</summary>
public sealed record Endpoints : KubernetesObject
{
    public ImmutableArray<EndpointSubset> Subsets { get; init => field = value.IsDefault ? [] : value; } = [];
}

public sealed record EndpointSubset
{
    public ImmutableArray<SubsetAddress> Addresses { get; init => field = value.IsDefault ? [] : value; } = [];

    public ImmutableArray<SubsetAddress> NotReadyAddresses { get; init => field = value.IsDefault ? [] : value; } = [];

    public ImmutableArray<EndpointPort> Ports { get; init => field = value.IsDefault ? [] : value; } = [];
}

public sealed record SubsetAddress
{
    public string Ip { get; init => field = value ?? ""; } = "";

    public string? Hostname { get; init; }

    [JsonConverter(typeof(SharedString))]
    public string? NodeName { get; init; }
}

/// <summary>core/v1 Node, for its topology labels and the addresses of its pods.</summary>
public sealed record Node : KubernetesObject
{
    public NodeSpec Spec { get; init => field = value ?? new(); } = new();
}

public sealed record NodeSpec
{
    [JsonPropertyName("podCIDR")]
    public string PodCidr { get; init => field = value ?? ""; } = "";

    [JsonPropertyName("podCIDRs")]
    public ImmutableArray<string> PodCidrs { get; init => field = value.IsDefault ? [] : value; } = [];

    /// <summary>The older field stands alone where the newer one is missing.</summary>
    [JsonIgnore]
    public ImmutableArray<string> Ranges => !PodCidrs.IsEmpty ? PodCidrs : PodCidr.Length > 0 ? [PodCidr] : [];
}
