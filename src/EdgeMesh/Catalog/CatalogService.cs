using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Catalog;

/// <summary>Why a service is, or is not, handled by this agent.</summary>
public enum Handling
{
    Handled,
    Headless,
    ExternalName,
    Labelled,
    NotLabelled,
    Excluded,
    OtherProxy,
    NoClusterIP,
    NoPorts,
    AddressTaken,

    /// <summary>It may be caught at none of its addresses; see the faults.</summary>
    AddressRefused,

    /// <summary>Beyond what one service may cost; see the faults.</summary>
    TooLarge,
}

/// <summary>What kind of address catches the traffic of a service port.</summary>
public enum CatchKind
{
    ClusterIP,
    ExternalIP,
    LoadBalancerIP,
    NodePort,
}

/// <summary>One address at which a service port is reached.</summary>
public readonly record struct CatchAddress(CatchKind Kind, InetAddress Address)
{
    /// <summary>Why it is not caught, although it could be; null: it is.</summary>
    public string? LeftBecause { get; init; }
}

/// <summary>Which addresses of services are taken from kube-proxy: <c>modules.edgeProxy.addressKinds</c>.</summary>
[Flags]
public enum AddressKinds
{
    None = 0,
    ClusterIP = 1,
    ExternalIP = 2,
    LoadBalancerIP = 4,
    All = ClusterIP | ExternalIP | LoadBalancerIP,
}

/// <summary>One place that serves a service port.</summary>
/// <param name="Node">Name of the node it runs on; null where nobody said.</param>
/// <param name="IsLocal">It runs on this agent's node.</param>
public readonly record struct ServiceEndpoint(InetEndpoint Address, string? Node, bool IsLocal);

/// <summary>Which endpoints of a service port are in use, in words that <c>status</c> shows.</summary>
public enum EndpointChoice
{
    /// <summary>Every ready endpoint.</summary>
    AllReady,

    /// <summary>None is ready; those that terminate but still serve.</summary>
    ServingWhileTerminating,

    /// <summary>Those whose hints name this node.</summary>
    NodeHints,

    /// <summary>Those whose hints name this node's zone.</summary>
    ZoneHints,

    /// <summary>internalTrafficPolicy: Local.</summary>
    LocalOnly,

    /// <summary>No usable endpoint.</summary>
    None,
}

/// <summary>One port of a handled service, with those of its addresses that lead to the same endpoints. Immutable; the same reference
/// means that nothing changed.</summary>
/// <remarks>Endpoints are chosen per address family, as kube-proxy does, and once for addresses inside and once for those outside of the
/// cluster where the service has a policy for one of the two.</remarks>
public sealed record CatalogPort
{
    public required ServicePortName Name { get; init; }

    public required ushort Port { get; init; }

    public required ImmutableArray<CatchAddress> Addresses { get; init; }

    /// <summary>Usable endpoints of both families in a stable order.</summary>
    public required ImmutableArray<ServiceEndpoint> Endpoints { get; init; }

    /// <summary>How they were chosen; where the families differ, IPv4's choice unless IPv4 has no endpoint.</summary>
    public required EndpointChoice Choice { get; init; }

    /// <summary>sessionAffinity: ClientIP, with its time-out; null: none.</summary>
    public TimeSpan? ClientIPAffinity { get; init; }
}

/// <summary>One service as this agent sees it.</summary>
public sealed record CatalogService
{
    public required ObjectName Name { get; init; }

    public required Handling Handling { get; init; }

    /// <summary>Empty unless <see cref="Catalog.Handling.Handled"/>.</summary>
    public ImmutableArray<CatalogPort> Ports { get; init; } = [];

    /// <summary>What is wrong with the objects, for an operator; empty when nothing is.</summary>
    public ImmutableArray<string> Faults { get; init; } = [];

    /// <summary>The order of a catalog: by namespace, then by name, both ordinal.</summary>
    public static int CompareNames(ObjectName a, ObjectName b)
    {
        var byNamespace = string.CompareOrdinal(a.Namespace, b.Namespace);
        return byNamespace != 0 ? byNamespace : string.CompareOrdinal(a.Name, b.Name);
    }
}

/// <summary>Every service of the cluster, handled or not and why, ordered by namespace and name.</summary>
public sealed record ServiceCatalog(ImmutableArray<CatalogService> Services)
{
    public static ServiceCatalog Empty { get; } = new([]);

    /// <summary>Endpoints of all services, handled or not, that run on this node and are ready or still serve.</summary>
    public ImmutableHashSet<TransportAddress> LocalEndpoints { get; init; } = [];
}
