using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Yamux;

/// <summary>
/// `/yamux/1.0.0` without any I/O: many streams over one connection.
/// <code>
///   arrived bytes -> TryReceive (until false) -> events; data as pieces of the input, nothing is copied
///   Open, Write, CloseWrite, Reset, Consumed -> frames gather in Output -> send them, then Consume them there
/// </code>
/// What a peer can make this side hold is bounded: stream windows, numbers of streams, and what waits in Output. A peer
/// that asks for answers and does not read them breaks the last bound, which ends the session. Not thread-safe; a session
/// that threw is over.
/// </summary>
public sealed partial class YamuxSession : IDisposable
{
    /// <summary>The protocol's name for multistream-select.</summary>
    public const string Protocol = "/yamux/1.0.0";

    /// <summary>Room in <see cref="Output"/> that data may not take, so that window updates and the like always fit.</summary>
    private const int ControlRoom = 256 * 1024;

    private readonly bool _dialer;
    private readonly YamuxOptions _options;
    private readonly TimeProvider _time;
    private readonly YamuxPace _pace;
    private readonly Dictionary<uint, YamuxStream> _streams = [];
    private uint _nextId;
    private int _inbound;
    private int _fruitless;
    private int _unacknowledged;
    private long _grown;
    private uint _pingId;
    private long _pingSent = -1;

    /// <param name="dialer">Whether this side dialled: its streams have odd numbers.</param>
    /// <param name="options">The bounds.</param>
    /// <param name="time">The clock for round trips.</param>
    public YamuxSession(bool dialer, YamuxOptions options, TimeProvider time)
    {
        _dialer = dialer;
        _options = options;
        _time = time;
        _pace = new YamuxPace(options.Pace, time);
        _nextId = dialer ? 1u : 2u;
        MaxInboundStreams = options.MaxInboundStreams;
        Output = new ByteQueue(options.SendBuffer + ControlRoom);
    }

    /// <summary>Frames for the peer.</summary>
    public ByteQueue Output { get; }

    /// <summary>Streams that the peer may have open; more are reset. Those that are open stay.</summary>
    public int MaxInboundStreams { get; set; }

    /// <summary>Streams that are open.</summary>
    public int StreamCount => _streams.Count;

    /// <summary>The last measured round trip; null before the first pong.</summary>
    public TimeSpan? RoundTrip { get; private set; }

    /// <summary>Whether a ping has not been answered yet.</summary>
    public bool IsPingPending => _pingSent >= 0;

    /// <summary>The streams that are open.</summary>
    internal IEnumerable<YamuxStream> Streams => _streams.Values;

    /// <summary>How many more bytes <see cref="Write"/> would take because of what waits to be sent.</summary>
    public int SendRoom => Math.Max(0, _options.SendBuffer - Output.Count);

    /// <summary>The peer has said that it takes no more streams.</summary>
    public bool PeerIsLeaving { get; private set; }

    /// <summary>Opens a stream. Null if the peer is leaving, or as many are open or unacknowledged as may be.</summary>
    public YamuxStream? TryOpen()
    {
        if (PeerIsLeaving || _unacknowledged >= _options.MaxUnacknowledged || _streams.Count - _inbound >= _options.MaxOutboundStreams
            || _nextId > uint.MaxValue - 2)
        {
            return null;
        }

        var stream = new YamuxStream(_nextId, inbound: false, _time.GetTimestamp());
        _nextId += 2;
        _streams.Add(stream.Id, stream);
        _unacknowledged++;
        Frame(YamuxType.WindowUpdate, YamuxFlags.Syn, stream.Id, 0);
        return stream;
    }

    /// <summary>Puts as much of <paramref name="data"/> into frames as the peer's window and the send buffer take, and says
    /// how much that was. More may fit after <see cref="YamuxEventKind.Writable"/> or once Output has been sent.</summary>
    public int Write(YamuxStream stream, ReadOnlySpan<byte> data)
    {
        if (stream.WriteClosed)
            throw new InvalidOperationException("this side has ended the stream");
        if (stream.IsGone)
            return 0;
        var written = 0;
        while (written < data.Length)
        {
            var space = Reserve(stream, data.Length - written);
            if (space.IsEmpty)
                break;
            data.Slice(written, space.Length).CopyTo(space);
            Commit(stream, space.Length);
            written += space.Length;
        }

        return written;
    }

    /// <summary>As <see cref="Write"/>, all of it or nothing, whatever waits to be sent: for an answer that must be in front of
    /// the stream's other bytes, and of which there is one per stream. A peer that makes this side answer and does not read breaks
    /// the bound of <see cref="Output"/>.</summary>
    /// <returns>False if it does not fit one frame or the window.</returns>
    public bool TryWriteWhole(YamuxStream stream, ReadOnlySpan<byte> data)
    {
        if (stream.WriteClosed)
            throw new InvalidOperationException("this side has ended the stream");
        if (stream.IsGone || data.Length > Math.Min(stream.SendWindow, (uint)_options.MaxFrameBody))
            return false;
        data.CopyTo(Output.Reserve(YamuxFrame.HeaderSize + data.Length)[YamuxFrame.HeaderSize..]);
        Commit(stream, data.Length);
        return true;
    }

