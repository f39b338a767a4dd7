using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Yamux;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>A connection from its driver's side. All members belong to the driver's thread, unless they say otherwise; those
/// that touch the session hold <see cref="Gate"/>, which the driver may hold around several calls.</summary>
public sealed class ConnectionDrive
{
    private readonly PeerHost _host;
    private readonly YamuxSession _session;
    private readonly NoiseSession _noise;
    private readonly TaskCompletionSource _finished = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private byte[] _plainAhead;

    internal ConnectionDrive(PeerConnection connection, PeerHost host, YamuxSession session, NoiseSession noise, byte[] plainAhead, byte[] ahead)
    {
        Connection = connection;
        _host = host;
        _session = session;
        _noise = noise;
        _plainAhead = plainAhead;
        Ahead = ahead;
    }

    public PeerConnection Connection { get; }

    /// <summary>Guards the session against streams that are read and written asynchronously.</summary>
    public object Gate => Connection.Gate;

    /// <summary>What arrived during the handshake and belongs in front of everything that the driver reads.</summary>
    public byte[] Ahead { get; }

    /// <summary>Called when there is something to send or the connection has failed; from any thread, under the gate.</summary>
    public Action? Woken { get; set; }

    /// <summary>Asked for each stream that the peer opens: its sink, or null for one that is read asynchronously.</summary>
    public Func<StreamSink?>? Opened { get; set; }

    /// <summary>Whether something waits to be sent.</summary>
    public bool HasOutput => _session.Output.Count > 0;

    /// <summary>How many bytes of streams are taken before <see cref="Seal"/> has made room.</summary>
    public int SendRoom => _session.SendRoom;

    internal Task Finished => _finished.Task;

    /// <summary>Takes what has arrived, decrypting it where it is, and returns how much of it: what is left is the beginning of a
    /// message and has to be given again with its rest. Sinks are called from here.</summary>
    /// <exception cref="PeerProtocolException">The peer broke the protocol or a bound.</exception>
    /// <exception cref="IOException">The peer ended the session.</exception>
    public int Receive(Span<byte> arrived)
    {
        lock (Gate)
        {
            if (_plainAhead.Length > 0)
            {
                var ahead = _plainAhead;
                _plainAhead = [];
                Connection.Receive(ahead);
            }

            Connection.NoteArrival();
            var taken = 0;
            while (Connection.Failure is null && _noise.TryOpen(arrived[taken..], out var length, out var plain))
            {
                taken += length;
                Connection.Receive(plain);
            }

            // Answers to pings and the like, which no sink knows of.
            if (HasOutput)
                Wake();
            return taken;
        }
    }

    /// <summary>Encrypts what waits to be sent, as many whole messages as fit, and returns how many bytes that makes.</summary>
    /// <param name="destination">One that is shorter than the largest Noise message may have no room for the next.</param>
    public int Seal(Span<byte> destination)
    {
        lock (Gate)
        {
            var output = _session.Output;
            if (output.Count == 0)
                return 0;
            var sealedBytes = 0;
            while (output.Count > 0)
            {
                // Whole frames, so that none arrives in two pieces.
                var count = _session.WholeFrames();
                if (NoiseSession.SealedLength(count) > destination.Length - sealedBytes)
                    break;
                sealedBytes += _noise.Seal(output.Data[..count], destination[sealedBytes..]);
                output.Consume(count);
            }

            Connection.SendRoom.Set();
            return sealedBytes;
        }
    }

    /// <summary>Opens a stream for a sink, or says why not.</summary>
    public bool TryOpen(StreamSink sink)
    {
        ArgumentNullException.ThrowIfNull(sink);
        lock (Gate)
        {
            if (Connection.Failure is not null || _session.TryOpen() is not { } core)
                return false;
            sink.Attach(this, _session, core);
            Wake();
            return true;
        }
    }

    /// <summary>Whether more streams could be opened after others were acknowledged or ended.</summary>
    public bool MayOpenLater
    {
        get
        {
            lock (Gate)
                return Connection.Failure is null && !_session.PeerIsLeaving;
        }
    }

    /// <summary>Ends the connection, from any thread; the driver then says good-bye, loses the sinks and finishes.</summary>
    public void Fail(Exception reason)
    {
        ArgumentNullException.ThrowIfNull(reason);
        Connection.Fail(reason, goodbye: reason is PeerProtocolException);
    }

    /// <summary>The transport is closed: every sink is told, and the connection is over.</summary>
    public void Finish()
    {
        Fail(new IOException("the connection was closed"));
        lock (Gate)
        {
            foreach (var stream in _session.Streams)
                (stream.Tag as StreamSink)?.Lose();
        }

        Woken = null;
        _finished.TrySetResult();
    }

    /// <summary>Gives a stream back to be served asynchronously, with what has arrived on it and was not consumed.</summary>
    internal void Serve(YamuxStream core, ReadOnlySpan<byte> arrived, bool ended)
    {
        var stream = Connection.Add(core);
        if (!arrived.IsEmpty)
            stream.Receive(arrived);
        if (ended)
            stream.End();
        _host.Serve(stream);
    }

    /// <summary>Takes an asynchronous stream over for a sink, with what has arrived on it and was not read.</summary>
    internal void Take(PeerStream stream, StreamSink sink)
    {
        sink.Attach(this, _session, stream.Core);
        stream.HandOver(sink);
        Connection.Forget(stream);
    }

    internal bool TryTake(YamuxStream core)
    {
        if (Opened?.Invoke() is not { } sink)
            return false;
        sink.Attach(this, _session, core);
        return true;
    }

    internal void Wake() => Woken?.Invoke();

    internal void AfterStream(YamuxStream core) => Connection.AfterStream(core);
}
