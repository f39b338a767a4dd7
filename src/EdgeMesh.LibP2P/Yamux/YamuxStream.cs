namespace EdgeMesh.LibP2P.Yamux;

/// <summary>The books of one stream. Everything is done through <see cref="YamuxSession"/>.</summary>
public sealed class YamuxStream
{
    internal YamuxStream(uint id, bool inbound, long now)
    {
        Id = id;
        IsInbound = inbound;
        LastGrant = now;
    }

    public uint Id { get; }

    /// <summary>Whether the peer opened it.</summary>
    public bool IsInbound { get; }

    /// <summary>How many bytes the peer takes right now.</summary>
    public uint SendWindow { get; internal set; } = YamuxOptions.InitialWindow;

    /// <summary>The size that this side's window has grown to.</summary>
    public int Window { get; internal set; } = YamuxOptions.InitialWindow;

    /// <summary>This side has said that it will send no more.</summary>
    public bool WriteClosed { get; internal set; }

    /// <summary>The peer has said that it will send no more.</summary>
    public bool ReadClosed { get; internal set; }

    /// <summary>Both directions have ended, or one side has reset the stream: it is out of the session's books.</summary>
    public bool IsGone { get; internal set; }

    /// <summary>The owner's own object for this stream.</summary>
    public object? Tag { get; set; }

    /// <summary>This side has sent data on it.</summary>
    internal bool HasAnswer { get; set; }

    internal bool Acknowledged { get; set; }

    /// <summary>What the peer may still send.</summary>
    internal uint ReceiveWindow { get; set; } = YamuxOptions.InitialWindow;

    /// <summary>Consumed, but not yet given back to the peer.</summary>
    internal uint Owed { get; set; }

    internal long LastGrant { get; set; }
}
