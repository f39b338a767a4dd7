using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter;

/// <summary>One portal: connections to <see cref="Key"/> go to <see cref="Target"/>.
/// Two rules that are the same object are taken as equal, so a planner that keeps unchanged rules makes a sync cheap.</summary>
public sealed record PortalRule
{
    /// <summary>The destination that it catches.</summary>
    public required TransportAddress Key { get; init; }

    /// <summary>Shown beside the rule; for a Kubernetes service port <c>NAMESPACE/NAME:PORTNAME</c>.</summary>
    public required string Comment { get; init; }

    public required PortalTarget Target { get; init; }

    /// <summary>The same without the clients that need this process.</summary>
    public PortalRule WithoutListener() =>
        Target is PortalTarget.Backends { ThroughListener.IsEmpty: false } backends ? this with { Target = backends with { ThroughListener = [] } } : this;
}

/// <summary>Where a portal leads.</summary>
public abstract record PortalTarget
{
    private PortalTarget()
    {
    }

    /// <summary>To the user-mode listener of the portal's family. In force only while the heartbeat is fresh.</summary>
    public sealed record Listener : PortalTarget
    {
        public static Listener Instance { get; } = new();
    }

    /// <summary>The client is refused at once: TCP RST, ICMP port unreachable for the rest.
    /// In force only while the heartbeat is fresh, since nobody is there to learn of a new endpoint.</summary>
    public sealed record Refused : PortalTarget
    {
        public static Refused Instance { get; } = new();
    }

    /// <summary>In the kernel, to one of the backends. Stands without this process.</summary>
    public sealed record Backends : PortalTarget
    {
        public required ImmutableArray<InetEndpoint> Endpoints { get; init; }

        public required BackendChoice Choice { get; init; }

        /// <summary>Those of <see cref="Endpoints"/> that run on this machine, whose own connections can come back to
        /// themselves and then need masquerading. Default: any of them may, which costs three rules an endpoint where one would do.</summary>
        public ImmutableArray<InetEndpoint> Local { get; init; }

        /// <summary>Clients whose connections go to the listener instead, while it lives: the kernel could not bring them to an endpoint.</summary>
        public ImmutableArray<InetAddress> ThroughListener { get; init; } = [];

        /// <summary>For <see cref="BackendChoice.ClientAffinity"/>: how long an idle client keeps its backend.</summary>
        public TimeSpan AffinityTimeout { get; init; }
    }
}

public enum BackendChoice
{
    RoundRobin,
    Random,

    /// <summary>A client address keeps its first backend until it has been idle for the time-out.</summary>
    ClientAffinity,

    /// <summary>A hash of the client's address.</summary>
    SourceHash,
}

/// <summary>Everything that is to stand in the kernel for one address family.</summary>
public sealed record FamilyPortals
{
    public required IpFamily Family { get; init; }

    /// <summary>Where <see cref="PortalTarget.Listener"/> leads; its address is on a device of ours.</summary>
    public required InetEndpoint Listener { get; init; }

    /// <summary>In the order in which the rules shall be shown.</summary>
    public required ImmutableArray<PortalRule> Rules { get; init; }

    public MasqueradePolicy Masquerade { get; init; } = MasqueradePolicy.HairpinOnly;

    /// <summary>Null: what conntrack calls invalid is left alone.</summary>
    public InvalidGuard? Invalid { get; init; }

    /// <summary>Connections of the kernel path are accepted at the end of FORWARD, whose policy is to drop; iptables only.</summary>
    public bool AcceptForwarded { get; init; }

    /// <summary>What was redirected to the listener is accepted at the end of INPUT, whose policy is to drop; iptables only.</summary>
    public bool AcceptListener { get; init; }

    /// <summary>How long portals stay in force after an agent was last there: endpoints move on, and rules that still lead to
    /// the old ones would be a black hole. Whole seconds.</summary>
    public TimeSpan Lease { get; init; } = TimeSpan.FromMinutes(15);
}

/// <summary>TCP packets that conntrack calls invalid are not translated back. Passed on as they are, they would make a client
/// reset its connection, so they are dropped: those from endpoints of the kernel path, and those to service addresses.</summary>
/// <param name="Endpoints">Networks that cover the endpoints.</param>
/// <param name="Services">Networks that cover the addresses of the services.</param>
public sealed record InvalidGuard(ImmutableArray<IPNetwork> Endpoints, ImmutableArray<IPNetwork> Services)
{
    public bool IsSameAs(InvalidGuard? other) =>
        other is not null && Endpoints.AsSpan().SequenceEqual(other.Endpoints.AsSpan()) && Services.AsSpan().SequenceEqual(other.Services.AsSpan());
}
