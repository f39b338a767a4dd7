using System.Net.Sockets;
using EdgeMesh.Catalog;
using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel.Loop;
using EdgeMesh.Tunnel.Sessions;
using Microsoft.Extensions.Logging;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>
/// The client's side of the tunnel. A connection is offered to one destination:
/// <code>
///   session to the node -> stream: [select, request, first bytes] in one flight -> answer
///     taken     bytes both ways until both ends are done
///     refused   no byte has reached an endpoint: whoever gave it has it again, with the same first bytes
///     lost      nobody knows how far the bytes came: the client is reset, unless it has sent none
/// </code>
/// </summary>
internal sealed partial class ProxyClient(MeshContext mesh, Func<string, PeerLink?> linkOf, ProxyLoop loop)
{
    private readonly OutgoingStreams _streams = new(mesh.Options.Limits.StreamsOut, mesh.Options.Limits.StreamsOutPerPeer);

    internal int Count => _streams.Count;

    /// <summary>Streams that were closed for others.</summary>
    internal long GaveWay => _streams.GaveWay;

    /// <summary>Takes the connection over: on the loop if a session stands there, else by a task, which is returned.</summary>
    internal Task Carry(TunnelledClient client)
    {
        var node = client.Destination.Node;
        mesh.Counters.Of(client.Destination.Service).Begun();
        if (linkOf(node) is not { Best: { } session } link || !IsOnLoop(session) || mesh.Stopping.IsCancellationRequested)
            return CarryAsync(client);
        link.Need();
        StartOnLoop(client, session);
        return Task.CompletedTask;
    }

    private static bool IsOnLoop(MeshSession session) => session.SpeaksProxy2 && session.Connection.DrivenBy is TunnelSession;

    private void StartOnLoop(TunnelledClient client, MeshSession session)
    {
        if (TryTakePlace(client) is { } place)
            loop.Start(client, (TunnelSession)session.Connection.DrivenBy!, new CarriedClient(this, client, place));
        else
            Refuse(client, TunnelRefusal.Limit);
    }

    /// <summary>A place that gives way when the client is told to, and by whose own word the client is.</summary>
    private StreamPlace? TryTakePlace(TunnelledClient client)
    {
        var place = new StreamPlace(client.Destination);
        place.GivingWay.WhenAsked(client.GiveWay);
        return _streams.TryTake(place, Now()) ? place : null;
    }

    private long Now() => mesh.Time.GetTimestamp() / (mesh.Time.TimestampFrequency / 1_000);

    /// <summary>The descriptor is the giver's again.</summary>
    private void Refuse(TunnelledClient client, TunnelRefusal refusal)
    {
        NoteRefused(client.Destination, refusal);
        client.Refused(refusal);
    }

    private void NoteRefused(TunnelDestination destination, TunnelRefusal refusal)
    {
        mesh.Counters.CountRefusedOut(refusal);
        LogRefused(mesh.Logger, destination.Node, destination.Endpoint, destination.Service, refusal);
        mesh.Counters.Of(destination.Service).Ended(new TunnelOutcome(destination, TunnelEnd.Refused, 0, 0));
    }

    private void Finish(TunnelledClient client, TunnelOutcome outcome)
    {
        mesh.Counters.Of(client.Destination.Service).Ended(outcome);
        client.Finished(outcome);
    }

