namespace EdgeMesh.LibP2P.Yamux;

/// <summary>What a peer did.</summary>
public enum YamuxEventKind
{
    None,

    /// <summary>It opened a stream.</summary>
    Opened,

    /// <summary>It acknowledged a stream of ours.</summary>
    Acknowledged,

    /// <summary>Bytes arrived: <see cref="YamuxEvent.Data"/>.</summary>
    Data,

    /// <summary>It takes more bytes on a stream.</summary>
    Writable,

    /// <summary>It will send no more on a stream.</summary>
    Ended,

    /// <summary>It gave the stream up, both directions.</summary>
    Reset,

    /// <summary>It answered our ping; the session's round trip is fresh.</summary>
    Pong,

    /// <summary>It will open and take no more streams; <see cref="YamuxEvent.Code"/> says why (0 is a normal end).</summary>
    GoAway,
}

/// <summary>One thing that a peer did. The data is a piece of the input itself: use it, or overwrite it, before the next call.</summary>
public readonly ref struct YamuxEvent
{
    public YamuxEventKind Kind { get; init; }

    public YamuxStream? Stream { get; init; }

    public Span<byte> Data { get; init; }

    public uint Code { get; init; }
}
