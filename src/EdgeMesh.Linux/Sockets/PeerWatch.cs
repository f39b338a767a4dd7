namespace EdgeMesh.Linux.Sockets;

/// <summary>When a silent peer is given up (tcp(7)). All in seconds, but the count of probes.</summary>
public sealed record PeerWatch
{
    public int IdleSeconds { get; init; } = 60;

    public int IntervalSeconds { get; init; } = 15;

    public int Probes { get; init; } = 4;

    /// <summary>Without an acknowledgement while bytes are sent again and again.</summary>
    public int UnacknowledgedSeconds { get; init; } = 120;

    /// <summary>Without an acknowledgement after the peer has closed its window. The kernel asks at intervals of up to two
    /// minutes then, so this has to be longer than two of them.</summary>
    public int ClosedWindowSeconds { get; init; } = 300;
}

/// <summary>The signs of life of a peer, from TCP_INFO.</summary>
public readonly record struct SignsOfLife
{
    /// <summary>Times that the oldest unacknowledged bytes were sent again; 0 after an acknowledgement.</summary>
    public int Retransmissions { get; init; }

    /// <summary>Probes (of an idle peer, or of a closed window) without an answer.</summary>
    public int Probes { get; init; }

    /// <summary>Segments on their way.</summary>
    public uint Unacknowledged { get; init; }

    /// <summary>Bytes that the peer said it would take; 0: closed, or not known.</summary>
    public uint Window { get; init; }

    /// <summary>Since its last acknowledgement of any kind.</summary>
    public uint SilentMilliseconds { get; init; }

    /// <summary>A peer that reads nothing for an hour still acknowledges each probe of its window; one that is gone does not.</summary>
    public bool IsGone(PeerWatch watch)
    {
        ArgumentNullException.ThrowIfNull(watch);
        // Twice without an answer: the first may be on its way.
        var isAsked = (Unacknowledged > 0 && Retransmissions >= 2) || Probes >= 2;
        return isAsked && SilentMilliseconds >= 1_000L * (Window == 0 ? watch.ClosedWindowSeconds : watch.UnacknowledgedSeconds);
    }
}
