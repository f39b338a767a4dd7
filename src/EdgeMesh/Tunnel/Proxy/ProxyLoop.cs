using EdgeMesh.Tunnel.Loop;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>Brings clients of this node to the loop. Any thread.</summary>
internal sealed class ProxyLoop
{
    private readonly TunnelLoop _loop;
    private readonly DeadlineQueue _answers;
    private readonly DeadlineQueue _flows;

    /// <param name="loop">Not started yet.</param>
    /// <param name="answer">How long a node may take to answer.</param>
    /// <param name="flows">Looks at idle flows.</param>
    public ProxyLoop(TunnelLoop loop, TimeSpan answer, DeadlineQueue flows)
    {
        _loop = loop;
        _answers = loop.AddDeadlines(answer);
        _flows = flows;
    }

    public void Start(TunnelledClient client, TunnelSession session, ClientEvents events)
    {
        var stream = new ClientStream(_loop, session, client, events);
        _loop.Post(() => stream.Start(_answers), stream.OnFault);
        client.OnGivingWay(() => _loop.Post(stream.GiveWay, stream.OnFault));
    }

    public void Start(int descriptor, TunnelSession session, StreamPlace place, FlowEvents events)
    {
        var flow = new ClientDatagrams(_loop, session, descriptor, place.Destination, _flows, events);
        _loop.Post(flow.Start, flow.OnFault);
        place.GivingWay.WhenAsked(() => _loop.Post(flow.GiveWay, flow.OnFault));
    }
}
