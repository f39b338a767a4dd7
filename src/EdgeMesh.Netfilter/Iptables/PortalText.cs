using System.Net;
using System.Net.Sockets;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>Portals as rules: pure, and the only place where a portal becomes text.</summary>
internal static class PortalText
{
    public static readonly string OwnMark = Bit(PacketMarks.Own);
    public static readonly string MasqueradeMark = Bit(PacketMarks.Masquerade);

    /// <summary>On the kernel path, to be looked at when it leaves. Not <see cref="MasqueradeMark"/>: on iptables that one says
    /// that it is decided, and CNI's portmap plug-in masquerades whatever carries it.</summary>
    public static readonly string KernelMark = Bit(PacketMarks.KernelPath);

    private static readonly string EitherMark = $"0x0/0x{PacketMarks.Masquerade | PacketMarks.KernelPath:x}";

    private static readonly TimeSpan DefaultAffinity = TimeSpan.FromSeconds(10_800);

    /// <summary>The agent's own connections, to endpoints and to services alike, are never caught.</summary>
    public static Rule OwnTraffic { get; } = new($"-m mark --mark {OwnMark} -j RETURN");

    /// <summary>Ends the chain for everybody once the list has not been refreshed for 4 s. Mask 0 makes every packet look up
    /// the one entry 0.0.0.0 (or ::), which the data path writes each second; the kernel forgets it without anybody's help.</summary>
    public static Rule Heartbeat(IpFamily family) => new(
        $"-m recent ! --rcheck --seconds 4 --name edgemesh-alive --mask {(family == IpFamily.IPv4 ? "0.0.0.0" : "::")} --rdest"
        + " -m comment --comment \"rules below are in force only while edgemesh-agent lives\" -j RETURN");

    /// <summary>As <see cref="Heartbeat"/>, for the rules that stand without the agent, but only for so long.</summary>
    public static Rule Lease(IpFamily family, TimeSpan lease) => new(
        $"-m recent ! --rcheck --seconds {(long)lease.TotalSeconds} --name edgemesh-lease --mask {(family == IpFamily.IPv4 ? "0.0.0.0" : "::")} --rdest"
        + $" -m comment --comment \"rules below are in force for {(long)lease.TotalSeconds} s without edgemesh-agent\" -j RETURN");

    public static IEnumerable<Rule> Postrouting(MasqueradePolicy policy, IptablesCapabilities capabilities) =>
        policy.DependsOnAddresses ? PostroutingByAddress(policy) : PostroutingByMark(capabilities);

    /// <summary>The first rule that matches decides.</summary>
    private static IEnumerable<Rule> PostroutingByAddress(MasqueradePolicy policy) =>
    [
        new($"-m mark --mark {EitherMark} -j RETURN"),
        new($"-m mark --mark {MasqueradeMark} -g {ChainNames.Masquerade}"),
        // Cleared, so that a packet that passes twice (encapsulation) is looked at once.
        new("-j MARK --set-xmark 0x0/0x40"),
        .. policy.Inside.Select(networks => new Rule($"{Of("-s", networks.From)}{Of("-d", networks.To)}-g {ChainNames.Masquerade}")),
        .. policy.Local.Select(network => new Rule($"{Of("-s", network)}-j RETURN")),
        new($"-g {ChainNames.Masquerade}"),
    ];

    public static IEnumerable<Rule> Masquerade(IptablesCapabilities capabilities) =>
    [
        new($"-j MARK --set-xmark {EitherMark}"),
        new("-m comment --comment \"edgemesh: masquerade what comes from elsewhere than from pods here\" -j MASQUERADE" + (capabilities.RandomFully ? " --random-fully" : "")),
    ];

    /// <summary>For clients whose connections the kernel cannot bring to an endpoint.</summary>
    public static IEnumerable<Rule> ToListener(FamilyPortals family, IptablesCapabilities capabilities) =>
    [
        .. capabilities.Recent ? (Rule[])[Heartbeat(family.Family)] : [],
        new($"-p tcp -j DNAT --to-destination {family.Listener}"),
        new($"-p udp -j DNAT --to-destination {family.Listener}"),
    ];

