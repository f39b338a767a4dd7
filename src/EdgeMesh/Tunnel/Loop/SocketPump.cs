using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.LibP2P.Yamux;
using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>
/// One TCP connection over the tunnel, at either end: a stream and a local socket, bytes both ways, each end passed on by
/// itself, a reset passed on as a reset, behind what was sent before it.
/// <code>
///   local -> stream   read straight into the session's frames; nothing is read while window or send buffer are full
///   stream -> local   written from where it was decrypted; only what the socket does not take is kept, and the peer's
///                     window stays smaller by it
/// </code>
/// </summary>
internal abstract unsafe partial class SocketPump(TunnelSession session) : StreamSink, ISocketOwner, ITurnTaker, IDelivery
{
    /// <summary>Bytes that one stream may put into frames before the others have their turn.</summary>
    private const int TurnBytes = 256 * 1024;

    private const int Chunk = 64 * 1024;

    private int _slot = -1;
    private ByteQueue? _kept;
    private bool _carrying;
    private bool _hasTurn;
    private bool _readable;
    private bool _readOn;
    private bool _endBehind;
    private bool _localEnded;
    private bool _outClosed;
    private bool _blocked;
    private bool _streamEnded;
    private bool _inClosed;
    private bool _wasBlocked;
    private bool _localGone;
    private bool _streamGone;
    private bool _delivering;
    private long _undelivered;
    private long _deliveredAt;

    /// <summary>The local socket; -1 when it is closed.</summary>
    public int Descriptor { get; private set; } = -1;

    /// <summary>Bytes from the local socket to the stream.</summary>
    public long BytesOut { get; private set; }

    /// <summary>Bytes from the stream to the local socket.</summary>
    public long BytesIn { get; private set; }

    protected TunnelSession Session => session;

    protected TunnelLoop Loop => session.Loop;

    /// <summary>Bytes of the stream wait for the local socket.</summary>
    protected bool HasKept => _kept is not null;

    /// <summary>Whether bytes of the local socket may go out, and the stream's bytes in.</summary>
    protected bool IsCarrying => _carrying;

    /// <summary>The local socket is closed or given away, or was never opened.</summary>
    public bool IsOver => Descriptor < 0;

    public void OnReady(EpollEvents events)
    {
        if (!_carrying)
        {
            OnOpening(events);
            return;
        }

        Note(events);
        if ((events & EpollEvents.Error) != EpollEvents.None)
            LoseLocal();
        if (!_blocked && _kept is not null)
            WriteKept();
        if (Descriptor >= 0)
            ReadLocal();
        if (_delivering)
            LookAtDelivery();
    }

    public void OnTurn()
    {
        _hasTurn = false;
        if (Descriptor < 0)
            return;
        if (!_carrying)
            OnOpening(EpollEvents.None);
        else if (!IsGone)
            ReadLocal();
    }

    /// <summary>From any thread: one of its own calls, on the loop's.</summary>
    public void Post(Action call) => Loop.Post(call, OnFault);

    public void OnFault(Exception exception)
    {
        Reset();
        CloseLocal(TunnelEndOf.Local, abort: true);
    }

    protected override void OnWritable()
    {
        if (_carrying)
            ReadLocal();
    }

    protected override void OnEnded()
    {
        _streamEnded = true;
        if (_carrying)
            EndLocal();
    }

    protected override void OnReset()
    {
        _streamGone = true;
        if (_carrying && Descriptor >= 0 && !_localGone)
            Deliver();
        else
            CloseLocal(TunnelEndOf.Stream, abort: true);
    }

    /// <summary>Before <see cref="Carry"/>: something happened at the local socket, or there is room to send.</summary>
    protected abstract void OnOpening(EpollEvents events);

    /// <summary>The local socket is closed, for good.</summary>
    protected abstract void OnClosed(TunnelEndOf by);

    /// <summary>Bytes moved, either way.</summary>
    protected virtual void OnMoved()
    {
    }

    /// <summary>The local socket, which this object closes; registered now or by <see cref="Watch"/>.</summary>
    protected void Own(int descriptor) => Descriptor = descriptor;

    /// <summary>False if no more sockets can be watched.</summary>
    protected bool Watch()
    {
        _slot = Loop.Register(Descriptor, this);
        return _slot >= 0;
    }

    /// <summary>From here on bytes flow.</summary>
    /// <param name="events">What is known of the socket.</param>
    /// <param name="localEnded">The local side has sent its end already.</param>
    protected void Carry(EpollEvents events, bool localEnded)
    {
        _carrying = true;
        _localEnded = localEnded;
        Note(events);
        TcpSocket.SendAtOnce(Descriptor);
        if (_kept is not null)
            WriteKept();
        if (Descriptor >= 0 && _streamEnded)
            EndLocal();
        if (Descriptor >= 0)
            ReadLocal();
    }

    /// <summary>Takes bytes of the stream that are the connection's.</summary>
    protected void TakeData(ReadOnlySpan<byte> data)
    {
        if (_localGone)
        {
            Consumed(data.Length);
            return;
        }

        var taken = 0;
        if (_carrying && _kept is null && !_blocked)
        {
            fixed (byte* start = data)
                taken = TcpSocket.Send(Descriptor, start, data.Length);
            if (taken == -Errno.EAGAIN)
            {
                taken = 0;
            }
            else if (taken < 0)
            {
                LoseLocal();
                Consumed(data.Length);
                ReadLocal();
                return;
            }

            BytesIn += taken;
            Loop.Count(0, taken);
            _blocked = taken < data.Length;
            _wasBlocked |= _blocked;
        }

        if (taken < data.Length)
        {
            _kept ??= new ByteQueue(int.MaxValue);
            _kept.Append(data[taken..]);
        }

        if (taken == 0)
            return;
        Consumed(taken);
        OnMoved();
    }

