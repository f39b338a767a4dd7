using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Tunnel.Loop;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>A connection on the client's node:
/// <code>
///   request with the client's first bytes -> answer -> bytes both ways
/// </code>
/// Until the answer nothing more is read from the client, so that another endpoint can still be tried.</summary>
internal sealed class ClientStream(TunnelSession session, TunnelProtocol protocol, TunnelledClient client, StreamPlace place, OutboundProxy owner)
    : SocketPump(session), ITimed
{
    private ByteQueue? _request;
    private ByteQueue? _held;
    private AnswerReader _answer;
    private bool _told;
    private bool _isLost;
    private bool _givesWay;
    private int _firstBytes;

    public bool IsDone => _told || IsTaken;

    private bool IsTaken => IsCarrying || _held is not null;

    public void Start()
    {
        Own(client.Descriptor);
        _request = protocol.Request(client.Destination, client.FirstBytes.Span);
        _firstBytes = client.FirstBytes.Length;
        Loop.Answers.Add(this);
        TryOpen();
    }

    /// <summary>Its place is another's by now.</summary>
    public void GiveWay()
    {
        if (_told)
            return;
        _givesWay = true;
        Forget();
        Break(TunnelEndOf.Local);
    }

    public void OnOverdue()
    {
        _isLost = true;
        Reset();
        LoseBeforeAnswer();
    }

    protected override void OnOpening(EpollEvents events)
    {
        if (_request is not null)
            TryOpen();
        else if (_held is not null)
            SendHeld();
    }

    protected override void OnWritable()
    {
        if (_held is not null)
            SendHeld();
        else
            base.OnWritable();
    }

    protected override void OnData(Span<byte> data)
    {
        if (IsTaken)
        {
            TakeData(data);
            return;
        }

        if (_told)
            return;
        AnswerMessage? answer;
        ReadOnlySpan<byte> rest;
        try
        {
            answer = _answer.Read(protocol, data, out rest);
        }
        catch (PeerProtocolException)
        {
            Reset();
            Refuse(TunnelRefusal.Malformed);
            return;
        }

        Consumed(data.Length - rest.Length);
        if (answer is null)
            return;
        if (answer.Code != AnswerCode.Ok)
        {
            Reset();
            Refuse(answer.ToRefusal());
            return;
        }

        owner.CountCarried();
        if (protocol.IsFramed || _firstBytes == 0)
        {
            Carry(rest);
            return;
        }

        _held = ByteQueue.Of(client.FirstBytes.Span);
        if (!rest.IsEmpty)
            TakeData(rest);
        SendHeld();
    }

    protected override void OnReset()
    {
        if (IsTaken)
            base.OnReset();
        else
            LoseBeforeAnswer();
    }

    protected override void OnEnded()
    {
        if (IsTaken)
        {
            base.OnEnded();
            return;
        }

        Reset();
        LoseBeforeAnswer();
    }

    protected override void OnMoved() => client.LastActive = place.LastActive = Loop.Now;

    protected override void OnClosed(TunnelEndOf by)
    {
        if (_told)
            return;
        _told = true;
        Forget();
        var end = by switch
        {
            _ when _givesWay => TunnelEnd.GaveWay,
            TunnelEndOf.Both => TunnelEnd.Completed,
            TunnelEndOf.Local => TunnelEnd.ClientReset,
            _ => !_isLost && Drive?.Connection.Failure is null ? TunnelEnd.EndpointReset : TunnelEnd.SessionLost,
        };
        owner.Ended(client, place, end, BytesOut + _firstBytes, BytesIn);
    }

    private void Carry(ReadOnlySpan<byte> first)
    {
        // The endpoint's first bytes go out before anything else is looked at.
        if (!Watch())
        {
            Break(TunnelEndOf.Local);
            return;
        }

        Carry(EpollEvents.None, client.Ended);
        if (!first.IsEmpty && Descriptor >= 0)
            TakeData(first);
    }

    private void TryOpen()
    {
        if (Session.IsOver || Session.Drive.Connection.Failure is not null)
        {
            Refuse(TunnelRefusal.NoSession);
            return;
        }

        // The request leaves in one flight, or later. The frame that opens the stream takes some of the room, and under the gate
        // nobody else does.
        bool hasRoom, isOpen;
        lock (Session.Drive.Gate)
        {
            hasRoom = Session.Drive.SendRoom >= _request!.Count + TunnelSession.FrameHeaders;
            isOpen = hasRoom && Session.Drive.TryOpen(this);
            if (isOpen)
                Write(_request.Data);
        }

        if (!hasRoom)
        {
            Session.WaitForRoom(this);
            return;
        }

        if (!isOpen)
        {
            if (Session.Drive.MayOpenLater)
                Session.WaitForStream(this);
            else
                Refuse(TunnelRefusal.NoSession);
            return;
        }

        Forget();
        if (client.Ended && protocol.IsFramed)
            CloseWrite();
    }

    /// <summary>The first bytes of a client whose protocol holds them until the answer.</summary>
    private void SendHeld()
    {
        _held!.Consume(Write(_held.Data));
        if (_held.Count == 0)
        {
            Forget();
            Carry([]);
        }
        else if (Session.Drive.SendRoom == 0)
        {
            // A full window opens with an event of its own.
            Session.WaitForRoom(this);
        }
    }

    /// <summary>Nobody knows how far the client's first bytes came: another endpoint may have them only if there were none, or
    /// they have not left.</summary>
    private void LoseBeforeAnswer()
    {
        if (_told)
            return;
        if (_firstBytes == 0 || _request is not null || !protocol.IsFramed)
            Refuse(TunnelRefusal.NoSession);
        else
            CloseLocal(TunnelEndOf.Stream, abort: true);
    }

    private void Refuse(TunnelRefusal refusal)
    {
        if (_told)
            return;
        _told = true;
        Forget();
        Disown();
        owner.Refused(client, place, refusal);
    }

    private void Forget()
    {
        _request?.Dispose();
        _held?.Dispose();
        _request = _held = null;
    }
}
