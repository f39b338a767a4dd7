using EdgeMesh.LibP2P.Select;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.LibP2P.Yamux;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>
/// One stream to a peer, with half-close: <see cref="CloseWrite"/> ends this direction and leaves the other open; a read of
/// zero bytes is the peer's end. Disposing ends this direction and refuses what still comes; <see cref="Reset"/> tells the
/// peer that something went wrong. One reader and one writer at a time.
/// </summary>
public sealed class PeerStream : AsyncOnlyStream
{
    private readonly Signal _readable = new();
    private readonly Signal _writable = new();
    private readonly ByteQueue _received;
    private bool _ended;
    private bool _reset;
    private bool _abandoned;

    internal PeerStream(PeerConnection connection, YamuxStream core, int receiveLimit)
    {
        Connection = connection;
        Core = core;
        core.Tag = this;
        _received = new ByteQueue(receiveLimit);
    }

    /// <summary>The connection that it runs over.</summary>
    public PeerConnection Connection { get; }

    /// <summary>What was negotiated on it.</summary>
    public string Protocol { get; internal set; } = "";

    internal YamuxStream Core { get; }

    /// <summary>The negotiation that still stands in front of what arrives, after an eager opening.</summary>
    internal ProtocolSelection? Selection { get; set; }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            Task wait;
            lock (Connection.Gate)
            {
                if (_received.Count > 0 && !_abandoned)
                {
                    var count = _received.Take(buffer.Span);
                    Connection.Consumed(this, count);
                    return count;
                }

                ThrowIfLost();
                if (_ended || _abandoned)
                    return 0;
                wait = _readable.Wait();
            }

            await wait.WaitAsync(cancellationToken);
        }
    }

    /// <summary>Waits until a read would not wait: bytes are there, or the end, or the loss of the stream. A reader that waits
    /// here needs no buffer meanwhile.</summary>
    public async ValueTask WaitToReadAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            Task wait;
            lock (Connection.Gate)
            {
                if (_received.Count > 0 || _ended || _abandoned || _reset || Connection.Failure is not null)
                    return;
                wait = _readable.Wait();
            }

            await wait.WaitAsync(cancellationToken);
        }
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            Task wait;
            lock (Connection.Gate)
            {
                ThrowIfLost();
                ObjectDisposedException.ThrowIf(_abandoned, this);
                buffer = buffer[Connection.Write(this, buffer.Span)..];
                if (buffer.IsEmpty)
                    return;
                wait = Core.SendWindow == 0 ? _writable.Wait() : Connection.SendRoom.Wait();
            }

            await wait.WaitAsync(cancellationToken);
        }
    }

    /// <summary>From the driver's thread, if the connection is driven: <paramref name="sink"/> takes the stream from here on,
    /// with what has arrived on it and was not read. Nobody may read or write here any more. False if the stream is lost.</summary>
    public bool TryPassTo(StreamSink sink)
    {
        ArgumentNullException.ThrowIfNull(sink);
        lock (Connection.Gate)
        {
            if (Connection.Drive is not { } drive || Connection.Failure is not null || _reset || _abandoned || Core.IsGone)
                return false;
            drive.Take(this, sink);
            return true;
        }
    }

    /// <summary>Says that this side will send no more.</summary>
    public void CloseWrite()
    {
        lock (Connection.Gate)
            Connection.CloseWrite(this);
    }

    /// <summary>Gives the stream up, both directions.</summary>
    public void Reset()
    {
        lock (Connection.Gate)
        {
            if (_reset)
                return;
            Connection.Reset(this);
            Lose();
        }
    }

    /// <summary>Under the lock: bytes arrived. False if nobody wants them any more.</summary>
    internal bool Receive(ReadOnlySpan<byte> data)
    {
        if (_abandoned)
            return false;
        if (Selection is { } selection)
        {
            var before = data.Length;
            var state = selection.Receive(ref data);
            Connection.Consumed(this, before - data.Length);
            if (state == SelectionState.Refused)
            {
                // The caller tells the peer; whoever reads here is told by this.
                Lose();
                return false;
            }

            if (state == SelectionState.Agreed)
            {
                Selection = null;
                selection.Dispose();
            }

            if (data.IsEmpty)
                return true;
        }

        _received.Append(data);
        _readable.Set();
        return true;
    }

    /// <summary>Under the lock: the peer ended its direction.</summary>
    internal void End()
    {
        _ended = true;
        _readable.Set();
    }

    /// <summary>Under the lock: gives what arrived to the stream's sink.</summary>
    internal void HandOver(StreamSink sink)
    {
        // A dispose of this object must no longer end the stream.
        _abandoned = true;
        if (_received.Count > 0)
            sink.OnData(_received.Data);
        _received.Dispose();
        // The sink may have passed the stream on.
        if (_ended && Core.Tag is StreamSink { IsGone: false } now)
            now.OnEnded();
    }

    internal void WindowOpened() => _writable.Set();

    /// <summary>Under the lock: the stream, or the connection under it, is gone.</summary>
    internal void Lose()
    {
        _reset = true;
        _received.Dispose();
        _readable.Set();
        _writable.Set();
    }

    private void ThrowIfLost()
    {
        if (Connection.Failure is { } failure)
            throw new IOException($"the connection to {Connection.RemotePeer} is closed: {failure.Message}", failure);
        if (_reset)
            throw new StreamResetException($"the stream to {Connection.RemotePeer} was reset");
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            lock (Connection.Gate)
            {
                if (!_abandoned)
                {
                    _abandoned = true;
                    // What arrived and was not read would be lost without a word.
                    if (_received.Count > 0)
                        Connection.Reset(this);
                    else
                        Connection.CloseWrite(this);
                    _received.Dispose();
                    _readable.Set();
                    _writable.Set();
                }
            }
        }

        base.Dispose(disposing);
    }
}
