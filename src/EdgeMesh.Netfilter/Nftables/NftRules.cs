using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>The rules of each chain, written as <c>nft -nn list</c> prints them, so that a listing can be compared with them.</summary>
internal static class NftRules
{
    // Before -100, where kube-proxy in nftables mode and every iptables nat table sit: the first nat mapping wins.
    public const int PortalPriority = -105;

    // Before 100 (srcnat), for the same reason.
    public const int MasqueradePriority = 95;

    // Before 0, where filters are that accept by other signs than conntrack's.
    public const int GuardPriority = -5;

    // NF_CT_STATE_INVALID_BIT; `nft -nn list` prints numbers.
    private const string Invalid = "ct state 0x1 meta l4proto 6";

    private static readonly string OwnMark = $"0x{PacketMarks.Own:x8}";
    private static readonly string MasqueradeMark = $"0x{PacketMarks.Masquerade:x8}";

    // Fixed, so that a client keeps its endpoint over a restart of the agent.
    private const string HashSeed = "0x65646765";

    public static string Ip(IpFamily family) => family == IpFamily.IPv4 ? "ip" : "ip6";

    public static string AddressType(IpFamily family) => family == IpFamily.IPv4 ? "ipv4_addr" : "ipv6_addr";

    /// <summary>A hook's first line in a listing.</summary>
    public static string Hook(string chain)
    {
        var (type, priority) = chain switch
        {
            NftNames.Postrouting => ("nat", MasqueradePriority),
            NftNames.Forward or NftNames.Input => ("filter", GuardPriority),
            _ => ("nat", PortalPriority),
        };
        return $"type {type} hook {chain} priority {priority}; policy accept;";
    }

    /// <summary>What is in the set of the lease when it is made.</summary>
    public static string LeaseElements(TimeSpan lease) =>
        string.Join(", ", Enum.GetValues<TransportProtocol>().Select(protocol => $"{(int)protocol} timeout {(long)lease.TotalSeconds}s"));

    public static ImmutableArray<string> Prerouting(IpFamily family) => [WithoutLease, Lookup(family)];

    public static ImmutableArray<string> Output(IpFamily family) =>
        [$"meta mark & {OwnMark} == {OwnMark} return", WithoutLease, Lookup(family)];

    public static ImmutableArray<string> Postrouting(IpFamily family, MasqueradePolicy policy)
    {
        const string masquerade = "masquerade fully-random";
        var ip = Ip(family);
        string[] ours = [$"meta mark & {MasqueradeMark} != {MasqueradeMark} return", $"meta mark set meta mark ^ {MasqueradeMark}"];
        if (policy.All)
            return [.. ours, masquerade];
        var hairpin = $"{ip} saddr . {ip} daddr @{NftNames.Hairpin} {masquerade}";
        return policy.DependsOnAddresses
            ?
            [
                .. ours,
                hairpin,
                .. policy.Inside.Select(networks => $"{Of(family, "saddr", networks.From)}{Of(family, "daddr", networks.To)}{masquerade}"),
                .. policy.Local.Select(network => $"{Of(family, "saddr", network)}return"),
                masquerade,
            ]
            : [.. ours, hairpin];
    }

    /// <summary>For both hooks: what comes back to a masqueraded client comes to this node itself.</summary>
    public static ImmutableArray<string> Guard(IpFamily family, InvalidGuard guard) =>
    [
        $"{Invalid} {Ip(family)} saddr . {Ip(family)} saddr @{NftNames.Hairpin} drop",
        .. guard.Services.Select(network => $"{Invalid} {Of(family, "daddr", network)}drop"),
    ];

    /// <summary>Redirects while the heartbeat is fresh; else the chain ends, and the connection goes on to kube-proxy's rules.</summary>
    public static ImmutableArray<string> WhileAlive(InetEndpoint to) =>
        [.. Enum.GetValues<TransportProtocol>().Select(protocol =>
            $"meta l4proto {(int)protocol} meta l4proto @{NftNames.Alive} dnat to {to}")];

    /// <summary>A service port whose endpoints are slots of a backend map.</summary>
    public static ImmutableArray<string> Slots(IpFamily family, TransportProtocol protocol, BackendChoice choice, int count, int offset, string map, bool markAll, ImmutableArray<InetAddress> throughListener)
    {
        var ip = Ip(family);
        var index = choice switch
        {
            BackendChoice.RoundRobin => $"numgen inc mod {count}",
            BackendChoice.Random => $"numgen random mod {count}",
            BackendChoice.SourceHash => $"jhash {ip} saddr mod {count} seed {HashSeed}",
            _ => throw new ArgumentOutOfRangeException(nameof(choice), choice, "Affinity has chains of its own."),
        };
        var at = offset == 0 ? string.Empty : $" offset {offset}";
        return [.. ToListener(family, throughListener), MarkForMasquerade(family, markAll), $"meta l4proto {(int)protocol} dnat {ip} to {index}{at} map @{map}"];
    }

    /// <summary>A service port whose clients keep their endpoint: known clients first, then the next endpoint in turn.</summary>
    public static ImmutableArray<string> Affinity(IpFamily family, IReadOnlyList<string> endpointNames, bool markAll, ImmutableArray<InetAddress> throughListener) =>
    [
        .. ToListener(family, throughListener),
        MarkForMasquerade(family, markAll),
        .. endpointNames.Select(name => $"{Ip(family)} saddr @{NftNames.AffinityPrefix}{name} goto ep-{name}"),
        endpointNames.Count == 1
            ? $"goto ep-{endpointNames[0]}"
            : $"numgen inc mod {endpointNames.Count} vmap {{ {string.Join(", ", endpointNames.Select((name, i) => $"{i} : goto ep-{name}"))} }}",
    ];

    /// <summary>Two rules, because a full set fails the update and with it the rest of its rule.</summary>
    public static ImmutableArray<string> AffinityEndpoint(IpFamily family, TransportProtocol protocol, InetEndpoint endpoint, string name) =>
    [
        $"update @{NftNames.AffinityPrefix}{name} {{ {Ip(family)} saddr }}",
        $"meta l4proto {(int)protocol} dnat to {endpoint}",
    ];

    private static string WithoutLease => $"meta l4proto != @{NftNames.Lease} return";

    private static string Lookup(IpFamily family) => $"{Ip(family)} daddr . meta l4proto . th dport vmap @{NftNames.Portals}";

    private static IEnumerable<string> ToListener(IpFamily family, ImmutableArray<InetAddress> clients) =>
        clients.Select(client => $"{Ip(family)} saddr {client} goto {NftNames.Listener}");

    /// <summary>As a listing prints it: one address without its length, and everything not at all.</summary>
    private static string Of(IpFamily family, string field, IPNetwork network) => network.PrefixLength switch
    {
        0 => "",
        32 when family == IpFamily.IPv4 => $"ip {field} {network.BaseAddress} ",
        128 => $"ip6 {field} {network.BaseAddress} ",
        _ => $"{Ip(family)} {field} {network} ",
    };

    // Only an endpoint's own connections can come back to it; postrouting looks whether this one did.
    private static string MarkForMasquerade(IpFamily family, bool all)
    {
        var mark = $"meta mark set meta mark | {MasqueradeMark}";
        return all ? mark : $"{Ip(family)} saddr . {Ip(family)} saddr @{NftNames.Hairpin} {mark}";
    }
}
