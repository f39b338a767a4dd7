using EdgeMesh.Catalog;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Sessions;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>
/// The client's side of the tunnel. A connection is offered to one destination:
/// <code>
///   session to the node -> stream: [select, request, first bytes] in one flight -> answer
///     taken     bytes both ways until both ends are done
///     refused   no byte has reached an endpoint: whoever gave it has it again, with the same first bytes
///     lost      nobody knows how far the bytes came: the client is reset, unless it has sent none
/// </code>
/// Any thread.
/// </summary>
internal sealed partial class OutboundProxy(MeshContext mesh, Func<string, PeerLink?> linkOf)
{
    private readonly OutgoingStreams _streams = new(mesh.Options.Limits.StreamsOut, mesh.Options.Limits.StreamsOutPerPeer);

    internal int Count => _streams.Count;

    /// <summary>Streams that were closed for others.</summary>
    internal long GaveWay => _streams.GaveWay;

    /// <summary>Takes the connection over: at once if a session stands, else by a task that waits for one, which is returned.</summary>
    internal Task Carry(TunnelledClient client)
    {
        mesh.Counters.Of(client.Destination.Service).Begun();
        if (Standing(client.Destination.Node) is { } session)
        {
            Start(client, session);
            return Task.CompletedTask;
        }

        return FindAsync(client.Destination, found => Start(client, found), refusal => Refuse(client, refusal), end =>
        {
            TcpSocket.Abort(client.Descriptor);
            Finish(client, new TunnelOutcome(client.Destination, end, 0, 0));
        });
    }

    /// <summary>One UDP flow, from its first datagram to its idle end. The socket is closed if nobody takes the flow, and its user
    /// is refused from then on.</summary>
    internal Task CarryDatagrams(int descriptor, TunnelDestination destination)
    {
        mesh.Counters.Of(destination.Service).Begun();
        if (Standing(destination.Node) is { } session)
        {
            Start(descriptor, destination, session);
            return Task.CompletedTask;
        }

        return FindAsync(destination, found => Start(descriptor, destination, found), refusal => Refuse(descriptor, destination, refusal), end =>
        {
            TcpSocket.Close(descriptor);
            Finish(new TunnelOutcome(destination, end, 0, 0));
        });
    }

    /// <summary>An endpoint has taken a connection or a flow.</summary>
    internal void CountCarried() => mesh.Counters.CountCarried();

    /// <summary>The descriptor is the giver's again.</summary>
    internal void Refused(TunnelledClient client, StreamPlace place, TunnelRefusal refusal)
    {
        _streams.Return(place);
        Refuse(client, refusal);
    }

    /// <summary>The descriptor is closed.</summary>
    internal void Ended(TunnelledClient client, StreamPlace place, TunnelEnd end, long bytesToEndpoint, long bytesToClient)
    {
        _streams.Return(place);
        Finish(client, new TunnelOutcome(client.Destination, mesh.Stopping.IsCancellationRequested ? TunnelEnd.Stopped : end, bytesToEndpoint, bytesToClient));
    }

    /// <summary>The flow's socket is closed.</summary>
    /// <param name="refusal">Why nobody took it; null when it was taken and is over.</param>
    internal void Ended(StreamPlace place, TunnelRefusal? refusal, long bytesToEndpoint, long bytesToClient)
    {
        _streams.Return(place);
        if (refusal is { } reason)
            NoteRefused(place.Destination, reason);
        else
            Finish(new TunnelOutcome(place.Destination, TunnelEnd.Completed, bytesToEndpoint, bytesToClient));
    }

    private static TunnelProtocol ProtocolOf(MeshSession session) => session.SpeaksProxy2 ? TunnelProtocol.V2 : TunnelProtocol.V1;

    private MeshSession? Standing(string node)
    {
        if (linkOf(node) is not { Best: { } session } link || mesh.Stopping.IsCancellationRequested)
            return null;
        link.Need();
        return session;
    }

    /// <summary>Waits for a session.</summary>
    private async Task FindAsync(TunnelDestination destination, Action<MeshSession> start, Action<TunnelRefusal> refuse, Action<TunnelEnd> lose)
    {
        await Task.Yield();
        MeshSession? session;
        try
        {
            session = linkOf(destination.Node) is { } link ? await link.FindAsync(mesh.Options.SessionWait, mesh.Stopping) : null;
        }
        catch (OperationCanceledException)
        {
            lose(TunnelEnd.Stopped);
            return;
        }
        catch (Exception e)
        {
            LogFault(mesh.Logger, destination.Service, e);
            lose(TunnelEnd.SessionLost);
            return;
        }

        if (session is not null)
            start(session);
        else
            refuse(TunnelRefusal.NoSession);
    }

    private void Start(TunnelledClient client, MeshSession session)
    {
        var place = new StreamPlace(client.Destination);
        // It gives way when the client is told to, and by whose own word the client is.
        place.GivingWay.WhenAsked(client.GiveWay);
        if (!_streams.TryTake(place, Now()))
        {
            Refuse(client, TunnelRefusal.Limit);
            return;
        }

        var stream = new ClientStream(session.Driven!, ProtocolOf(session), client, place, this);
        stream.Post(stream.Start);
        client.OnGivingWay(() => stream.Post(stream.GiveWay));
    }

    private void Start(int descriptor, TunnelDestination destination, MeshSession session)
    {
        var place = new StreamPlace(destination);
        if (!_streams.TryTake(place, Now()))
        {
            Refuse(descriptor, destination, TunnelRefusal.Limit);
            return;
        }

        mesh.Counters.CountCarried();
        var flow = new ClientDatagrams(session.Driven!, ProtocolOf(session), descriptor, place, this);
        flow.Post(flow.Start);
        place.GivingWay.WhenAsked(() => flow.Post(flow.GiveWay));
    }

    private long Now() => mesh.Time.GetTimestamp() / (mesh.Time.TimestampFrequency / 1_000);

    private void Refuse(TunnelledClient client, TunnelRefusal refusal)
    {
        NoteRefused(client.Destination, refusal);
        client.Refused(refusal);
    }

    private void Refuse(int descriptor, TunnelDestination destination, TunnelRefusal refusal)
    {
        TcpSocket.Close(descriptor);
        NoteRefused(destination, refusal);
    }

    private void NoteRefused(TunnelDestination destination, TunnelRefusal refusal)
    {
        mesh.Counters.CountRefusedOut(refusal);
        LogRefused(mesh.Logger, destination.Node, destination.Endpoint, destination.Service, refusal);
        Finish(new TunnelOutcome(destination, TunnelEnd.Refused, 0, 0));
    }

    private void Finish(TunnelledClient client, TunnelOutcome outcome)
    {
        Finish(outcome);
        client.Finished(outcome);
    }

    private void Finish(TunnelOutcome outcome) => mesh.Counters.Of(outcome.Destination.Service).Ended(outcome);

    [LoggerMessage(6031, LogLevel.Debug, "{Node} did not take a connection to {Endpoint} ({Service}): {Reason}.")]
    private static partial void LogRefused(ILogger logger, string node, InetEndpoint endpoint, ServicePortName service, TunnelRefusal reason);

    [LoggerMessage(6033, LogLevel.Error, "{Service}: a tunnelled connection was reset by a fault in this program; others go on. Please report it.")]
    private static partial void LogFault(ILogger logger, ServicePortName service, Exception exception);
}
