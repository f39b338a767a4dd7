using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Tunnel.Proxy;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>A UDP flow on the endpoint's node.</summary>
internal sealed class EndpointDatagrams(TunnelLoop loop, OpenMessage open, ProxyService service) : DatagramStream(loop)
{
    private bool _over;

    /// <summary>After the stream is this object's.</summary>
    /// <param name="first">What came behind the request.</param>
    public void Dial(ReadOnlySpan<byte> first)
    {
        var descriptor = DatagramDescriptor.Connect(open.Endpoint, service.Mark);
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

        service.Dialled();
        if (!TryWriteWhole(ProxyPreamble.Ok))
        {
            Break();
            return;
        }

        Carry(service.Flows);
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
        service.Ended(Drive!.Connection);
    }

    private void Refuse(AnswerCode code, string text)
    {
        _over = true;
        // The place is given back before anything that the peer could make fail.
        CloseLocal();
        service.Refused(Drive!.Connection, open, code);
        _ = TryWriteWhole(ProxyPreamble.Answer(code, text));
        CloseWrite();
    }
}
