using System.Collections.Immutable;
using System.Net;
using static EdgeMesh.Agent.Options.KeyKinds;

namespace EdgeMesh.Agent.Options;

/// <summary>EdgeMesh's keys of the tunnel with its names and defaults, and three of ours.</summary>
internal static class EdgeTunnelKeys
{
    public static readonly ConfigKey<bool> TunnelEnable = Boolean("modules.edgeTunnel.enable", false,
        "Carries connections to endpoints on nodes to which no route exists, encrypted, over a relay if need be.");

    public static readonly ConfigKey<int> ListenPort = Port("modules.edgeTunnel.listenPort", 20006,
        "TCP port on which other nodes reach this one. All nodes of a mesh have the same.");

    public static readonly ConfigKey<TunnelTransport> Transport = Word("modules.edgeTunnel.transport", TunnelTransport.Tcp,
        new OrderedDictionary<string, TunnelTransport> { ["tcp"] = TunnelTransport.Tcp, ["ws"] = TunnelTransport.WebSocket, ["quic"] = TunnelTransport.Quic },
        "What carries the tunnel; ws and quic are refused, since this release has tcp only.");

    public static readonly ConfigKey<ImmutableArray<RelayNode>> RelayNodes = new("modules.edgeTunnel.relayNodes", "list", [],
        "Nodes that others can always reach, and that pass connections on between those that cannot reach each other: nodeName, and in advertiseAddress IP addresses (with a port of their own too: 192.0.2.1:4001, [2001:db8::1]:4001), DNS names or multiaddrs. A node that finds its own name here at its start is a relay.",
        RelayNode.ReadList, v => v.Length == 0 ? "[]" : $"[{string.Join(", ", v.Select(r => r.ToText()))}]")
    {
        Live = true,
    };

    public static readonly ConfigKey<int> HeartbeatPeriod = Integer("modules.edgeTunnel.heartbeatPeriod", 120, 1, 86_400,
        "Most seconds between two signs of life of a session. It is asked every 3 s in any case, so that a dead relay is left in time.");

    public static readonly ConfigKey<bool> PskEnable = Boolean("modules.edgeTunnel.psk.enable", true,
        "Only nodes with the same key may join. Without it the tunnel stays off, since the key is what nodes know each other by.");

    public static readonly ConfigKey<string> PskPath = Text("modules.edgeTunnel.psk.path", "/etc/edgemesh/psk",
        "File of that key, at least 32 random bytes, which only the agent's user may read; openssl rand -base64 32 makes one. Two lines are two keys, for a change of the key without a gap: the first is used, both are accepted.");

    public static readonly ConfigKey<TunnelIdentity> Identity = Word("modules.edgeTunnel.identity", TunnelIdentity.Psk,
        new OrderedDictionary<string, TunnelIdentity> { ["psk"] = TunnelIdentity.Psk, ["edgemesh"] = TunnelIdentity.EdgeMesh },
        "Where a node's own key comes from. psk: from the PSK and the node's name, so that nobody without the PSK can be any node. edgemesh: from the name alone, for meshes with the Go agent; not built yet, and refused.",
        "in the Go agent whoever knows a node's name has its key");

    public static readonly ConfigKey<ImmutableArray<IPNetwork>> AddressRanges = new("modules.edgeTunnel.addressRanges", "list of CIDR", [],
        "Address ranges of this node's pods, beside those of its bridges, which it finds by itself. Another node sends connections straight to addresses in them once it has met this node at an address inside.",
        CidrReader.Read, v => $"[{string.Join(", ", v)}]")
    {
        Reason = "a pod network that is routed without a bridge cannot be read off the node's devices",
    };

    public static readonly ConfigKey<bool> LimitEnable = Boolean("modules.edgeTunnel.tunnelLimitConfig.enable", true,
        "false: the four bounds below are the agent's own upper bounds instead.");

    public static readonly ConfigKey<int> StreamsIn = Integer("modules.edgeTunnel.tunnelLimitConfig.tunnelBaseStreamIn", 10240, 0, int.MaxValue,
        "Connections that other nodes may have open through this one, all together.");

    public static readonly ConfigKey<int> StreamsOut = Integer("modules.edgeTunnel.tunnelLimitConfig.tunnelBaseStreamOut", 10240, 0, int.MaxValue,
        "Connections that this node may have open through others, all together.");

    public static readonly ConfigKey<int> PeerStreamsIn = Integer("modules.edgeTunnel.tunnelLimitConfig.tunnelPeerBaseStreamIn", 1024, 0, int.MaxValue,
        "The same from one node.");

    public static readonly ConfigKey<int> PeerStreamsOut = Integer("modules.edgeTunnel.tunnelLimitConfig.tunnelPeerBaseStreamOut", 1024, 0, int.MaxValue,
        "The same to one node.");

    public static readonly ConfigKey<string> ListenInterfaces = Text("modules.edgeTunnel.listenInterfaces", "*",
        "Network devices whose addresses are listened on and told to others, with commas; * is all.");

    public static readonly ConfigKey<string> FilteredInterfaces = Text("modules.edgeTunnel.extraFilteredInterfaces", "",
        "Network devices to leave out, with commas; a * at the end stands for any ending.");

    public static IReadOnlyList<ConfigKey> All { get; } =
    [
        TunnelEnable, ListenPort, Transport,
        new ConfigKey<string>("modules.edgeTunnel.rendezvous", "text", "EDGEMESH_PLAYGOUND",
            "Accepted: nodes with the same PSK are one mesh, and need no further name.", ValueReaders.Text, Quote) { Status = KeyStatus.NoEffect },
        RelayNodes,
        new ConfigKey<bool>("modules.edgeTunnel.enableIpfsLog", "true or false", false,
            "Accepted: commonConfig.logLevel is for all parts.", ValueReaders.Boolean, v => v ? "true" : "false") { Status = KeyStatus.NoEffect },
        new ConfigKey<int>("modules.edgeTunnel.maxCandidates", "0 to 10000", 5,
            "Accepted: only configured nodes are relays, and none is searched for.", ValueReaders.Integer(0, 10_000), v => v.ToString(System.Globalization.CultureInfo.InvariantCulture)) { Status = KeyStatus.NoEffect },
        HeartbeatPeriod,
        new ConfigKey<int>("modules.edgeTunnel.finderPeriod", "1 to 86400", 60,
            "Accepted: as above.", ValueReaders.Integer(1, 86_400), v => v.ToString(System.Globalization.CultureInfo.InvariantCulture)) { Status = KeyStatus.NoEffect },
        PskEnable, PskPath, Identity, AddressRanges, LimitEnable, StreamsIn, StreamsOut, PeerStreamsIn, PeerStreamsOut, ListenInterfaces, FilteredInterfaces,
        new ConfigKey<bool>("modules.edgeTunnel.metricConfig.enable", "true or false", false,
            "Accepted: the tunnel's metrics are with all others at commonConfig.adminAddress.", ValueReaders.Boolean, v => v ? "true" : "false") { Status = KeyStatus.NoEffect },
        new ConfigKey<int>("modules.edgeTunnel.metricConfig.port", "port", 9999,
            "Accepted: as above.", ValueReaders.Integer(1, 65_535), v => v.ToString(System.Globalization.CultureInfo.InvariantCulture)) { Status = KeyStatus.NoEffect },
    ];
}
