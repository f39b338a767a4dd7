using System.Collections.Immutable;
using System.Net.Sockets;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Identity;

namespace EdgeMesh.Tunnel;

/// <summary>A node that passes connections on between others.</summary>
/// <param name="Name">Its node name.</param>
/// <param name="Addresses">Where it listens.</param>
public sealed record RelayNode(string Name, ImmutableArray<InetEndpoint> Addresses);

/// <summary>How many streams may stand (<c>tunnelLimitConfig</c>). One stream is one connection or one UDP flow.</summary>
public sealed record TunnelLimits
{
    /// <summary>From all peers together.</summary>
    public int StreamsIn { get; init; } = 10_240;

    /// <summary>To all peers together.</summary>
    public int StreamsOut { get; init; } = 10_240;

    /// <summary>From one peer.</summary>
    public int StreamsInPerPeer { get; init; } = 1_024;

    /// <summary>To one peer.</summary>
    public int StreamsOutPerPeer { get; init; } = 1_024;
}

/// <summary>How this node takes part in the mesh. All durations are positive.</summary>
public sealed record MeshOptions
{
    public required string NodeName { get; init; }

    /// <summary>The first is for this node's own identity, all are accepted of others.</summary>
    public required PresharedKeys Keys { get; init; }

    /// <summary>Where to listen; port 0 is any.</summary>
    public required ImmutableArray<InetEndpoint> Listen { get; init; }

    /// <summary>What others are told to dial; listen addresses that are no wildcards, if empty.</summary>
    public ImmutableArray<InetEndpoint> Advertise { get; init; } = [];

    /// <summary>Ranges whose addresses lead to this node: bridges with their own address, node addresses, configured ones.</summary>
    public ImmutableArray<AddressRange> Ranges { get; init; } = [];

    /// <summary>Relays to keep a session to; this node's own name among them is passed over.</summary>
    public ImmutableArray<RelayNode> Relays { get; init; } = [];

    /// <summary>Whether this node passes connections on for others.</summary>
    public bool IsRelay { get; init; }

    public TunnelLimits Limits { get; init; } = new();

    /// <summary>Multicast DNS on these addresses of this node; none: no discovery.</summary>
    public ImmutableArray<InetAddress> DiscoveryAddresses { get; init; } = [];

    /// <summary>The port at which addresses are dialled that others announce or multicast DNS tells; others are passed over, so that
    /// nobody has this node knock at any port of any machine. Null: any port.</summary>
    public ushort? AnnouncedPort { get; init; }

    /// <summary>Loopback addresses that peers announce are dialled too: for several nodes on one machine.</summary>
    public bool AllowLoopback { get; init; }

    /// <summary>How often a sign of life is asked of every session; one that gives none for two periods is left. It bounds
    /// how long a dead relay is used.</summary>
    public TimeSpan Heartbeat { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>How often verified ranges are checked.</summary>
    public TimeSpan RangeCheck { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>The longest wait between two attempts to reach a relay or a peer that was reachable lately.</summary>
    public TimeSpan LongestBackOff { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long a TCP connect may take; the handshake after it has twice that time.</summary>
    public TimeSpan DialTimeout { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>How long an endpoint on this node may take to answer.</summary>
    public TimeSpan EndpointTimeout { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>How long a connection waits for a session to its node.</summary>
    public TimeSpan SessionWait { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>A UDP flow without a datagram for so long is closed (net.netfilter.nf_conntrack_udp_timeout_stream). The client's
    /// node closes flows earlier that did not go both ways for a while, as it does without a tunnel.</summary>
    public TimeSpan DatagramIdle { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>When a client or an endpoint of this node that has fallen silent is given up.</summary>
    public PeerWatch PeerWatch { get; init; } = new();

    /// <summary>How long the tunnel's loop, busy with small messages, looks for the next one before it sleeps; zero: never.</summary>
    public TimeSpan PollingLimit { get; init; } = TimeSpan.FromMicroseconds(200);

    /// <summary>SO_MARK of every socket of the tunnel, which our own rules let pass; 0: none. Needs CAP_NET_ADMIN.</summary>
    public uint DialMark { get; init; } = PacketMarks.Own;

    /// <exception cref="IOException">The mark cannot be set: our own rules would catch what the socket sends.</exception>
    internal void Mark(Socket socket)
    {
        if (DialMark != 0 && !SocketMark.TrySet(socket, DialMark))
            throw new IOException("a socket of the tunnel could not be marked (SO_MARK): the agent needs the capability CAP_NET_ADMIN");
    }

    /// <summary>Peers that are kept in mind at the same time, and sessions from strangers besides.</summary>
    public int MaxPeers { get; init; } = 4_096;
}
