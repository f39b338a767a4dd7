using System.Buffers.Binary;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>One UDP flow over the tunnel, at either end. A datagram that finds no room is dropped: in the local socket's queue on
/// one side, by the local socket on the other.</summary>
/// <param name="isFramed">Each datagram on the stream has its length (2 bytes, big-endian) in front; else each is sent by itself,
/// and whatever comes in one piece is taken for one.</param>
internal abstract unsafe class DatagramPump(TunnelSession session, bool isFramed) : StreamSink, ISocketOwner, ITurnTaker, ITimed
{
    private const int MaxDatagram = 65_507;
    private const int Prefix = 2;

    /// <summary>Looks that must find nothing new before a flow is idle.</summary>
    internal const int IdleRounds = 4;

    private ByteQueue? _partial;
    private int _slot = -1;
    private bool _readable;
    private bool _hasTurn;
    private bool _carrying;
    private int _idleRounds;

    /// <summary>The local socket; -1 when it is closed.</summary>
    public int Descriptor { get; private set; } = -1;

    public long BytesOut { get; private set; }

    public long BytesIn { get; private set; }

    protected TunnelSession Session => session;

    protected TunnelLoop Loop => session.Loop;

    public bool IsDone => Descriptor < 0;

    public bool IsOver => Descriptor < 0;

    public void OnReady(EpollEvents events)
    {
        if ((events & (EpollEvents.In | EpollEvents.HangUp | EpollEvents.Error)) != EpollEvents.None)
            _readable = true;
        ReadLocal();
        // What found no room in the stream is lost, as its sender is.
        if ((events & EpollEvents.HangUp) != EpollEvents.None && Descriptor >= 0)
            Break();
    }

    public void OnTurn()
    {
        _hasTurn = false;
        ReadLocal();
    }

    /// <summary>From any thread: one of its own calls, on the loop's.</summary>
    public void Post(Action call) => Loop.Post(call, OnFault);

    public void OnFault(Exception exception) => Break();

    protected override void OnWritable() => ReadLocal();

    protected override void OnEnded() => Break();

    protected override void OnReset() => CloseLocal();

    /// <summary>The local socket is closed, for good.</summary>
    protected abstract void OnClosed();

    /// <summary>Datagrams moved, either way.</summary>
    protected virtual void OnMoved()
    {
    }

    /// <summary>Takes a connected datagram socket over. False if no more sockets can be watched.</summary>
    protected bool Own(int descriptor)
    {
        Descriptor = descriptor;
        Loop.Flows.Add(this);
        _slot = Loop.Register(descriptor, this);
        return _slot >= 0;
    }

    protected void Break()
    {
        Reset();
        CloseLocal();
    }

    /// <summary>Takes bytes of the stream: datagrams, in pieces of any size.</summary>
    protected void TakeData(ReadOnlySpan<byte> data)
    {
        var length = data.Length;
        NoteMoved();
        while (!data.IsEmpty)
        {
            if (!isFramed)
            {
                var piece = data[..Math.Min(data.Length, MaxDatagram)];
                Send(piece);
                data = data[piece.Length..];
                continue;
            }

            if (_partial is null && TryWhole(data, out var direct))
            {
                Send(direct);
                data = data[(Prefix + direct.Length)..];
                continue;
            }

            var partial = _partial ??= new ByteQueue(Prefix + ushort.MaxValue);
            var wanted = partial.Count < Prefix ? Prefix : Prefix + BinaryPrimitives.ReadUInt16BigEndian(partial.Data);
            var taken = Math.Min(wanted - partial.Count, data.Length);
            partial.Append(data[..taken]);
            data = data[taken..];
            if (TryWhole(partial.Data, out var kept))
            {
                Send(kept);
                partial.Dispose();
                _partial = null;
            }
        }

        Consumed(length);
    }

    /// <summary>Datagrams of the local socket may go out from here on.</summary>
    protected void Carry()
    {
        _carrying = true;
        ReadLocal();
    }

    public void OnOverdue()
    {
        if (++_idleRounds > IdleRounds)
            Break();
        else
            Loop.Flows.Add(this);
    }

    private void ReadLocal()
    {
        if (!_carrying || Descriptor < 0 || IsGone || !_readable)
            return;
        // Under the gate, so that nobody takes the room meanwhile.
        lock (session.Drive.Gate)
            ReadWhatFits();
    }

    private void ReadWhatFits()
    {
        // A datagram is read only when it fits whole, so that what does not fit waits in the socket's queue.
        var room = Math.Min(Math.Min(SendWindow, session.Drive.SendRoom - TunnelSession.FrameHeaders), Loop.Scratch.Length);
        var gathered = 0;
        var ended = false;
        fixed (byte* scratch = Loop.Scratch)
        {
            while (room - gathered >= Prefix + MaxDatagram)
            {
                var count = TcpSocket.Receive(Descriptor, scratch + gathered + Prefix, MaxDatagram);
                if (count < 0)
                {
                    // ECONNREFUSED is the answer to an earlier datagram; the flow may still come to life.
                    _readable = count != -Errno.EAGAIN;
                    if (_readable && count != -Errno.ECONNREFUSED)
                    {
                        Break();
                        return;
                    }

                    if (!_readable)
                        break;
                    continue;
                }

                ended = count == 0 && DatagramPair.IsOtherEndClosed(Descriptor);
                if (ended)
                    break;
                BytesOut += count;
                Loop.Count(count, 0);
                if (!isFramed)
                {
                    NoteMoved();
                    room -= Write(new ReadOnlySpan<byte>(scratch + Prefix, count));
                    continue;
                }

                BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(scratch + gathered, Prefix), (ushort)count);
                gathered += Prefix + count;
            }

            if (gathered > 0)
            {
                NoteMoved();
                // A datagram that is cut would be read as the length of the next: a flow that is out of step is over.
                if (Write(new ReadOnlySpan<byte>(scratch, gathered)) < gathered)
                    ended = true;
            }
        }

        if (ended)
            Break();
        else if (_readable && !_hasTurn && SendWindow >= Prefix + MaxDatagram)
        {
            _hasTurn = true;
            session.WaitForRoom(this);
        }
    }

    private void NoteMoved()
    {
        _idleRounds = 0;
        OnMoved();
    }

    protected void CloseLocal()
    {
        if (Descriptor < 0)
            return;
        if (_slot >= 0)
            Loop.Unregister(_slot);
        TcpSocket.Close(Descriptor);
        Descriptor = -1;
        _partial?.Dispose();
        OnClosed();
    }

    private static bool TryWhole(ReadOnlySpan<byte> bytes, out ReadOnlySpan<byte> datagram)
    {
        datagram = default;
        if (bytes.Length < Prefix)
            return false;
        var length = BinaryPrimitives.ReadUInt16BigEndian(bytes);
        if (bytes.Length < Prefix + length)
            return false;
        datagram = bytes.Slice(Prefix, length);
        return true;
    }

    private void Send(ReadOnlySpan<byte> datagram)
    {
        if (Descriptor < 0)
            return;
        fixed (byte* start = datagram)
        {
            if (TcpSocket.Send(Descriptor, start, datagram.Length) >= 0)
            {
                BytesIn += datagram.Length;
                Loop.Count(0, datagram.Length);
            }
            else
            {
                Loop.CountDropped();
            }
        }
    }
}
