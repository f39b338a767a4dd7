using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Tunnel.Loop;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>A UDP flow on the endpoint's node.</summary>
internal sealed class EndpointDatagrams(AcceptedRequest request) : DatagramPump(request.Session, request.Protocol.IsFramed)
{
    private bool _over;

    /// <summary>After the stream is this object's.</summary>
    /// <param name="first">What came behind the request.</param>
    public void Dial(ReadOnlySpan<byte> first)
    {
        var descriptor = DatagramDescriptor.Connect(request.Open.Endpoint, request.Proxy.Mark);
        if (descriptor < 0)
        {
            Refuse(AnswerCode.DialFailed, Errno.Describe(-descriptor));
            return;
        }

        if (!Own(descriptor))
        {
            Refuse(AnswerCode.Limit, "no more sockets can be watched");
            return;
        }

        request.Dialled();
        if (!TryWriteWhole(request.Answer(AnswerCode.Ok, "")))
        {
            Break();
            return;
        }

        Carry();
        if (!first.IsEmpty)
            TakeData(first);
    }

    protected override void OnData(Span<byte> data) => TakeData(data);

    protected override void OnReset()
    {
        base.OnReset();
        End();
    }

    protected override void OnClosed() => End();

    private void End()
    {
        if (_over)
            return;
        _over = true;
        request.Ended();
    }

    private void Refuse(AnswerCode code, string text)
    {
        _over = true;
        // The place is given back before anything that the peer could make fail.
        CloseLocal();
        request.Refused(code);
        _ = TryWriteWhole(request.Answer(code, text));
        CloseWrite();
    }
}
