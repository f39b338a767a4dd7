using EdgeMesh.Linux.Sockets;
using EdgeMesh.Tunnel.Proxy;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>A connection on the endpoint's node: dials, answers, then bytes both ways. What the client sent with the request
/// waits until the endpoint has answered.</summary>
internal sealed class EndpointStream(TunnelLoop loop, OpenMessage open, ProxyService service) : ProxiedStream(loop), ITimed
{
    private bool _over;

    public bool IsDone => _over || IsCarrying;

    /// <summary>After the stream is this object's, with the client's first bytes.</summary>
    public void Dial()
    {
        var descriptor = TcpSocket.Connect(open.Endpoint, service.Mark, HasKept);
        if (descriptor < 0)
        {
            Refuse(AnswerCode.DialFailed, Errno.Describe(-descriptor));
            return;
        }

        Own(descriptor);
        if (Watch())
            service.Dials.Add(this);
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

        service.Dialled();
        if (!TryWriteWhole(ProxyPreamble.Ok))
        {
            Break(TunnelEndOf.Stream);
            return;
        }

        TcpSocket.WatchPeer(Descriptor, Loop.Watch);
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
        service.Refused(Drive!.Connection, open, code);
        _ = TryWriteWhole(ProxyPreamble.Answer(code, text));
        CloseWrite();
    }

    private void End()
    {
        if (_over)
            return;
        _over = true;
        service.Ended(Drive!.Connection);
    }
}
