using System.Collections.Immutable;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Hosts;

/// <summary>How this node tells its own pods from other clients: <c>modules.edgeProxy.detectLocal</c>.</summary>
public enum LocalDetection
{
    /// <summary>By everything that is known.</summary>
    Auto,

    /// <summary>By the ranges in this node's Node object.</summary>
    PodCidr,

    /// <summary>By its bridges and by the devices of its pods.</summary>
    Bridge,

    /// <summary>By <c>modules.edgeProxy.clusterCIDR</c>.</summary>
    ClusterCidr,
}

/// <summary>What the decision depends on besides the host.</summary>
public sealed record HostPolicy
{
    public LocalDetection Detection { get; init; } = LocalDetection.Auto;

    public ImmutableArray<AddressRange> ClusterRanges { get; init; } = [];

    /// <summary>Node.spec.podCIDRs; empty where nobody says.</summary>
    public ImmutableArray<AddressRange> PodRanges { get; init; } = [];

    public bool MasqueradeAll { get; init; }

    /// <summary>The agent's own addresses.</summary>
    public ImmutableArray<InetAddress> Listeners { get; init; } = [];

    /// <summary>Which table's FORWARD chain rules of ours can stand in: iptables on the nft or on the legacy backend; null: in none.</summary>
    public bool? OwnFilterIsLegacy { get; init; }
}

/// <summary>Why a family's connections take the way that they take. The names are shown by <c>status</c>.</summary>
public enum HostCode
{
    /// <summary>The kernel carries them as they are.</summary>
    Carries,

    /// <summary>The kernel carries them with rules of ours that this host makes necessary.</summary>
    CarriesWithRules,

    /// <summary>This node does not forward packets.</summary>
    NotForwarding,

    /// <summary>Somebody else's rules drop what is forwarded, as far as can be known.</summary>
    ForwardDropped,

    /// <summary>Somebody else's rules drop both what is forwarded and what goes to this node itself, as far as can be known.</summary>
    Shut,

    /// <summary>Nobody has looked.</summary>
    Unknown,
}

/// <param name="Sentence">Which rule keeps others from it.</param>
public readonly record struct ShutRange(AddressRange Range, string Sentence);

/// <summary>What the kernel of this host can carry for one family, and what it needs for it.</summary>
public sealed record HostCarriage
{
    /// <summary>For tests and for a planner that is not told: the kernel path without a rule that a host would need.</summary>
    public static HostCarriage Unasked { get; } = new() { Code = HostCode.Carries, Sentence = "every endpoint is reached directly" };

    public required HostCode Code { get; init; }

    /// <summary>For <c>status</c>; says what was found.</summary>
    public required string Sentence { get; init; }

    public bool Carries => Code is HostCode.Carries or HostCode.CarriesWithRules;

    public MasqueradePolicy Masquerade { get; init; } = MasqueradePolicy.HairpinOnly;

    /// <summary>An endpoint inside of these that asks its own service goes through the listener: the kernel cannot bring
    /// the connection back to where it came from.</summary>
    public ImmutableArray<AddressRange> SelfThroughListener { get; init; } = [];

    /// <summary>Addresses behind this node's bridges of pods: an endpoint there runs here, whatever name this node is thought to have.</summary>
    public ImmutableArray<AddressRange> BridgedPods { get; init; } = [];

    /// <summary>Endpoints that somebody's rule keeps from all who are not behind the same bridge. kube-proxy's rules bring them other machines all the
    /// same, by accepting what they masquerade before all others; through the agent, nothing is forwarded at all.</summary>
    public ImmutableArray<ShutRange> ShutPods { get; init; } = [];

    /// <summary>FORWARD drops by its policy, and a rule of ours at its end lets our own connections through.</summary>
    public bool AcceptForwarded { get; init; }

    /// <summary>The same for INPUT and the listener.</summary>
    public bool AcceptListener { get; init; }

    /// <summary>Whose rules may drop what goes to this node itself, so that the listener cannot be counted on; null: nobody's.</summary>
    public string? ListenerShutBy { get; init; }

    /// <summary>The node has no default route, so its own requests to a service address need one.</summary>
    public bool NeedsServiceRoute { get; init; }

    /// <summary>What an operator can do something about.</summary>
    public ImmutableArray<string> Notices { get; init; } = [];

    public bool GoesThroughListener(InetAddress endpoint) => IsInside(SelfThroughListener, endpoint);

    /// <returns>Why the kernel cannot bring everybody to the endpoint; null: nothing is known against it.</returns>
    public string? WhyShut(InetAddress endpoint)
    {
        foreach (var shut in ShutPods)
        {
            if (shut.Range.Contains(endpoint))
                return shut.Sentence;
        }

        return null;
    }

    public bool IsBehindBridge(InetAddress endpoint) => IsInside(BridgedPods, endpoint);

    /// <summary>Whether services go the same ways; what else differs concerns rules that all of them share.</summary>
    public bool PlansServicesAs(HostCarriage other) =>
        Carries == other.Carries && ListenerShutBy == other.ListenerShutBy && (Carries || Sentence == other.Sentence)
        && SelfThroughListener.AsSpan().SequenceEqual(other.SelfThroughListener.AsSpan()) && BridgedPods.AsSpan().SequenceEqual(other.BridgedPods.AsSpan())
        && ShutPods.AsSpan().SequenceEqual(other.ShutPods.AsSpan());

    public bool IsSameAs(HostCarriage other) =>
        Code == other.Code && PlansServicesAs(other) && Sentence == other.Sentence && Masquerade.IsSameAs(other.Masquerade)
        && AcceptForwarded == other.AcceptForwarded && AcceptListener == other.AcceptListener && NeedsServiceRoute == other.NeedsServiceRoute
        && Notices.AsSpan().SequenceEqual(other.Notices.AsSpan());

    private static bool IsInside(ImmutableArray<AddressRange> ranges, InetAddress address)
    {
        foreach (var range in ranges)
        {
            if (range.Contains(address))
                return true;
        }

        return false;
    }
}

/// <summary>Both families.</summary>
public sealed record HostCarriages(HostCarriage IPv4, HostCarriage IPv6)
{
    public static HostCarriages Unasked { get; } = new(HostCarriage.Unasked, HostCarriage.Unasked);

    public HostCarriage Of(IpFamily family) => family == IpFamily.IPv6 ? IPv6 : IPv4;

    public bool IsSameAs(HostCarriages other) => IPv4.IsSameAs(other.IPv4) && IPv6.IsSameAs(other.IPv6);
}
