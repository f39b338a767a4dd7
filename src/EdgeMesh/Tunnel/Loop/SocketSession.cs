using EdgeMesh.LibP2P.Connections;
using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>A session over a TCP connection.</summary>
internal sealed unsafe class SocketSession : TunnelSession, ISocketOwner
{
    /// <summary>Bytes that one session may bring in before the others have their turn.</summary>
    private const int TurnBytes = 256 * 1024;

    private readonly LoopTransport _transport;
    private bool _readable = true;
    private bool _readOn;
    private bool _blocked;
    private bool _hasTurn;

    public SocketSession(ConnectionDrive drive, LoopTransport transport)
        : base(transport.Loop, drive) => _transport = transport;

    public void Start()
    {
        if (!_transport.TryPassTo(this))
        {
            Drive.Fail(new IOException("the connection was closed"));
            MarkDirty();
            return;
        }

        Begin();
        Read();
    }

    public void OnReady(EpollEvents events)
    {
        const EpollEvents MoreBehind = EpollEvents.ReadHangUp | EpollEvents.HangUp | EpollEvents.Error;
        if ((events & (EpollEvents.In | MoreBehind)) != EpollEvents.None)
            _readable = true;
        if ((events & MoreBehind) != EpollEvents.None)
            _readOn = true;
        if (_blocked && (events & (EpollEvents.Out | EpollEvents.HangUp | EpollEvents.Error)) != EpollEvents.None)
        {
            _blocked = false;
            MarkDirty();
        }

        Read();
    }

    public override void OnTurn()
    {
        _hasTurn = false;
        Read();
    }

    protected override int Transmit(ReadOnlySpan<byte> bytes)
    {
        if (_blocked)
            return 0;
        fixed (byte* start = bytes)
        {
            var sent = TcpSocket.Send(_transport.Descriptor, start, bytes.Length);
            _blocked = sent == -Errno.EAGAIN || (sent >= 0 && sent < bytes.Length);
            return sent;
        }
    }

    protected override void CloseTransport() => _transport.Close();

    private void Read()
    {
        for (var left = TurnBytes; _readable && !IsOver && Drive.Connection.Failure is null;)
        {
            if (left <= 0)
            {
                if (!_hasTurn)
                    Loop.TakeTurnLater(this);
                _hasTurn = true;
                return;
            }

            var space = InputSpace();
            int count;
            fixed (byte* start = space)
                count = TcpSocket.Receive(_transport.Descriptor, start, space.Length);
            if (count > 0)
            {
                left -= count;
                // A short read has emptied the socket, unless its end is behind it.
                if (count < space.Length && !_readOn)
                    _readable = false;
                TakeInput(count);
                continue;
            }

            GiveInputBack();
            if (count == -Errno.EAGAIN)
                _readable = _readOn = false;
            else
                Drive.Fail(new IOException(count == 0 ? "the peer closed the connection" : Errno.Describe(-count)));
        }
    }
}
