using System.Collections.Immutable;
using EdgeMesh.Catalog;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Loop;
using EdgeMesh.Tunnel.Sessions;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>
/// The endpoint's side of the tunnel: reads who is wanted, has it dialled if this node's catalog lists it as an endpoint here, and
/// joins the two. Whatever else a peer asks for is refused, counted, and dialled by nobody. Any thread.
/// </summary>
internal sealed partial class InboundProxy(MeshOptions options, SessionRegistry sessions, MeshCounters counters, ILogger logger)
{
    private readonly StreamBudget _budget = new(options.Limits.StreamsIn, options.Limits.StreamsInPerPeer);
    private volatile ImmutableHashSet<TransportAddress> _dialable = [];

    internal int Count => _budget.Count;

    /// <summary>SO_MARK of sockets that dial endpoints; 0: none.</summary>
    internal uint Mark => options.DialMark;

    /// <summary>New streams are refused from now on.</summary>
    internal bool IsDraining { get; set; }

    /// <summary>What may be dialled for peers from now on. Streams that stand are left alone.</summary>
    internal void Update(ImmutableHashSet<TransportAddress> dialable) => _dialable = dialable;

    /// <summary>Names the protocols to a host's peers, and takes the streams that the host negotiates.</summary>
    internal void ServeOn(PeerHost host)
    {
        foreach (var protocol in TunnelProtocol.All)
            host.Handle(protocol.Name, (stream, cancellationToken) => ServeAsync(stream, protocol, cancellationToken));
    }

    /// <summary>Takes a stream that a peer opens, on the loop's thread; null if it is not known which node the peer is: its streams
    /// wait at the host, which gives each few.</summary>
    internal StreamSink? Take(TunnelSession session) =>
        sessions.Of(session.Drive.Connection) is { Hello: not null } peer ? new InboundRequest(session, peer, this) : null;

    /// <summary>Whether an endpoint may be dialled for a node. A yes takes a place in the budget, to be given back.</summary>
    internal (AnswerCode Code, string Text) Judge(MeshSession peer, OpenMessage open)
    {
        (AnswerCode Code, string Text) judged = IsDraining ? (AnswerCode.Draining, "the node is going away")
            : !_dialable.Contains(new TransportAddress(open.Endpoint, open.Protocol)) ? (AnswerCode.NotListed, "no endpoint of this node has that address")
            : !_budget.TryTake(peer.Node) ? (AnswerCode.Limit, "as many streams stand as may")
            : (AnswerCode.Ok, "");
        if (judged.Code != AnswerCode.Ok)
            NoteRefused(peer, open, judged.Code);
        return judged;
    }

    internal void Return(MeshSession peer) => _budget.Return(peer.Node);

    internal void CountServed() => counters.CountServed();

    internal void CountMalformed() => counters.CountRefusedIn(AnswerCode.Malformed);

    internal void NoteRefused(MeshSession peer, OpenMessage open, AnswerCode code)
    {
        counters.CountRefusedIn(code);
        LogRefused(logger, peer.Node, open.Protocol, open.Endpoint, open.Service, code);
    }

    /// <exception cref="IOException">The peer said no hello in time: nobody knows which node it is.</exception>
    private async Task ServeAsync(PeerStream stream, TunnelProtocol protocol, CancellationToken cancellationToken)
    {
        if (sessions.Of(stream.Connection) is not { } peer || !await peer.Admitted.WaitAsync(cancellationToken) || peer.Driven is not { } session)
            throw new PeerProtocolException("the peer is not known as a node");
        var passed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        session.Loop.Post(Pass, passed.SetException);
        await passed.Task;

        void Pass()
        {
            // One that is lost meanwhile needs nobody.
            _ = stream.TryPassTo(new InboundRequest(session, peer, this, protocol));
            passed.SetResult();
        }
    }

    [LoggerMessage(6030, LogLevel.Debug, "{Node} asked for {Protocol} {Endpoint} ({Service}) and was refused: {Reason}.")]
    private static partial void LogRefused(ILogger logger, string node, TransportProtocol protocol, InetEndpoint endpoint, ServicePortName service, AnswerCode reason);
}
