using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Tunnel.Proxy;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>What whoever sent a client into the tunnel is told, on the loop's thread: refused, or taken and then ended.</summary>
internal abstract class ClientEvents
{
    /// <summary>Nobody took it, and none of its bytes has reached an endpoint: the descriptor is the caller's again.</summary>
    public abstract void Refused(TunnelRefusal refusal, string reason);

    /// <summary>An endpoint has taken it.</summary>
    public abstract void Taken();

    /// <summary>Bytes moved, either way.</summary>
    /// <param name="now">In the loop's milliseconds.</param>
    public abstract void Moved(long now);

    /// <summary>The connection is over and its descriptor closed.</summary>
    public abstract void Ended(TunnelEnd end, long bytesToEndpoint, long bytesToClient);
}

/// <summary>A connection on the client's node:
/// <code>
///   request with the client's first bytes -> answer -> bytes both ways
/// </code>
/// Until the answer nothing more is read from the client, so that another endpoint can still be tried.</summary>
internal sealed class ClientStream(TunnelLoop loop, TunnelSession session, TunnelledClient client, ClientEvents events)
    : ProxiedStream(loop), ITimed
{
    private ByteQueue? _request;
    private AnswerReader _answer;
    private bool _told;
    private bool _isLost;
    private bool _givesWay;
    private int _firstBytes;

    public bool IsDone => _told || IsCarrying;

    /// <param name="deadlines">How long the answer may take.</param>
    public void Start(DeadlineQueue deadlines)
    {
        Own(client.Descriptor);
        _request = ProxyPreamble.Request(client.Destination, client.FirstBytes.Span);
        _firstBytes = client.FirstBytes.Length;
        deadlines.Add(this);
        TryOpen();
    }

    /// <summary>Its place is another's by now.</summary>
    public void GiveWay()
    {
        if (_told)
            return;
        _givesWay = true;
        _request?.Dispose();
        _request = null;
        Break(TunnelEndOf.Local);
    }

    public void OnOverdue()
    {
        _isLost = true;
        Reset();
        LoseBeforeAnswer("no answer in time");
    }

    protected override void OnOpening(EpollEvents events)
    {
        if (_request is not null)
            TryOpen();
    }

    protected override void OnData(Span<byte> data)
    {
        if (IsCarrying)
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
            answer = _answer.Read(data, out rest);
        }
        catch (PeerProtocolException e)
        {
            Reset();
            Refuse(TunnelRefusal.Malformed, e.Message);
            return;
        }

        Consumed(data.Length - rest.Length);
        if (answer is null)
            return;
        if (answer.Code != AnswerCode.Ok)
        {
            Reset();
            Refuse(answer.ToRefusal(), answer.Text);
            return;
        }

        Carry(rest);
    }

    protected override void OnReset()
    {
        if (IsCarrying)
            base.OnReset();
        else
            LoseBeforeAnswer("the stream was reset before the answer");
    }

    protected override void OnEnded()
    {
        if (IsCarrying)
        {
            base.OnEnded();
            return;
        }

        Reset();
        LoseBeforeAnswer("the stream ended before the answer");
    }

    protected override void OnMoved() => events.Moved(Loop.Now);

    protected override void OnClosed(TunnelEndOf by)
    {
        if (_told)
            return;
        _told = true;
        var end = by switch
        {
            _ when _givesWay => TunnelEnd.GaveWay,
            TunnelEndOf.Both => TunnelEnd.Completed,
            TunnelEndOf.Local => TunnelEnd.ClientReset,
            _ => !_isLost && Drive?.Connection.Failure is null ? TunnelEnd.EndpointReset : TunnelEnd.SessionLost,
        };
        events.Ended(end, BytesOut + _firstBytes, BytesIn);
    }

    private void Carry(ReadOnlySpan<byte> first)
    {
        events.Taken();
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
        if (session.IsOver || session.Drive.Connection.Failure is not null)
        {
            Refuse(TunnelRefusal.NoSession, "the session was lost");
            return;
        }

        // The request leaves in one flight, or later. The frame that opens the stream takes some of the room, and under the gate
        // nobody else does.
        bool hasRoom, isOpen;
        lock (session.Drive.Gate)
        {
            hasRoom = session.Drive.SendRoom >= _request!.Count + ProxyPreamble.Margin;
            isOpen = hasRoom && session.Drive.TryOpen(this);
            if (isOpen)
                Write(_request.Data);
        }

        if (!hasRoom)
        {
            session.WaitForRoom(this);
            return;
        }

        if (!isOpen)
        {
            if (session.Drive.MayOpenLater)
                session.WaitForStream(this);
            else
                Refuse(TunnelRefusal.NoSession, "the peer takes no more streams");
            return;
        }

        if (client.Ended)
            CloseWrite();
        _request.Dispose();
        _request = null;
    }

    /// <summary>Nobody knows how far the client's first bytes came: another endpoint may have them only if there were none, or
    /// they have not left.</summary>
    private void LoseBeforeAnswer(string reason)
    {
        if (_told)
            return;
        if (_firstBytes == 0 || _request is not null)
            Refuse(TunnelRefusal.NoSession, reason);
        else
            CloseLocal(TunnelEndOf.Stream, abort: true);
    }

    private void Refuse(TunnelRefusal refusal, string reason)
    {
        if (_told)
            return;
        _told = true;
        _request?.Dispose();
        _request = null;
        Disown();
        events.Refused(refusal, reason);
    }
}
