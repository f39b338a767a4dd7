namespace EdgeMesh.LibP2P.Relay;

/// <summary>What a relay gives away.</summary>
public sealed record RelayServerOptions
{
    /// <summary>How long a reservation lasts before it has to be renewed.</summary>
    public TimeSpan ReservationTime { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Peers that may hold one.</summary>
    public int MaxReservations { get; init; } = 1024;

    /// <summary>Relayed connections that may stand in all.</summary>
    public int MaxCircuits { get; init; } = 4096;

    /// <summary>Relayed connections from or to one peer.</summary>
    public int MaxCircuitsPerPeer { get; init; } = 256;

    /// <summary>The bounds of each relayed connection; null for none.</summary>
    public RelayLimit? Limit { get; init; }

    /// <summary>Over which connection a peer is asked to take a relayed one; null: the first that is not relayed itself.</summary>
    public Func<Addresses.PeerId, Connections.PeerConnection?>? ConnectionOf { get; init; }

    /// <summary>Whom the relay serves at all.</summary>
    public Func<Addresses.PeerId, bool> Admits { get; init; } = static _ => true;
}
