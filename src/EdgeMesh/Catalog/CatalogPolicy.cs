using System.Collections.Immutable;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Catalog;

/// <summary>What the presence of the label <see cref="CatalogLabels.FilterLabel"/> means.</summary>
public enum ServiceFilterMode
{
    /// <summary>Labelled services are left to kube-proxy.</summary>
    FilterIfLabelExists,

    /// <summary>Only labelled services are handled.</summary>
    FilterIfLabelDoesNotExists,
}

/// <summary>What the user chose: which services are handled, and seen from which node.</summary>
public sealed record CatalogPolicy
{
    public ServiceFilterMode FilterMode { get; init; } = ServiceFilterMode.FilterIfLabelExists;

    public ImmutableHashSet<ObjectName> ExcludedServices { get; init; } = [];

    public AddressKinds AddressKinds { get; init; } = AddressKinds.All;

    public required string NodeName { get; init; }

    /// <summary>What is not caught or dialled because of this node.</summary>
    public ProtectedAddresses Protected { get; init; } = ProtectedAddresses.None;

    /// <summary>Whether <see cref="CatalogLabels.AllowAddressAnnotation"/> counts: only where the objects are files that an
    /// administrator of this node wrote.</summary>
    public bool HonoursAllowAddress { get; init; }
}

/// <summary>The labels that decide who handles a service and what belongs to it.</summary>
public static class CatalogLabels
{
    /// <summary>Presence counts, the value does not: both "" and "edgemesh" are in use.</summary>
    public const string FilterLabel = "service.edgemesh.kubeedge.io/service-proxy-name";

    /// <summary>Kubernetes' own way to hand a service to another proxy; its value names that proxy.</summary>
    public const string ProxyNameLabel = "service.kubernetes.io/service-proxy-name";

    public const string ProxyName = "edgemesh";

    public const string HeadlessLabel = "service.kubernetes.io/headless";

    /// <summary>On a Service of a manifest: a list of words for the kinds of address that are allowed all the same.</summary>
    public const string AllowAddressAnnotation = "edgemesh.kubeedge.io/allow-address";

    public const string ZoneLabel = "topology.kubernetes.io/zone";
}
