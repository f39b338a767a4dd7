using EdgeMesh.Linux.Sockets;
using EdgeMesh.Tunnel.Loop;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>A connection on the endpoint's node: dials, answers, then bytes both ways. What the client sent with the request
/// waits until the endpoint has answered.</summary>
internal sealed class EndpointStream(AcceptedRequest request) : SocketPump(request.Session), ITimed
{
    private bool _over;

    public bool IsDone => _over || IsCarrying;

    /// <summary>After the stream is this object's, with the client's first bytes.</summary>
    public void Dial()
    {
        var descriptor = TcpSocket.Connect(request.Open.Endpoint, request.Proxy.Mark, HasKept);
        if (descriptor < 0)
        {
            Refuse(AnswerCode.DialFailed, Errno.Describe(-descriptor));
            return;
        }

        Own(descriptor);
        if (Watch())
            Loop.Dials.Add(this);
        else
            Refuse(AnswerCode.Limit, "no more sockets can be watched");
    }

    public void OnOverdue() => Refuse(AnswerCode.DialFailed, "the endpoint did not answer in time");

    protected override void OnOpening(EpollEvents events)
    {
        if (_over || (events & (EpollEvents.Out | EpollEvents.Error | EpollEvents.HangUp)) == EpollEvents.None)
            return;
        if (TcpSocket.TakeError(Descriptor) is var error and not 0)
        {
            Refuse(AnswerCode.DialFailed, Errno.Describe(error));
            return;
        }

        request.Dialled();
        if (!TryWriteWhole(request.Answer(AnswerCode.Ok, "")))
        {
            Break(TunnelEndOf.Stream);
            return;
        }

        TcpSocket.WatchPeer(Descriptor, Loop.Options.Watch);
        Carry(events, localEnded: false);
    }

    protected override void OnData(Span<byte> data)
    {
        if (!_over)
            TakeData(data);
    }

    protected override void OnReset()
    {
        var wasCarrying = IsCarrying && Descriptor >= 0;
        base.OnReset();
        // Else the end comes with the closing of the socket.
        if (!wasCarrying)
            End();
    }

    protected override void OnClosed(TunnelEndOf by) => End();

    private void Refuse(AnswerCode code, string text)
    {
        if (_over)
            return;
        _over = true;
        // The place is given back before anything that the peer could make fail.
        CloseLocal(TunnelEndOf.Local, abort: true);
        request.Refused(code);
        _ = TryWriteWhole(request.Answer(code, text));
        CloseWrite();
    }

    private void End()
    {
        if (_over)
            return;
        _over = true;
        request.Ended();
    }
}