    /// <summary>Never throws.</summary>
    private async Task CarryAsync(TunnelledClient client)
    {
        await Task.Yield();
        var destination = client.Destination;
        MeshSession? onLoop = null;
        PeerStream? stream = null;
        StreamPlace? place = null;
        var refusal = TunnelRefusal.NoSession;
        TunnelEnd? lost = null;
        try
        {
            var session = await FindAsync(destination.Node);
            if (session is not null && IsOnLoop(session))
                onLoop = session;
            else if (session is not null && (place = TryTakePlace(client)) is null)
                refusal = TunnelRefusal.Limit;
            else if (session is not null)
                (stream, refusal) = await OpenAsync(session, destination, client.FirstBytes, client.Ended);
        }
        catch (StreamResetException)
        {
            // The endpoint took the connection and broke it off before the answer was read.
            lost = TunnelEnd.EndpointReset;
        }
        catch (Exception e)
        {
            lost = LostBy(e, destination);
        }

        if (stream is null && place is not null)
            _streams.Return(place);
        if (lost is { } end)
        {
            TcpSocket.Abort(client.Descriptor);
            Finish(client, new TunnelOutcome(destination, end, 0, 0));
        }
        else if (onLoop is not null)
        {
            StartOnLoop(client, onLoop);
        }
        else if (stream is null)
        {
            Refuse(client, refusal);
        }
        else
        {
            await RelayAsync(client, place!, stream);
        }
    }

    /// <summary>Never throws.</summary>
    private async Task RelayAsync(TunnelledClient client, StreamPlace place, PeerStream stream)
    {
        mesh.Counters.CountCarried();
        var socket = SocketEnds.Own(client.Descriptor);
        var relay = new ProxyRelay(socket, stream, mesh.Counters, () => client.LastActive = place.LastActive = Now());
        client.OnGivingWay(() => relay.Break(RelayEnd.GaveWay));
        TunnelEnd end;
        try
        {
            end = await relay.RunAsync(client.Ended, mesh.Stopping) switch
            {
                RelayEnd.Completed => TunnelEnd.Completed,
                RelayEnd.SocketReset => TunnelEnd.ClientReset,
                RelayEnd.StreamReset => TunnelEnd.EndpointReset,
                RelayEnd.SessionLost => TunnelEnd.SessionLost,
                RelayEnd.GaveWay => TunnelEnd.GaveWay,
                _ => TunnelEnd.Stopped,
            };
        }
        catch (Exception e)
        {
            end = LostBy(e, client.Destination);
            socket.Abort();
        }

        _streams.Return(place);
        Finish(client, new TunnelOutcome(client.Destination, end, relay.ToStream + client.FirstBytes.Length, relay.ToSocket));
    }

    private TunnelEnd LostBy(Exception exception, TunnelDestination destination)
    {
        if (exception is OperationCanceledException)
            return TunnelEnd.Stopped;
        if (exception is IOException or TimeoutException or SocketException or ObjectDisposedException)
            LogFailed(mesh.Logger, destination.Node, destination.Service, exception.Message);
        else
            LogFault(mesh.Logger, destination.Service, exception);
        return TunnelEnd.SessionLost;
    }

    /// <summary>One UDP flow, from its first datagram to its idle end; never throws. The first datagram goes out with the
    /// request; the socket is closed if nobody takes the flow, and its user is refused from then on.</summary>
    internal Task CarryDatagrams(int descriptor, TunnelDestination destination)
    {
        if (linkOf(destination.Node) is not { Best: { } session } link || !IsOnLoop(session) || mesh.Stopping.IsCancellationRequested)
            return CarryDatagramsAsync(descriptor, destination);
        link.Need();
        var place = new StreamPlace(destination);
        mesh.Counters.Of(destination.Service).Begun();
        if (_streams.TryTake(place, Now()))
        {
            mesh.Counters.CountCarried();
            loop.Start(descriptor, (TunnelSession)session.Connection.DrivenBy!, place, new CarriedFlow(this, place));
        }
        else
        {
            TcpSocket.Close(descriptor);
            NoteRefused(destination, TunnelRefusal.Limit);
        }

        return Task.CompletedTask;
    }

