using System.Collections.Immutable;

namespace EdgeMesh.Tunnel;

/// <summary>How a peer is reached.</summary>
public enum PeerState
{
    /// <summary>No session: one is being made, or nobody needs one.</summary>
    Connecting,

    /// <summary>Through a relay.</summary>
    Relayed,

    /// <summary>Node to node.</summary>
    Direct,
}

/// <summary>One peer, for <c>status</c>.</summary>
/// <param name="Address">Where the session leads; empty without one.</param>
/// <param name="Relay">The relay it runs through; empty for none.</param>
/// <param name="LastFault">Why the last attempt failed; empty after a good one.</param>
/// <param name="Age">For how long the session has stood; null without one.</param>
public sealed record PeerStatus(string Name, string PeerId, PeerState State, string Address, string Relay, TimeSpan? RoundTrip, int Streams, string LastFault, TimeSpan? Age = null);

/// <summary>One relay, for <c>status</c>, nearest first.</summary>
/// <param name="Reserved">Until when others can reach this node through it; null: not at all.</param>
public sealed record RelayStatusLine(string Name, bool Connected, TimeSpan? RoundTrip, DateTimeOffset? Reserved, string LastFault);

/// <summary>Numbers since the start, but for the first four, which are of now.</summary>
public sealed record MeshCounts
{
    public required int StreamsIn { get; init; }

    public required int StreamsOut { get; init; }

    /// <summary>Places that others hold at this relay.</summary>
    public required int Reservations { get; init; }

    /// <summary>Connections that this relay passes on.</summary>
    public required int Circuits { get; init; }

    public required long StreamsServed { get; init; }

    public required long StreamsCarried { get; init; }

    /// <summary>Streams of peers that were refused, by reason.</summary>
    public required ImmutableSortedDictionary<string, long> RefusedIn { get; init; }

    /// <summary>Own streams that were refused, by reason.</summary>
    public required ImmutableSortedDictionary<string, long> RefusedOut { get; init; }

    /// <summary>Own streams that were closed for others, at a limit of streams.</summary>
    public required long GaveWay { get; init; }

    /// <summary>Bytes of clients' and endpoints' data, to peers and from them.</summary>
    public required long BytesSent { get; init; }

    public required long BytesReceived { get; init; }

    /// <summary>Datagrams dropped because the other side did not keep up, or were larger than 65,507 bytes.</summary>
    public required long DatagramsDropped { get; init; }

    /// <summary>Connections closed before a handshake, handshakes that failed, and peers that were not who they said.</summary>
    public required long StrangersRefused { get; init; }

    /// <summary>Sessions that were ended because the peer did something too often.</summary>
    public required long SessionsPaced { get; init; }

    /// <summary>Connections that proved the key in their first flight.</summary>
    public required long Admitted { get; init; }

    /// <summary>Connections that were closed because they did not, by reason.</summary>
    public required ImmutableSortedDictionary<string, long> AdmissionRefused { get; init; }
}

/// <summary>Bytes and connections of one service over the tunnel, as its clients' node sees it; each try counts as a connection.</summary>
public sealed record TunnelServiceCounts(Catalog.ServicePortName Service, long Connections, long Active, long Failed, long BytesToEndpoints, long BytesToClients);

/// <summary>Whether the thread that moves the tunnel's bytes does so.</summary>
/// <param name="HasFailed">A fault has ended it.</param>
/// <param name="SinceTurn">Since it last came round, which it does ten times a second at least.</param>
public readonly record struct TunnelLoopState(bool HasFailed, TimeSpan SinceTurn);

/// <summary>The mesh as <c>status</c> shows it.</summary>
public sealed record MeshStatus
{
    public required string NodeName { get; init; }

    public required string PeerId { get; init; }

    public required ImmutableArray<string> Listening { get; init; }

    public required ImmutableArray<RelayStatusLine> Relays { get; init; }

    public required ImmutableArray<PeerStatus> Peers { get; init; }

    public required MeshCounts Counts { get; init; }

    public required ImmutableArray<TunnelServiceCounts> Services { get; init; }

    public required TunnelLoopState Loop { get; init; }
}
