using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Netfilter;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Hosts;

/// <summary>Pure: from what the host is like to what its kernel can carry, and with which rules of ours. What is not known
/// goes through the listener, which needs nothing but that this node answers its own address; where that is in doubt too, it is left
/// to kube-proxy.</summary>
public static class HostDecision
{
    private const int ShownRanges = 4;

    public static HostCarriages Decide(HostFacts facts, HostPolicy policy)
    {
        ArgumentNullException.ThrowIfNull(facts);
        ArgumentNullException.ThrowIfNull(policy);
        return new HostCarriages(Decide(facts.IPv4, policy, ipv6: false), Decide(facts.IPv6, policy, ipv6: true));
    }

    /// <summary>A host that could not be looked at.</summary>
    public static HostCarriages Unknown(string why)
    {
        var carriage = new HostCarriage
        {
            Code = HostCode.Unknown,
            Sentence = "what this host's kernel can carry is not known",
            Masquerade = MasqueradePolicy.Except([], []),
            Notices = [$"this host could not be looked at, so that services go through the agent: {why}"],
        };
        return new HostCarriages(carriage, carriage);
    }

    private static HostCarriage Decide(HostFamilyFacts facts, HostPolicy policy, bool ipv6)
    {
        var family = ipv6 ? "IPv6" : "IPv4";
        var locals = Locals(facts, policy, ipv6);
        var split = facts.Bridges.Where(bridge => !bridge.IsFiltered).ToImmutableArray();
        var withoutHairpin = facts.Bridges.Where(bridge => bridge is { IsFiltered: true, Hairpin: false }).ToImmutableArray();
        var blocked = facts.Blockers.Where(chain => chain.Hook == FilterHook.Forward).ToImmutableArray();
        var closed = facts.Blockers.Where(chain => chain.Hook == FilterHook.Input).ToImmutableArray();
        var ourTurn = blocked.Length == 1 && CanAccept(blocked[0], policy);
        var opens = closed.Length == 1 && CanAccept(closed[0], policy);
        if (opens)
            closed = [];
        var notices = closed.IsEmpty
            ? ImmutableArray<string>.Empty
            : [$"{family}: {Names(closed)} drops what no rule accepts on the way in, so that services that need the agent are left to kube-proxy, unless only the tunnel reaches their endpoints; add a rule there that names and accepts the destination {string.Join(", ", policy.Listeners.Where(address => address.IsIPv6 == ipv6).Select(address => address.ToIPAddress()))}"];
        var carriage = new HostCarriage
        {
            Code = HostCode.Carries,
            Sentence = "every endpoint is reached directly",
            Masquerade = policy.MasqueradeAll
                ? MasqueradePolicy.Everything
                : MasqueradePolicy.Except(Networks(locals), [.. split.SelectMany(bridge => Untranslated(bridge, facts.Bridges))]),
            SelfThroughListener = [.. withoutHairpin.SelectMany(bridge => bridge.Ranges)],
            BridgedPods = [.. facts.Bridges.SelectMany(bridge => bridge.Ranges)],
            ShutPods = [.. facts.ShutBridges.SelectMany(shut => facts.Bridges.Where(bridge => bridge.Name == shut.Device).SelectMany(bridge => bridge.Ranges)
                .Select(range => new ShutRange(range, $"a rule in {shut.Chain} drops what is forwarded to {shut.Device} from elsewhere")))],
            AcceptForwarded = ourTurn,
            AcceptListener = opens,
            ListenerShutBy = closed.IsEmpty ? null : Names(closed),
            NeedsServiceRoute = !facts.HasDefaultRoute,
            Notices = notices,
        };
        if (!facts.NotForwarding.IsEmpty)
        {
            return carriage with
            {
                Code = HostCode.NotForwarding,
                Sentence = facts.NotForwarding is ["all"]
                    ? $"this node does not forward {family} (net.{(ipv6 ? "ipv6.conf.all.forwarding" : "ipv4.ip_forward")} is 0)"
                    : $"this node does not forward {family} that comes by {string.Join(", ", facts.NotForwarding.Take(ShownRanges))}",
            };
        }

        if (!blocked.IsEmpty && !ourTurn)
        {
            var sentence = $"{Names(blocked)} drops what it does not know when this node forwards it";
            return closed.IsEmpty
                ? carriage with { Code = HostCode.ForwardDropped, Sentence = sentence }
                : carriage with { Code = HostCode.Shut, Sentence = $"{sentence}, and {Names(closed)} when it comes in" };
        }

        var rules = new List<string>();
        var shared = split.SelectMany(bridge => facts.Bridges.Where(other => other != bridge && other.SharesPodsWith(bridge)).Select(other => $"from {bridge.Name} to {other.Name}")).ToImmutableArray();
        if (!split.IsEmpty)
            rules.Add($"connections inside of {string.Join(", ", split.Select(bridge => bridge.Name))} are masqueraded, since their answers do not pass netfilter");
        if (!shared.IsEmpty)
            rules.Add($"so are those {string.Join(", ", shared)}, since pods that stand on both answer past this node");
        if (!withoutHairpin.IsEmpty)
            rules.Add($"a pod behind {string.Join(", ", withoutHairpin.Select(bridge => bridge.Name))} that asks its own service goes through the agent, since the bridge has no hairpin mode");
        if (ourTurn)
            rules.Add($"a rule at the end of {blocked[0].Name} accepts them, since its policy is to drop");
        if (opens)
            rules.Add("a rule at the end of INPUT accepts what goes to the agent, since its policy is to drop");
        return rules.Count == 0
            ? carriage
            : carriage with { Code = HostCode.CarriesWithRules, Sentence = $"every endpoint is reached directly; {string.Join("; ", rules)}" };
    }

