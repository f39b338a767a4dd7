using EdgeMesh.LibP2P;
using EdgeMesh.Tunnel.Proxy;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>What whoever sent a UDP flow into the tunnel is told, on the loop's thread.</summary>
internal abstract class FlowEvents
{
    /// <inheritdoc cref="ClientEvents.Moved"/>
    public abstract void Moved(long now);

    /// <summary>Once.</summary>
    /// <param name="flow">Its counts.</param>
    /// <param name="refusal">Why nobody took it; null when it was taken and is over.</param>
    public abstract void Ended(ClientDatagrams flow, TunnelRefusal? refusal);
}

/// <summary>A UDP flow on the client's node. Datagrams follow the request at once: what an endpoint's node refuses is lost, as
/// the network may lose it.</summary>
internal sealed class ClientDatagrams(TunnelLoop loop, TunnelSession session, int descriptor, TunnelDestination destination, DeadlineQueue idle, FlowEvents events)
    : DatagramStream(loop)
{
    private AnswerReader _answer;
    private TunnelRefusal? _refusal;
    private bool _answered;
    private bool _told;

    public TunnelDestination Destination => destination;

    public void Start()
    {
        var isWatched = Own(descriptor);
        using var request = ProxyPreamble.Request(destination, []);
        if (!isWatched || session.IsOver || !TrySend(request.Data))
        {
            _refusal = session.IsOver ? TunnelRefusal.NoSession : TunnelRefusal.Limit;
            CloseLocal();
            return;
        }

        Carry(idle);
    }

    /// <summary>Opens the stream and sends the request whole, or neither; under the gate, so that nobody takes the room meanwhile.</summary>
    private bool TrySend(ReadOnlySpan<byte> request)
    {
        lock (session.Drive.Gate)
        {
            return session.Drive.SendRoom >= request.Length + ProxyPreamble.Margin && session.Drive.TryOpen(this)
                && Write(request) == request.Length;
        }
    }

    /// <summary>Its place is another's by now. Whoever uses it learns that it has ended.</summary>
    public void GiveWay() => Break();

    protected override void OnMoved() => events.Moved(Loop.Now);

    protected override void OnData(Span<byte> data)
    {
        if (_answered)
        {
            TakeData(data);
            return;
        }

        try
        {
            var answer = _answer.Read(data, out var rest);
            Consumed(data.Length - rest.Length);
            if (answer is null)
                return;
            _answered = answer.Code == AnswerCode.Ok;
            if (!_answered)
                _refusal = answer.ToRefusal();
            else if (!rest.IsEmpty)
                TakeData(rest);
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
        events.Ended(this, _refusal);
    }
}
