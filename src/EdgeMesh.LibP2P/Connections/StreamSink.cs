using EdgeMesh.LibP2P.Yamux;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>One stream of a driven connection, taken and fed synchronously on the driver's thread and under the connection's
/// gate, instead of through a queue that somebody awaits. An idle one holds no memory but itself. A peer that makes this side
/// answer and does not read breaks a bound of its session sooner or later, in whatever call that happens: the session ends by it,
/// and the call has done nothing.</summary>
public abstract class StreamSink
{
    private ConnectionDrive? _drive;
    private YamuxSession _session = null!;
    private YamuxStream _core = null!;
    private bool _lost;

    /// <summary>The connection that it runs over, from the driver's side; null before it is opened.</summary>
    public ConnectionDrive? Drive => _drive;

    /// <summary>The stream is out of the session's books: ended both ways, reset, or its connection is lost.</summary>
    public bool IsGone => _drive is null || _lost || _core.IsGone;

    /// <summary>How many bytes the peer takes right now.</summary>
    protected int SendWindow => (int)Math.Min(int.MaxValue, _core.SendWindow);

    /// <summary>Bytes arrived. What is used is to be <see cref="Consumed"/>, now or later; until then the peer's window stays
    /// smaller by it, so what has to be kept is bounded by the window.</summary>
    /// <param name="data">The sink's until it returns, also to be overwritten: another session is decrypted where it lies.</param>
    protected internal abstract void OnData(Span<byte> data);

    /// <summary>The peer will send no more.</summary>
    protected internal abstract void OnEnded();

    /// <summary>The stream was reset, or its connection is lost: the last call.</summary>
    protected internal abstract void OnReset();

    /// <summary>The peer takes more bytes.</summary>
    protected internal abstract void OnWritable();

    /// <summary>The peer has acknowledged the stream.</summary>
    protected internal virtual void OnAcknowledged()
    {
    }

    /// <summary>Sends as much as window and send buffer take, and says how much that was.</summary>
    protected int Write(ReadOnlySpan<byte> data)
    {
        lock (_drive!.Gate)
        {
            if (IsGone || _drive.Connection.Failure is not null)
                return 0;
            var count = _session.Write(_core, data);
            if (count > 0)
                _drive.Wake();
            return count;
        }
    }

    /// <summary>All of it or nothing: see <see cref="YamuxSession.TryWriteWhole"/>.</summary>
    protected bool TryWriteWhole(ReadOnlySpan<byte> data)
    {
        lock (_drive!.Gate)
        {
            if (IsGone || _drive.Connection.Failure is not null)
                return false;
            try
            {
                if (!_session.TryWriteWhole(_core, data))
                    return false;
            }
            catch (PeerProtocolException e)
            {
                _drive.Fail(e);
                return false;
            }

            _drive.Wake();
            return true;
        }
    }

    /// <summary>As <see cref="Write"/>, without a copy: see <see cref="YamuxSession.Reserve"/>. Under the gate up to
    /// <see cref="Commit"/>.</summary>
    protected Span<byte> Reserve(int most) =>
        IsGone || _drive!.Connection.Failure is not null ? [] : _session.Reserve(_core, most);

    /// <summary>The first bytes of the reserved place are to be sent.</summary>
    protected void Commit(int count)
    {
        _session.Commit(_core, count);
        _drive!.Wake();
    }

    /// <summary>Bytes that arrived are dealt with: the peer may send as many again.</summary>
    protected void Consumed(int count)
    {
        lock (_drive!.Gate)
        {
            if (IsGone || _drive.Connection.Failure is not null)
                return;
            try
            {
                _session.Consumed(_core, count);
            }
            catch (PeerProtocolException e)
            {
                _drive.Fail(e);
                return;
            }

            if (_session.Output.Count > 0)
                _drive.Wake();
        }
    }

    /// <summary>Says that this side will send no more.</summary>
    protected void CloseWrite()
    {
        lock (_drive!.Gate)
        {
            if (IsGone || _drive.Connection.Failure is not null)
                return;
            try
            {
                _session.CloseWrite(_core);
            }
            catch (PeerProtocolException e)
            {
                _drive.Fail(e);
                return;
            }

            _drive.AfterStream(_core);
        }
    }

    /// <summary>Gives the stream up, both directions, without <see cref="OnReset"/>.</summary>
    public void Reset()
    {
        if (_drive is null)
            return;
        lock (_drive.Gate)
        {
            if (IsGone || _drive.Connection.Failure is not null)
                return;
            try
            {
                _session.Reset(_core);
            }
            catch (PeerProtocolException e)
            {
                _drive.Fail(e);
                return;
            }

            _drive.AfterStream(_core);
        }
    }

    /// <summary>Another sink takes the stream from here on; <paramref name="arrived"/> is what has not been consumed.</summary>
    protected void PassTo(StreamSink next, Span<byte> arrived, bool ended)
    {
        next.Attach(_drive!, _session, _core);
        if (!arrived.IsEmpty)
            next.OnData(arrived);
        if (ended && !next.IsGone)
            next.OnEnded();
    }

    /// <summary>The stream is served asynchronously from here on, by the handler of its protocol; <paramref name="arrived"/> is
    /// what has not been consumed.</summary>
    protected void PassToHost(ReadOnlySpan<byte> arrived, bool ended) => _drive!.Serve(_core, arrived, ended);

    internal void Attach(ConnectionDrive drive, YamuxSession session, YamuxStream core)
    {
        (_drive, _session, _core) = (drive, session, core);
        core.Tag = this;
    }

    internal void Lose()
    {
        if (_lost)
            return;
        _lost = true;
        OnReset();
    }
}
