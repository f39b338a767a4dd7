namespace EdgeMesh.LibP2P.Yamux;

/// <summary>The bounds of one yamux session.</summary>
public sealed record YamuxOptions
{
    /// <summary>What the protocol gives every stream at first.</summary>
    public const int InitialWindow = 256 * 1024;

    /// <summary>Up to where the window of one stream grows when the round trip is what holds it back.</summary>
    public int MaxWindow { get; init; } = 16 * 1024 * 1024;

    /// <summary>What the windows of all streams together may grow by: the most that a peer can make this side hold, beyond
    /// the initial window of each stream.</summary>
    public long MaxWindowGrowth { get; init; } = 64 * 1024 * 1024;

    /// <summary>Streams that the peer may have open; more are reset.</summary>
    public int MaxInboundStreams { get; init; } = 16 * 1024;

    /// <summary>Streams that this side may have open.</summary>
    public int MaxOutboundStreams { get; init; } = 16 * 1024;

    /// <summary>Streams opened that the peer has not acknowledged yet; implementations reset what exceeds their backlog
    /// (256 by the specification).</summary>
    public int MaxUnacknowledged { get; init; } = 256;

    /// <summary>Most bytes of one data frame. The default fills one Noise message together with the frame's header, so that a
    /// frame arrives in one piece.</summary>
    public int MaxFrameBody { get; init; } = 65535 - 16 - 12;

    /// <summary>Half a window that came and went within this time, or within four round trips, makes the window grow. The round
    /// trip of an idle connection says little about a busy one, where bytes wait behind others.</summary>
    public TimeSpan QuickRefill { get; init; }

    /// <summary>Whether a stream of the peer is acknowledged with the first frame that goes back on it. A frame for that alone
    /// costs both sides a packet per stream, but lets the peer open more streams than answers are on their way.</summary>
    public bool AcknowledgesWithFirstFrame { get; init; }

    /// <summary>How often the peer may do what is cheap for it.</summary>
    public YamuxPaceOptions Pace { get; init; } = new();

    /// <summary>Bytes of data that wait to be sent before <see cref="YamuxSession.Write"/> takes no more.</summary>
    public int SendBuffer { get; init; } = 256 * 1024;
}