    private async Task CarryDatagramsAsync(int descriptor, TunnelDestination destination)
    {
        await Task.Yield();
        using var socket = SocketEnds.Own(descriptor);
        var tally = mesh.Counters.Of(destination.Service);
        tally.Begun();
        var outcome = new TunnelOutcome(destination, TunnelEnd.Refused, 0, 0);
        try
        {
            var first = new byte[ushort.MaxValue];
            using (var limit = new CancellationTokenSource(mesh.Options.DatagramIdle, mesh.Time))
            using (var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, mesh.Stopping))
            {
                var count = await socket.ReceiveAsync(first.AsMemory(2), either.Token);
                if (count == 0 && DatagramPair.IsOtherEndClosed(descriptor))
                {
                    outcome = outcome with { End = TunnelEnd.Completed };
                    return;
                }

                first = first[..DatagramRelay.Frame(first, count)];
            }

            var place = new StreamPlace(destination);
            try
            {
                var (stream, refusal) = await FindAsync(destination.Node) is not { } session ? (null, TunnelRefusal.NoSession)
                    : !_streams.TryTake(place, Now()) ? (null, TunnelRefusal.Limit)
                    : await OpenAsync(session, destination, first, ended: false);
                if (stream is null)
                {
                    mesh.Counters.CountRefusedOut(refusal);
                    LogRefused(mesh.Logger, destination.Node, destination.Endpoint, destination.Service, refusal);
                    return;
                }

                mesh.Counters.CountCarried();
                var relay = new DatagramRelay(socket, stream, stream.Protocol == OpenMessage.ProtocolName, mesh.Options.DatagramIdle, mesh.Time, mesh.Counters);
                place.GivingWay.WhenAsked(stream.Reset);
                await relay.RunAsync(mesh.Stopping);
                outcome = new TunnelOutcome(destination, TunnelEnd.Completed, relay.ToStream + first.Length - 2, relay.ToSocket);
            }
            finally
            {
                _streams.Return(place);
            }
        }
        catch (Exception e) when (e is IOException or TimeoutException or SocketException or ObjectDisposedException or OperationCanceledException)
        {
            outcome = outcome with { End = TunnelEnd.SessionLost };
        }
        catch (Exception e)
        {
            LogFault(mesh.Logger, destination.Service, e);
        }
        finally
        {
            tally.Ended(outcome);
        }
    }

    private async Task<MeshSession?> FindAsync(string node) =>
        linkOf(node) is { } link ? await link.FindAsync(mesh.Options.SessionWait, mesh.Stopping) : null;

    /// <summary>A stream that the destination has taken; or why not.</summary>
    /// <exception cref="IOException">The stream was lost after bytes had been sent.</exception>
    private async Task<(PeerStream? Stream, TunnelRefusal Refusal)> OpenAsync(MeshSession session, TunnelDestination destination, ReadOnlyMemory<byte> firstBytes, bool ended)
    {
        try
        {
            return session.SpeaksProxy2
                ? await OpenEagerlyAsync(session, destination, firstBytes, ended)
                : await OpenLegacyAsync(session, destination, firstBytes);
        }
        catch (Exception e) when (firstBytes.IsEmpty && e is IOException or TimeoutException)
        {
            // Nothing of the client's was in it, so that another try does no harm.
            return (null, TunnelRefusal.NoSession);
        }
    }

    private async Task<(PeerStream? Stream, TunnelRefusal Refusal)> OpenEagerlyAsync(MeshSession session, TunnelDestination destination, ReadOnlyMemory<byte> firstBytes, bool ended)
    {
        using var flight = new ByteQueue(OpenMessage.MaxLength + 8 + firstBytes.Length);
        OpenMessage.Of(destination).Append(flight);
        flight.Append(firstBytes.Span);
        using var limit = Limit();
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, mesh.Stopping);
        PeerStream? stream = null;
        try
        {
            stream = await session.Connection.OpenEagerlyAsync(OpenMessage.ProtocolName, flight.Memory, either.Token);
            if (ended)
                stream.CloseWrite();
            var answer = AnswerMessage.Decode(await Negotiation.ReadMessageAsync(stream, AnswerMessage.MaxLength, either.Token));
            if (answer.Code == AnswerCode.Ok)
                return (stream, default);
            stream.Reset();
            return (null, answer.ToRefusal());
        }
        catch (Exception e)
        {
            stream?.Reset();
            if (e is OperationCanceledException && !mesh.Stopping.IsCancellationRequested)
                throw new TimeoutException($"{destination.Node} did not answer in time", e);
            throw;
        }
    }

    private async Task<(PeerStream? Stream, TunnelRefusal Refusal)> OpenLegacyAsync(MeshSession session, TunnelDestination destination, ReadOnlyMemory<byte> firstBytes)
    {
        using var limit = Limit();
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, mesh.Stopping);
        PeerStream? stream = null;
        try
        {
            stream = await session.Connection.OpenStreamAsync(LegacyProxyMessage.ProtocolName, either.Token);
            var request = new LegacyProxyMessage(LegacyProxyType.Connect, destination.Protocol, destination.Node, destination.Endpoint);
            await Negotiation.WriteMessageAsync(stream, request.Encode(), either.Token);
            var answer = LegacyProxyMessage.Decode(await Negotiation.ReadMessageAsync(stream, LegacyProxyMessage.MaxLength, either.Token));
            if (answer.Type != LegacyProxyType.Success)
            {
                stream.Reset();
                return (null, TunnelRefusal.DialFailed);
            }

            // The first protocol has no borders: the length in front of the first datagram is not for it.
            await stream.WriteAsync(destination.Protocol == TransportProtocol.Udp ? firstBytes[2..] : firstBytes, either.Token);
            return (stream, default);
        }
        catch (Exception e)
        {
            stream?.Reset();
            if (e is OperationCanceledException && !mesh.Stopping.IsCancellationRequested)
                throw new TimeoutException($"{destination.Node} did not answer in time", e);
            throw;
        }
    }

    /// <summary>The other side needs its time to dial, and the way there and back comes on top.</summary>
    private CancellationTokenSource Limit() => new(mesh.Options.EndpointTimeout + mesh.Options.SessionWait, mesh.Time);

    /// <summary>A connection on the loop.</summary>
    private sealed class CarriedClient(ProxyClient owner, TunnelledClient client, StreamPlace place) : ClientEvents
    {
        public override void Refused(TunnelRefusal refusal, string reason)
        {
            owner._streams.Return(place);
            owner.Refuse(client, refusal);
        }

        public override void Taken() => owner.CountCarried();

        public override void Moved(long now) => client.LastActive = place.LastActive = now;

        public override void Ended(TunnelEnd end, long bytesToEndpoint, long bytesToClient)
        {
            owner._streams.Return(place);
            owner.Finish(client, new TunnelOutcome(client.Destination, owner.IsStopping ? TunnelEnd.Stopped : end, bytesToEndpoint, bytesToClient));
        }
    }

    private sealed class CarriedFlow(ProxyClient owner, StreamPlace place) : FlowEvents
    {
        public override void Moved(long now) => place.LastActive = now;

        public override void Ended(ClientDatagrams flow, TunnelRefusal? refusal)
        {
            owner._streams.Return(place);
            if (refusal is { } reason)
                owner.NoteRefused(place.Destination, reason);
            else
                owner.FlowEnded(new TunnelOutcome(place.Destination, TunnelEnd.Completed, flow.BytesOut, flow.BytesIn));
        }
    }

    private bool IsStopping => mesh.Stopping.IsCancellationRequested;

    private void CountCarried() => mesh.Counters.CountCarried();

    private void FlowEnded(TunnelOutcome outcome) => mesh.Counters.Of(outcome.Destination.Service).Ended(outcome);

    [LoggerMessage(6031, LogLevel.Debug, "{Node} did not take a connection to {Endpoint} ({Service}): {Reason}.")]
    private static partial void LogRefused(ILogger logger, string node, InetEndpoint endpoint, ServicePortName service, TunnelRefusal reason);

    [LoggerMessage(6032, LogLevel.Debug, "A connection over the tunnel to {Node} ({Service}) was lost: {Reason}.")]
    private static partial void LogFailed(ILogger logger, string node, ServicePortName service, string reason);

    [LoggerMessage(6033, LogLevel.Error, "{Service}: a tunnelled connection was reset by a fault in this program; others go on. Please report it.")]
    private static partial void LogFault(ILogger logger, ServicePortName service, Exception exception);
}