    /// <summary>Gives the local socket away, open.</summary>
    protected void Disown() => Descriptor = -1;

    /// <summary>Both sides are given up.</summary>
    protected void Break(TunnelEndOf by)
    {
        Reset();
        CloseLocal(by, abort: true);
    }

    /// <summary>Closes the local socket, once.</summary>
    protected void CloseLocal(TunnelEndOf by, bool abort)
    {
        if (Descriptor < 0)
            return;
        if (_slot >= 0)
            Loop.Unregister(_slot);
        if (abort)
            TcpSocket.Abort(Descriptor);
        else
            TcpSocket.Close(Descriptor);
        Descriptor = -1;
        _delivering = false;
        _kept?.Dispose();
        _kept = null;
        OnClosed(by);
    }

    private void Note(EpollEvents events)
    {
        const EpollEvents MoreBehind = EpollEvents.ReadHangUp | EpollEvents.HangUp | EpollEvents.Error;
        if ((events & (EpollEvents.In | MoreBehind)) != EpollEvents.None)
            _readable = true;
        if ((events & MoreBehind) != EpollEvents.None)
        {
            _readOn = true;
            _endBehind = (events & MoreBehind & ~EpollEvents.HangUp) == EpollEvents.ReadHangUp;
        }

        if ((events & (EpollEvents.Out | EpollEvents.HangUp | EpollEvents.Error)) != EpollEvents.None)
            _blocked = false;
    }

    private void ReadLocal()
    {
        if (_outClosed || _streamGone)
            return;
        lock (session.Drive.Gate)
        {
            for (var left = TurnBytes; _readable && !_localEnded;)
            {
                if (left <= 0)
                {
                    WaitForTurn(afterRoom: false);
                    return;
                }

                var space = Reserve(Chunk);
                if (space.IsEmpty)
                {
                    // A full window opens with an event of its own.
                    if (session.Drive.SendRoom == 0 && !IsGone)
                        WaitForTurn(afterRoom: true);
                    return;
                }

                int count;
                fixed (byte* start = space)
                    count = TcpSocket.Receive(Descriptor, start, space.Length);
                if (count > 0)
                {
                    Commit(count);
                    BytesOut += count;
                    Loop.Count(count, 0);
                    OnMoved();
                    left -= count;
                    if (count < space.Length)
                        TakeShortRead();
                }
                else if (count == 0 && !_localGone)
                {
                    _localEnded = true;
                }
                else if (count == -Errno.EAGAIN)
                {
                    _readable = _readOn = _endBehind = false;
                }
                else
                {
                    // Behind what it sent before.
                    Break(TunnelEndOf.Local);
                    return;
                }
            }

            if (!_localEnded)
                return;
            _outClosed = true;
            CloseWrite();
        }

        if (_inClosed)
            CloseDelivered();
    }

    /// <summary>The socket was empty at that moment; whatever comes makes a new edge, unless its end is behind already.</summary>
    private void TakeShortRead()
    {
        if (_endBehind)
            _localEnded = true;
        else if (!_readOn)
            _readable = false;
    }

    private void WaitForTurn(bool afterRoom)
    {
        if (_hasTurn)
            return;
        _hasTurn = true;
        if (afterRoom)
            session.WaitForRoom(this);
        else
            Loop.TakeTurnLater(this);
    }

    private void WriteKept()
    {
        while (_kept is { Count: > 0 } kept)
        {
            int sent;
            fixed (byte* start = kept.Data)
                sent = TcpSocket.Send(Descriptor, start, kept.Count);
            if (sent == -Errno.EAGAIN)
            {
                _blocked = _wasBlocked = true;
                return;
            }

            if (sent < 0)
            {
                LoseLocal();
                return;
            }

            kept.Consume(sent);
            BytesIn += sent;
            Loop.Count(0, sent);
            Consumed(sent);
            OnMoved();
        }

        _kept = null;
        if (_streamEnded)
            EndLocal();
    }

    private void EndLocal()
    {
        if (_inClosed || _kept is not null || Descriptor < 0)
            return;
        _inClosed = true;
        // When the other direction is done too, closing says the same.
        if (_outClosed)
            CloseDelivered();
        else
            TcpSocket.ShutdownWrite(Descriptor);
    }

    /// <summary>The local side was reset: what the stream brings is dropped from here on, and what the socket still holds goes
    /// out before the stream is reset.</summary>
    private void LoseLocal()
    {
        if (_localGone)
            return;
        _localGone = true;
        if (_kept is { } kept)
        {
            Consumed(kept.Count);
            kept.Dispose();
            _kept = null;
        }

        if (_outClosed || _streamGone)
        {
            Break(TunnelEndOf.Local);
            return;
        }

        (_localEnded, _readable, _readOn, _endBehind) = (false, true, true, false);
        WaitForDelivery();
    }
}

/// <summary>Which side ended a proxied connection.</summary>
internal enum TunnelEndOf
{
    Both,
    Local,
    Stream,
}
