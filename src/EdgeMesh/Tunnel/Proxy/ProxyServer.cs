using System.Collections.Immutable;
using System.Net.Sockets;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Sessions;
using Microsoft.Extensions.Logging;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Connections;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>
/// The endpoint's side of the tunnel: reads who is wanted, dials it if this node's catalog lists it as an endpoint here, and
/// joins the two. Whatever else a peer asks for is refused, counted, and dialled by nobody.
/// </summary>
internal sealed partial class ProxyServer
{
    private const int MostDiscarded = 512 * 1024;
    private static readonly TimeSpan RefusalLinger = TimeSpan.FromSeconds(5);

    private readonly MeshContext _mesh;
    private readonly StreamBudget _budget;
    private volatile ImmutableHashSet<TransportAddress> _dialable = [];

    internal ProxyServer(MeshContext mesh)
    {
        _mesh = mesh;
        _budget = new StreamBudget(mesh.Options.Limits.StreamsIn, mesh.Options.Limits.StreamsInPerPeer);
        mesh.Host.Handle(OpenMessage.ProtocolName, ServeAsync);
        mesh.Host.Handle(LegacyProxyMessage.ProtocolName, ServeLegacyAsync);
    }

    internal int Count => _budget.Count;

    /// <summary>New streams are refused from now on.</summary>
    internal bool IsDraining { get; set; }

    /// <summary>What may be dialled for peers from now on. Streams that stand are left alone.</summary>
    internal void Update(ImmutableHashSet<TransportAddress> dialable) => _dialable = dialable;

    /// <summary>Whether an endpoint may be dialled for a node. A yes takes a place in the budget, for the caller to return.</summary>
    internal (AnswerCode Code, string Text) Judge(MeshSession session, OpenMessage open) =>
        IsDraining ? (AnswerCode.Draining, "the node is going away")
        : !_dialable.Contains(new TransportAddress(open.Endpoint, open.Protocol)) ? (AnswerCode.NotListed, "no endpoint of this node has that address")
        : !_budget.TryTake(session.Node) ? (AnswerCode.Limit, "as many streams stand as may")
        : (AnswerCode.Ok, "");

    internal void Return(MeshSession session) => _budget.Return(session.Node);

    internal void NoteRefused(MeshSession session, OpenMessage open, AnswerCode code)
    {
        _mesh.Counters.CountRefusedIn(code);
        LogRefused(_mesh.Logger, session.Node, open.Protocol, open.Endpoint, open.Service, code);
    }

    private async Task ServeAsync(PeerStream stream, CancellationToken cancellationToken)
    {
        var session = await AdmittedAsync(stream, cancellationToken);
        OpenMessage open;
        try
        {
            open = OpenMessage.Decode(await ReadAsync(stream, OpenMessage.MaxLength, cancellationToken));
        }
        catch (PeerProtocolException e)
        {
            await RefuseAsync(stream, AnswerCode.Malformed, e.Message, cancellationToken);
            return;
        }

        var (code, text, socket) = await TryDialAsync(session, open, cancellationToken);
        if (socket is null)
        {
            LogRefused(_mesh.Logger, session.Node, open.Protocol, open.Endpoint, open.Service, code);
            await RefuseAsync(stream, code, text, cancellationToken);
            return;
        }

        try
        {
            await Negotiation.WriteMessageAsync(stream, AnswerMessage.Ok.Encode(), cancellationToken);
            await JoinAsync(socket, stream, open.Protocol, bordered: true, cancellationToken);
        }
        finally
        {
            socket.Dispose();
            _budget.Return(session.Node);
        }
    }

    private async Task ServeLegacyAsync(PeerStream stream, CancellationToken cancellationToken)
    {
        var session = await AdmittedAsync(stream, cancellationToken);
        var request = LegacyProxyMessage.Decode(await ReadAsync(stream, LegacyProxyMessage.MaxLength, cancellationToken));
        if (request is not { Type: LegacyProxyType.Connect, Endpoint: { } endpoint })
            throw new PeerProtocolException("a request to the proxy was expected");
        var open = new OpenMessage(request.Protocol, new ServicePortName("", "", "", request.Protocol), endpoint, default);
        var (code, _, socket) = await TryDialAsync(session, open, cancellationToken);
        var answer = request with { Type = socket is null ? LegacyProxyType.Failed : LegacyProxyType.Success };
        if (socket is null)
        {
            _mesh.Counters.CountRefusedIn(code);
            LogRefused(_mesh.Logger, session.Node, open.Protocol, open.Endpoint, open.Service, code);
            await Negotiation.WriteMessageAsync(stream, answer.Encode(), cancellationToken);
            await LingerAsync(stream, cancellationToken);
            return;
        }

        try
        {
            await Negotiation.WriteMessageAsync(stream, answer.Encode(), cancellationToken);
            await JoinAsync(socket, stream, open.Protocol, bordered: false, cancellationToken);
        }
        finally
        {
            socket.Dispose();
            _budget.Return(session.Node);
        }
    }