    public static IEnumerable<Rule> Invalid(InvalidGuard guard) =>
    [
        .. guard.Endpoints.Select(network => new Rule($"{Of("-s", network)}-j DROP")),
        .. guard.Services.Select(network => new Rule($"{Of("-d", network)}-j DROP")),
    ];

    public static IEnumerable<Rule> AcceptListener(FamilyPortals family) =>
        [new($"-d {Network(family.Listener.Address)} -m conntrack --ctstate DNAT -j ACCEPT")];

    public static IEnumerable<Rule> AcceptForwarded =>
    [
        new($"-m mark ! --mark {EitherMark} -j ACCEPT"),
        new("-m conntrack --ctstate RELATED,ESTABLISHED -m conntrack --ctstate DNAT -j ACCEPT"),
    ];

    /// <summary>iptables does not print a network that is everything.</summary>
    private static string Of(string option, IPNetwork network) => network.PrefixLength == 0 ? "" : $"{option} {network} ";

    private static IEnumerable<Rule> PostroutingByMark(IptablesCapabilities capabilities) =>
    [
        new($"-m mark ! --mark {MasqueradeMark} -j RETURN"),
        // Cleared, so that a packet that passes twice (encapsulation) is not masqueraded twice.
        new($"-j MARK --set-xmark 0x{PacketMarks.Masquerade:x}/0x0"),
        new("-m comment --comment \"edgemesh: masquerade what came back to where it left\" -j MASQUERADE" + (capabilities.RandomFully ? " --random-fully" : "")),
    ];

    /// <summary>The one rule that a service port has in each portal chain; null where it can have none.</summary>
    public static Rule? Visible(PortalRule portal, FamilyPortals family)
    {
        var key = portal.Key;
        // The user-mode path speaks TCP and UDP only, and DNAT to port 1 refuses only what the kernel itself answers.
        if (key.Protocol == TransportProtocol.Sctp && portal.Target is not PortalTarget.Backends)
            return null;
        var protocol = key.Protocol.Name();
        var target = portal.Target switch
        {
            PortalTarget.Listener => $"-j DNAT --to-destination {family.Listener}",
            // Nothing listens on port 1 of the listener's address, so the kernel itself answers RST or port unreachable.
            PortalTarget.Refused => $"-j DNAT --to-destination {new InetEndpoint(family.Listener.Address, 1)}",
            // goto: a packet that leaves the service's chain without a choice leaves our chains too.
            PortalTarget.Backends => $"-g {ChainNames.Service(key)}",
            _ => throw new ArgumentOutOfRangeException(nameof(portal)),
        };
        return new Rule(
            $"-d {Network(key.Address)} -p {protocol} -m comment --comment {Rule.Comment(portal.Comment)} -m {protocol} --dport {key.Port} {target}");
    }

    /// <summary>The chain of a kernel-path service port.</summary>
    public static IEnumerable<Rule> ServiceChain(TransportAddress key, PortalTarget.Backends backends, MasqueradePolicy policy)
    {
        var masqueradeAll = policy.All;
        var endpoints = backends.Endpoints;
        var local = backends.Local.IsDefault ? null : backends.Local.ToHashSet();
        var protocol = key.Protocol.Name();
        if (key.Protocol != TransportProtocol.Sctp)
        {
            foreach (var client in backends.ThroughListener)
                yield return new Rule($"-s {Network(client)} -g {ChainNames.Listener}");
        }

        if (masqueradeAll)
            yield return new Rule($"-j MARK --set-xmark {MasqueradeMark}");
        else if (policy.DependsOnAddresses)
            yield return new Rule($"-j MARK --set-xmark {KernelMark}");

        if (backends.Choice == BackendChoice.ClientAffinity && endpoints.Length > 1)
        {
            var seconds = (long)(backends.AffinityTimeout > TimeSpan.Zero ? backends.AffinityTimeout : DefaultAffinity).TotalSeconds;
            foreach (var endpoint in endpoints)
            {
                // --update, not --rcheck: the time is idle time, so every new connection of the client starts it anew.
                var known = $"-m recent --update --seconds {Math.Max(seconds, 1)} --reap --name {ChainNames.Affinity(key, endpoint.ToString())} {ClientMask(endpoint)} ";
                foreach (var rule in ToEndpoint(endpoint, protocol, known, NeedsHairpin(local, endpoint, masqueradeAll)))
                    yield return rule;
            }
        }

        for (var i = 0; i < endpoints.Length; i++)
        {
            foreach (var rule in ToEndpoint(endpoints[i], protocol, Chosen(key, backends, i), NeedsHairpin(local, endpoints[i], masqueradeAll)))
                yield return rule;
        }
    }