    /// <summary>Where connections of pods on this bridge lead whose answers would come back through the bridge, and not by here: to others on it, and to
    /// those on another bridge that some pod stands on too.</summary>
    private static IEnumerable<(IPNetwork From, IPNetwork To)> Untranslated(PodBridge bridge, ImmutableArray<PodBridge> all)
    {
        var from = Networks(bridge.Ranges);
        return from.Select(range => (range, range))
            .Concat(from.SelectMany(range => all.Where(other => other != bridge && other.SharesPodsWith(bridge)).SelectMany(other => Networks(other.Ranges)).Select(to => (range, to))));
    }

    private static bool CanAccept(FilterChain chain, HostPolicy policy) =>
        policy.OwnFilterIsLegacy == chain.IsLegacy && chain is { EndsInDrop: false, Table: "filter", Name: "FORWARD" or "INPUT", Family: "ip" or "ip6" };

    private static ImmutableArray<AddressRange> Locals(HostFamilyFacts facts, HostPolicy policy, bool ipv6)
    {
        IEnumerable<AddressRange> seen = [.. facts.Bridges.SelectMany(bridge => bridge.Ranges), .. facts.RoutedPods];
        var ranges = policy.Detection switch
        {
            LocalDetection.PodCidr => policy.PodRanges,
            LocalDetection.Bridge => seen,
            LocalDetection.ClusterCidr => policy.ClusterRanges,
            _ => [.. policy.ClusterRanges, .. policy.PodRanges, .. seen],
        };
        return Outermost(ranges.Where(range => range.Address.IsIPv6 == ipv6));
    }

    /// <summary>Without those that are inside of others.</summary>
    private static ImmutableArray<AddressRange> Outermost(IEnumerable<AddressRange> ranges)
    {
        var kept = ImmutableArray.CreateBuilder<AddressRange>();
        foreach (var range in ranges.Select(range => range with { Address = range.Network }).OrderBy(range => range.PrefixLength).ThenBy(range => range.Address.Bits))
        {
            if (!kept.Any(wider => wider.Contains(range.Address)))
                kept.Add(range);
        }

        return kept.DrainToImmutable();
    }

    private static ImmutableArray<IPNetwork> Networks(IEnumerable<AddressRange> ranges) =>
        [.. ranges.Select(range => new IPNetwork(range.Network.ToIPAddress(), range.PrefixLength))];

    private static string Names(ImmutableArray<FilterChain> chains) =>
        chains.Length <= ShownRanges ? string.Join(", ", chains) : $"{string.Join(", ", chains.Take(ShownRanges))} and {chains.Length - ShownRanges} more chains";
}