    /// <exception cref="IOException">The peer said no hello in time: nobody knows which node it is.</exception>
    private async Task<MeshSession> AdmittedAsync(PeerStream stream, CancellationToken cancellationToken)
    {
        if (_mesh.Sessions.Of(stream.Connection) is { } session && await session.Admitted.WaitAsync(cancellationToken))
            return session;
        throw new PeerProtocolException("the peer is not known as a node");
    }

    private async Task<byte[]> ReadAsync(PeerStream stream, int limit, CancellationToken cancellationToken)
    {
        using var time = new CancellationTokenSource(_mesh.Host.Options.NegotiationTimeout, _mesh.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(time.Token, cancellationToken);
        return await Negotiation.ReadMessageAsync(stream, limit, either.Token);
    }

    /// <summary>A socket to the endpoint, with a place in the budget that the caller gives back; or why there is none.</summary>
    private async Task<(AnswerCode Code, string Text, Socket? Socket)> TryDialAsync(MeshSession session, OpenMessage open, CancellationToken cancellationToken)
    {
        var (code, text) = Judge(session, open);
        if (code != AnswerCode.Ok)
            return (code, text, null);
        try
        {
            var protocol = open.Protocol == TransportProtocol.Udp ? ProtocolType.Udp : ProtocolType.Tcp;
            var socket = await SocketEnds.DialAsync(open.Endpoint, protocol, _mesh.Options.DialMark, _mesh.Options.EndpointTimeout, _mesh.Time, cancellationToken);
            _mesh.Counters.CountServed();
            return (AnswerCode.Ok, "", socket);
        }
        catch (IOException e)
        {
            _budget.Return(session.Node);
            return (AnswerCode.DialFailed, e.Message, null);
        }
        catch
        {
            _budget.Return(session.Node);
            throw;
        }
    }

    private async Task JoinAsync(Socket socket, PeerStream stream, TransportProtocol protocol, bool bordered, CancellationToken cancellationToken)
    {
        if (protocol == TransportProtocol.Udp)
            await new DatagramRelay(socket, stream, bordered, _mesh.Options.DatagramIdle, _mesh.Time, _mesh.Counters).RunAsync(cancellationToken);
        else
            await new ProxyRelay(socket, stream, _mesh.Counters).RunAsync(ended: false, cancellationToken);
    }

    private async Task RefuseAsync(PeerStream stream, AnswerCode code, string text, CancellationToken cancellationToken)
    {
        _mesh.Counters.CountRefusedIn(code);
        await Negotiation.WriteMessageAsync(stream, new AnswerMessage(code, text).Encode(), cancellationToken);
        await LingerAsync(stream, cancellationToken);
    }

    /// <summary>The client's bytes may be on their way behind the request. To close on them would be a reset, which could
    /// overtake the answer in the peer's hands.</summary>
    private async Task LingerAsync(PeerStream stream, CancellationToken cancellationToken)
    {
        stream.CloseWrite();
        using var time = new CancellationTokenSource(RefusalLinger, _mesh.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(time.Token, cancellationToken);
        try
        {
            var buffer = new byte[4096];
            for (var discarded = 0; discarded < MostDiscarded;)
            {
                var count = await stream.ReadAsync(buffer, either.Token);
                if (count == 0)
                    return;
                discarded += count;
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The peer has let go, or has had its time.
        }
    }

    [LoggerMessage(6030, LogLevel.Debug, "{Node} asked for {Protocol} {Endpoint} ({Service}) and was refused: {Reason}.")]
    private static partial void LogRefused(ILogger logger, string node, TransportProtocol protocol, InetEndpoint endpoint, ServicePortName service, AnswerCode reason);
}