    private static bool NeedsHairpin(HashSet<InetEndpoint>? local, InetEndpoint endpoint, bool masqueradeAll) =>
        !masqueradeAll && (local is null || local.Contains(endpoint));

    /// <summary>A connection that comes back to where it left must be masqueraded, or the endpoint answers itself directly
    /// and the connection never stands. A chain per endpoint, as kube-proxy has, took minutes to load with 100,000 endpoints
    /// on iptables-nft 1.8.9; so the mark itself carries the choice from the first rule to the second.</summary>
    private static IEnumerable<Rule> ToEndpoint(InetEndpoint endpoint, string protocol, string chosen, bool hairpin)
    {
        if (!hairpin)
        {
            yield return new Rule($"-p {protocol} {chosen}-j DNAT --to-destination {endpoint}");
            yield break;
        }

        var source = Network(endpoint.Address);
        yield return new Rule($"-s {source} -p {protocol} {chosen}-j MARK --set-xmark {MasqueradeMark}");
        yield return new Rule($"-s {source} -p {protocol} -m mark --mark {MasqueradeMark} -j DNAT --to-destination {endpoint}");
        yield return new Rule($"! -s {source} -p {protocol} {chosen}-j DNAT --to-destination {endpoint}");
    }

    /// <summary>The match that chooses endpoint <paramref name="i"/>, ending in a space; the last endpoint takes what is left.</summary>
    private static string Chosen(TransportAddress key, PortalTarget.Backends backends, int i)
    {
        var left = backends.Endpoints.Length - i;
        var match = backends.Choice switch
        {
            // The kernel counts per rule, so every Nth, then of the rest every (N-1)th and so on, is a strict round robin;
            // a random choice of the same shares lets one endpoint of ten wait for 40 connections one time in a hundred.
            BackendChoice.RoundRobin when left > 1 => $"-m statistic --mode nth --every {left} --packet 0 ",
            BackendChoice.Random or BackendChoice.ClientAffinity when left > 1 => $"-m statistic --mode random --probability {Probability(left)} ",
            BackendChoice.SourceHash when backends.Endpoints.Length > 1 =>
                $"-m cluster --cluster-local-nodemask 0x{1u << i:x8} --cluster-total-nodes {backends.Endpoints.Length} --cluster-hash-seed 0x65646765 ",
            _ => "",
        };
        if (backends.Choice == BackendChoice.ClientAffinity && backends.Endpoints.Length > 1)
        {
            var endpoint = backends.Endpoints[i];
            match += $"-m recent --set --name {ChainNames.Affinity(key, endpoint.ToString())} {ClientMask(endpoint)} ";
        }

        return match;
    }

    /// <summary>xt_statistic keeps a fraction of 2^31; iptables prints that fraction with 11 digits.</summary>
    private static string Probability(int left) =>
        (Math.Round(0x80000000 / (double)left, MidpointRounding.AwayFromZero) / 0x80000000).ToString("F11");

    private static string ClientMask(InetEndpoint endpoint) => endpoint.Family == IpFamily.IPv4
        ? "--mask 255.255.255.255 --rsource"
        : "--mask ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff --rsource";

    private static string Bit(uint mark) => $"0x{mark:x}/0x{mark:x}";

    private static string Network(InetAddress address) => $"{address}/{address.Width}";
}
