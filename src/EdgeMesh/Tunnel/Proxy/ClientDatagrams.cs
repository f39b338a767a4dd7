using EdgeMesh.LibP2P;
using EdgeMesh.Tunnel.Loop;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>A UDP flow on the client's node. Datagrams follow the request at once: what an endpoint's node refuses is lost, as
/// the network may lose it.</summary>
internal sealed class ClientDatagrams(TunnelSession session, TunnelProtocol protocol, int descriptor, StreamPlace place, OutboundProxy owner)
    : DatagramPump(session, protocol.IsFramed)
{
    private AnswerReader _answer;
    private TunnelRefusal? _refusal;
    private bool _answered;
    private bool _told;

    public void Start()
    {
        var isWatched = Own(descriptor);
        using var request = protocol.Request(place.Destination, []);
        if (!isWatched || Session.IsOver || !TrySend(request.Data))
        {
            _refusal = Session.IsOver ? TunnelRefusal.NoSession : TunnelRefusal.Limit;
            CloseLocal();
            return;
        }

        if (protocol.IsFramed)
            Carry();
    }

    /// <summary>Opens the stream and sends the request whole, or neither; under the gate, so that nobody takes the room meanwhile.</summary>
    private bool TrySend(ReadOnlySpan<byte> request)
    {
        lock (Session.Drive.Gate)
        {
            return Session.Drive.SendRoom >= request.Length + TunnelSession.FrameHeaders && Session.Drive.TryOpen(this)
                && Write(request) == request.Length;
        }
    }

    /// <summary>Its place is another's by now. Whoever uses it learns that it has ended.</summary>
    public void GiveWay() => Break();

    protected override void OnMoved() => place.LastActive = Loop.Now;

    protected override void OnData(Span<byte> data)
    {
        if (_answered)
        {
            TakeData(data);
            return;
        }

        try
        {
            var answer = _answer.Read(protocol, data, out var rest);
            Consumed(data.Length - rest.Length);
            if (answer is null)
                return;
            _answered = answer.Code == AnswerCode.Ok;
            if (!_answered)
                _refusal = answer.ToRefusal();
            else if (!rest.IsEmpty)
                TakeData(rest);
            if (_answered && !protocol.IsFramed)
                Carry();
        }
        catch (PeerProtocolException)
        {
            _refusal = TunnelRefusal.Malformed;
        }

        if (!_answered && _refusal is not null)
            Break();
    }

    protected override void OnClosed()
    {
        if (_told)
            return;
        _told = true;
        if (!_answered)
            _refusal ??= TunnelRefusal.NoSession;
        owner.Ended(place, _refusal, BytesOut, BytesIn);
    }
}
