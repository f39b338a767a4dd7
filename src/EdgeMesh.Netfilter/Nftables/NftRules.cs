using System.Collections.Immutable;
using System.Net;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>The rules of each chain, written as <c>nft -nn list</c> prints them, so that a listing can be compared with them.</summary>
internal static class NftRules
{
    // Before -100, where kube-proxy in nftables mode and every iptables nat table sit: the first nat mapping wins.
    public const int PortalPriority = -105;

    // Before 100 (srcnat), for the same reason.
    public const int MasqueradePriority = 95;

    private const string OwnMark = "0x00001000";
    private const string MasqueradeMark = "0x00002000";

    /// <summary><see cref="MasqueradeMark"/> as a number.</summary>
    public const uint MasqueradeBit = 0x2000;

    // Fixed, so that a client keeps its endpoint over a restart of the agent.
    private const string HashSeed = "0x65646765";

    public static string Ip(IpFamily family) => family == IpFamily.IPv4 ? "ip" : "ip6";

    public static string AddressType(IpFamily family) => family == IpFamily.IPv4 ? "ipv4_addr" : "ipv6_addr";

    /// <summary>A hook's first line in a listing.</summary>
    public static string Hook(string chain)
    {
        var priority = chain == NftNames.Postrouting ? MasqueradePriority : PortalPriority;
        return $"type nat hook {chain} priority {priority}; policy accept;";
    }

    /// <summary>What is in the set of the lease when it is made.</summary>
    public static string LeaseElements(TimeSpan lease) =>
        string.Join(", ", Enum.GetValues<PortalProtocol>().Select(protocol => $"{NftNames.ProtocolNumber(protocol)} timeout {(long)lease.TotalSeconds}s"));

    public static ImmutableArray<string> Prerouting(IpFamily family) => [WithoutLease, Lookup(family)];

    public static ImmutableArray<string> Output(IpFamily family) =>
        [$"meta mark & {OwnMark} == {OwnMark} return", WithoutLease, Lookup(family)];

    public static ImmutableArray<string> Postrouting(IpFamily family, bool masqueradeAll) =>
    [
        $"meta mark & {MasqueradeMark} != {MasqueradeMark} return",
        $"meta mark set meta mark ^ {MasqueradeMark}",
        masqueradeAll ? "masquerade fully-random" : $"{Ip(family)} saddr . {Ip(family)} daddr @{NftNames.Hairpin} masquerade fully-random",
    ];

    /// <summary>Redirects while the heartbeat is fresh; else the chain ends, and the connection goes on to kube-proxy's rules.</summary>
    public static ImmutableArray<string> WhileAlive(IPEndPoint to) =>
        [.. Enum.GetValues<PortalProtocol>().Select(protocol =>
            $"meta l4proto {NftNames.ProtocolNumber(protocol)} meta l4proto @{NftNames.Alive} dnat to {to}")];

    /// <summary>A service port whose endpoints are slots of a backend map.</summary>
    public static ImmutableArray<string> Slots(IpFamily family, PortalProtocol protocol, BackendChoice choice, int count, int offset, string map, bool masqueradeAll)
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
        return [MarkForMasquerade(family, masqueradeAll), $"meta l4proto {NftNames.ProtocolNumber(protocol)} dnat {ip} to {index}{at} map @{map}"];
    }

    /// <summary>A service port whose clients keep their endpoint: known clients first, then the next endpoint in turn.</summary>
    public static ImmutableArray<string> Affinity(IpFamily family, IReadOnlyList<string> endpointNames, bool masqueradeAll) =>
    [
        MarkForMasquerade(family, masqueradeAll),
        .. endpointNames.Select(name => $"{Ip(family)} saddr @{NftNames.AffinityPrefix}{name} goto ep-{name}"),
        endpointNames.Count == 1
            ? $"goto ep-{endpointNames[0]}"
            : $"numgen inc mod {endpointNames.Count} vmap {{ {string.Join(", ", endpointNames.Select((name, i) => $"{i} : goto ep-{name}"))} }}",
    ];

    /// <summary>Two rules, because a full set fails the update and with it the rest of its rule.</summary>
    public static ImmutableArray<string> AffinityEndpoint(IpFamily family, PortalProtocol protocol, IPEndPoint endpoint, string name) =>
    [
        $"update @{NftNames.AffinityPrefix}{name} {{ {Ip(family)} saddr }}",
        $"meta l4proto {NftNames.ProtocolNumber(protocol)} dnat to {endpoint}",
    ];

    private static string WithoutLease => $"meta l4proto != @{NftNames.Lease} return";

    private static string Lookup(IpFamily family) => $"{Ip(family)} daddr . meta l4proto . th dport vmap @{NftNames.Portals}";

    // Only an endpoint's own connections can come back to it; postrouting looks whether this one did.
    private static string MarkForMasquerade(IpFamily family, bool all)
    {
        var mark = $"meta mark set meta mark | {MasqueradeMark}";
        return all ? mark : $"{Ip(family)} saddr . {Ip(family)} saddr @{NftNames.Hairpin} {mark}";
    }
}
