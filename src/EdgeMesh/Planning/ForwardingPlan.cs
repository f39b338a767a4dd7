using System.Collections.Immutable;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Hosts;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;

namespace EdgeMesh.Planning;

/// <summary>What the user allows: <c>modules.edgeProxy.dataPath</c>.</summary>
public enum DataPath
{
    /// <summary>In the kernel whatever the kernel can express, the rest through the listener.</summary>
    Auto,

    /// <summary>Everything through the listener.</summary>
    Userspace,

    /// <summary>In the kernel; what the kernel cannot express is left to kube-proxy.</summary>
    Kernel,
}

/// <summary>How connections to one address and port are brought to an endpoint.</summary>
public enum ForwardingPath
{
    /// <summary>Redirected to the user-mode listener.</summary>
    Listener,

    /// <summary>Forwarded by the kernel straight to an endpoint.</summary>
    Kernel,

    /// <summary>There is no endpoint: the client is refused at once.</summary>
    Refused,

    /// <summary>No rule of ours; kube-proxy has it.</summary>
    NotCaught,
}

/// <summary>What the plan depends on besides the catalog.</summary>
public sealed record PlanningOptions
{
    public DataPath DataPath { get; init; } = DataPath.Auto;

    public BalancingPolicy Policy { get; init; } = BalancingPolicy.RoundRobin;

    /// <summary>Where each family's listener is; a family that is missing here is not caught.</summary>
    public required ImmutableSortedDictionary<IpFamily, InetEndpoint> Listeners { get; init; }

    /// <summary>How the rule backend can choose among endpoints.</summary>
    public required ImmutableHashSet<BackendChoice> KernelChoices { get; init; }

    /// <summary>What this host's kernel can carry.</summary>
    public HostCarriages Host { get; init; } = HostCarriages.Unasked;

    /// <summary>How long rules stay in force after an agent was last there.</summary>
    public TimeSpan Lease { get; init; } = TimeSpan.FromMinutes(15);

    /// <summary>Whether every service is planned as under the other options; the rules around them may differ.</summary>
    public bool PlansServicesAs(PlanningOptions? other) =>
        ReferenceEquals(this, other)
        || (other is not null && this with { Host = other.Host } == other
            && Host.IPv4.PlansServicesAs(other.Host.IPv4) && Host.IPv6.PlansServicesAs(other.Host.IPv6));
}

/// <summary>One service port at one of its addresses: how it is caught, where it goes, and why so.</summary>
public sealed record PlannedPort
{
    public required CatalogPort Port { get; init; }

    public required CatchAddress Address { get; init; }

    public IpFamily Family => Address.Address.Family;

    public required ForwardingPath Path { get; init; }

    /// <summary>Shown by <c>status</c> beside <see cref="Path"/>.</summary>
    public required string Reason { get; init; }

    public PortalRule? Rule { get; init; }

    public TransportAddress CaughtAt { get; init; }

    public Route? Route { get; init; }
}

public sealed record PlannedService(CatalogService Service, ImmutableArray<PlannedPort> Ports);

/// <summary>Everything that is to be in force, as values. Equal inputs give equal plans.</summary>
public sealed record ForwardingPlan
{
    public required ImmutableArray<PlannedService> Services { get; init; }

    public required ImmutableArray<FamilyPortals> Portals { get; init; }

    public required RouteTable Routes { get; init; }

    /// <summary>The few networks that cover every address at which services are caught.</summary>
    public required ImmutableDictionary<IpFamily, ImmutableArray<System.Net.IPNetwork>> CaughtNetworks { get; init; }

    public ImmutableArray<System.Net.IPNetwork> ServiceNetworks(IpFamily family) => CaughtNetworks.GetValueOrDefault(family, []);

    public static ForwardingPlan Empty { get; } = new() { Services = [], Portals = [], Routes = RouteTable.Empty, CaughtNetworks = ImmutableDictionary<IpFamily, ImmutableArray<System.Net.IPNetwork>>.Empty };
}
