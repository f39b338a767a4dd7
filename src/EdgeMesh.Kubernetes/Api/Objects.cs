using System.Collections.Immutable;

namespace EdgeMesh.Kubernetes.Api;

// The parts of core/v1 and discovery.k8s.io/v1 that a service proxy reads, with the API's own names.
// Everything else in an object is skipped while reading.

public readonly record struct ObjectName(string Namespace, string Name)
{
    public override string ToString() => $"{Namespace}/{Name}";
}

public sealed record ObjectMeta
{
    public string Name { get; init; } = "";

    public string Namespace { get; init; } = "";

    public string? Uid { get; init; }

    public string? ResourceVersion { get; init; }

    public ImmutableDictionary<string, string> Labels { get; init; } = ImmutableDictionary<string, string>.Empty;
}

public abstract record KubernetesObject
{
    public ObjectMeta Metadata { get; init; } = new();

    public ObjectName Key => new(Metadata.Namespace, Metadata.Name);
}

public sealed record Service : KubernetesObject
{
    public ServiceSpec Spec { get; init; } = new();
}

public sealed record ServiceSpec
{
    public string? Type { get; init; }

    public string? ClusterIP { get; init; }

    public ImmutableArray<string> ClusterIPs { get; init; } = [];

    public ImmutableArray<string> ExternalIPs { get; init; } = [];

    public ImmutableArray<ServicePort> Ports { get; init; } = [];

    public string? SessionAffinity { get; init; }

    public SessionAffinityConfig? SessionAffinityConfig { get; init; }

    public string? InternalTrafficPolicy { get; init; }

    public string? ExternalTrafficPolicy { get; init; }
}

public sealed record ServicePort
{
    public string? Name { get; init; }

    public string? Protocol { get; init; }

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
    public string? AddressType { get; init; }

    public ImmutableArray<EndpointPort> Ports { get; init; } = [];

    public ImmutableArray<Endpoint> Endpoints { get; init; } = [];
}

public sealed record EndpointPort
{
    public string? Name { get; init; }

    public string? Protocol { get; init; }

    public int? Port { get; init; }
}

public sealed record Endpoint
{
    public ImmutableArray<string> Addresses { get; init; } = [];

    public EndpointConditions? Conditions { get; init; }

    public string? NodeName { get; init; }

    public string? Zone { get; init; }

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
    public ImmutableArray<HintName> ForZones { get; init; } = [];

    public ImmutableArray<HintName> ForNodes { get; init; } = [];
}

public sealed record HintName
{
    public string Name { get; init; } = "";
}

/// <summary>core/v1 Endpoints: deprecated since 1.33, and still what an edge node has to use.</summary>
public sealed record Endpoints : KubernetesObject
{
    public ImmutableArray<EndpointSubset> Subsets { get; init; } = [];
}

public sealed record EndpointSubset
{
    public ImmutableArray<SubsetAddress> Addresses { get; init; } = [];

    public ImmutableArray<SubsetAddress> NotReadyAddresses { get; init; } = [];

    public ImmutableArray<EndpointPort> Ports { get; init; } = [];
}

public sealed record SubsetAddress
{
    public string Ip { get; init; } = "";

    public string? NodeName { get; init; }
}

/// <summary>core/v1 Node, for its topology labels only.</summary>
public sealed record Node : KubernetesObject;