    /// <summary>As <see cref="Write"/>, without a copy: the place in the output where the stream's next bytes go, at most
    /// <paramref name="most"/> of them; empty if the window or the send buffer takes none. Nothing else may touch the session
    /// before <see cref="Commit"/>.</summary>
    public Span<byte> Reserve(YamuxStream stream, int most)
    {
        if (stream.WriteClosed)
            throw new InvalidOperationException("this side has ended the stream");
        if (stream.IsGone)
            return [];
        var length = (int)Math.Min(Math.Min(most, _options.MaxFrameBody), Math.Min(stream.SendWindow, (uint)SendRoom));
        return length == 0 ? [] : Output.Reserve(YamuxFrame.HeaderSize + length)[YamuxFrame.HeaderSize..];
    }

    /// <summary>The first <paramref name="count"/> bytes of the reserved place (above 0) are the stream's.</summary>
    public void Commit(YamuxStream stream, int count)
    {
        var frame = Output.Reserve(YamuxFrame.HeaderSize + count);
        new YamuxFrame(YamuxType.Data, TakeAcknowledgement(stream), stream.Id, (uint)count).Write(frame);
        Output.Commit(YamuxFrame.HeaderSize + count);
        stream.HasAnswer = true;
        stream.SendWindow -= (uint)count;
    }

    /// <summary>Says that this side will send no more on the stream.</summary>
    public void CloseWrite(YamuxStream stream)
    {
        if (stream.WriteClosed || stream.IsGone)
            return;
        stream.WriteClosed = true;
        Frame(YamuxType.WindowUpdate, YamuxFlags.Fin | TakeAcknowledgement(stream), stream.Id, 0);
        if (stream.ReadClosed)
            Remove(stream);
    }

    /// <summary>Gives the stream up, both directions; what waits in its windows is lost.</summary>
    public void Reset(YamuxStream stream)
    {
        if (stream.IsGone)
            return;
        Frame(YamuxType.WindowUpdate, YamuxFlags.Rst, stream.Id, 0);
        Remove(stream);
    }

    /// <summary>
    /// The owner is done with bytes that arrived: the peer may send as many again. Told to the peer once half a window has
    /// gathered. The window doubles if half of it came and went within four round trips, because then the window is what
    /// holds the peer back.
    /// </summary>
    public void Consumed(YamuxStream stream, int count)
    {
        stream.Owed += (uint)count;
        if (stream.IsGone || stream.ReadClosed || stream.Owed < (uint)stream.Window / 2)
            return;
        var now = _time.GetTimestamp();
        var growth = stream.Window;
        if (RoundTrip is { } roundTrip
            && _time.GetElapsedTime(stream.LastGrant, now) < (4 * roundTrip > _options.QuickRefill ? 4 * roundTrip : _options.QuickRefill)
            && stream.Window <= _options.MaxWindow / 2
            && _grown + growth <= _options.MaxWindowGrowth)
        {
            _grown += growth;
            stream.Window += growth;
            stream.Owed += (uint)growth;
        }

        stream.LastGrant = now;
        stream.ReceiveWindow += stream.Owed;
        Frame(YamuxType.WindowUpdate, TakeAcknowledgement(stream), stream.Id, stream.Owed);
        stream.Owed = 0;
    }

    /// <summary>Asks for a sign of life, which also measures the round trip; nothing if one is pending.</summary>
    public void Ping()
    {
        if (IsPingPending)
            return;
        _pingSent = _time.GetTimestamp();
        Frame(YamuxType.Ping, YamuxFlags.Syn, 0, ++_pingId);
    }

    /// <summary>Says that this side takes and opens no more streams (0 normal, 1 protocol error, 2 internal error).</summary>
    public void GoAway(uint code) => Frame(YamuxType.GoAway, YamuxFlags.None, 0, code);

    /// <summary>How many bytes of the output, which starts with a frame, are whole frames of together at most the length of the
    /// largest frame; at least one.</summary>
    internal int WholeFrames()
    {
        var most = _options.MaxFrameBody + YamuxFrame.HeaderSize;
        var output = Output.Data;
        var at = 0;
        while (at < output.Length)
        {
            var frame = YamuxFrame.Read(output[at..]);
            var next = at + YamuxFrame.HeaderSize + (frame.Type == YamuxType.Data ? (int)frame.Length : 0);
            if (next > most)
                break;
            at = next;
        }

        return at > 0 ? at : Math.Min(most, output.Length);
    }

    private void Remove(YamuxStream stream)
    {
        stream.IsGone = true;
        _streams.Remove(stream.Id);
        _grown -= stream.Window - YamuxOptions.InitialWindow;
        if (!stream.IsInbound)
        {
            Acknowledge(stream);
            return;
        }

        _inbound--;
        if (!stream.HasAnswer)
            _fruitless++;
    }

    /// <summary>A reset says enough without.</summary>
    private static YamuxFlags TakeAcknowledgement(YamuxStream stream)
    {
        if (!stream.IsInbound || stream.Acknowledged)
            return YamuxFlags.None;
        stream.Acknowledged = true;
        return YamuxFlags.Ack;
    }

    private void Acknowledge(YamuxStream stream)
    {
        if (stream.Acknowledged)
            return;
        stream.Acknowledged = true;
        _unacknowledged--;
    }

    private void Frame(YamuxType type, YamuxFlags flags, uint stream, uint length)
    {
        new YamuxFrame(type, flags, stream, length).Write(Output.Reserve(YamuxFrame.HeaderSize));
        Output.Commit(YamuxFrame.HeaderSize);
    }

    public void Dispose() => Output.Dispose();
}
