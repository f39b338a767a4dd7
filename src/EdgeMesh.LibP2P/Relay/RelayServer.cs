using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Connections;

namespace EdgeMesh.LibP2P.Relay;

/// <summary>
/// The relay's side of circuit relay v2:
/// <code>
///   A -- hop RESERVE --> relay                     A can be reached until the reservation expires
///   B -- hop CONNECT A --> relay -- stop CONNECT B --> A
///   B &lt;-- STATUS OK --------------- STATUS OK ------- A
///   B &lt;============ bytes, as they come ==========> A     encrypted by B and A: the relay reads none of it
/// </code>
/// Requests that come over a relay are refused: no relays behind relays.
/// </summary>
public sealed class RelayServer
{
    public const string HopProtocol = "/libp2p/circuit/relay/0.2.0/hop";
    public const string StopProtocol = "/libp2p/circuit/relay/0.2.0/stop";

    private readonly PeerHost _host;
    private readonly RelayServerOptions _options;
    private readonly Lock _gate = new();
    private readonly Dictionary<PeerId, long> _reservations = [];
    private readonly Dictionary<PeerId, int> _circuitsByPeer = [];
    private int _circuits;

    private RelayServer(PeerHost host, RelayServerOptions options)
    {
        _host = host;
        _options = options;
    }

    /// <summary>How many reservations stand.</summary>
    public int ReservationCount
    {
        get
        {
            lock (_gate)
            {
                RemoveExpired();
                return _reservations.Count;
            }
        }
    }

    /// <summary>How many relayed connections stand.</summary>
    public int CircuitCount
    {
        get
        {
            lock (_gate)
                return _circuits;
        }
    }

    /// <summary>Relays on this host from now on.</summary>
    public static RelayServer Attach(PeerHost host, RelayServerOptions options)
    {
        var server = new RelayServer(host, options);
        host.Handle(HopProtocol, server.ServeAsync);
        return server;
    }

    private async Task ServeAsync(PeerStream stream, CancellationToken cancellationToken)
    {
        RelayMessage? request;
        using (var deadline = Deadline.After(_host.Options.NegotiationTimeout, _host.Options.Time, cancellationToken))
            request = RelayMessage.DecodeHop(await Negotiation.ReadMessageAsync(stream, RelayMessage.MaxLength, deadline.Token));
        var refusal = request switch
        {
            null => RelayStatus.MalformedMessage,
            { Type: RelayMessageType.Status } => RelayStatus.UnexpectedMessage,
            _ when stream.Connection.RemoteAddress?.IsRelayed == true || !_options.Admits(stream.Connection.RemotePeer) => RelayStatus.PermissionDenied,
            { Type: RelayMessageType.Connect, Peer: null } => RelayStatus.MalformedMessage,
            _ => RelayStatus.Ok,
        };

        if (refusal != RelayStatus.Ok)
            await AnswerAsync(stream, new RelayMessage { Type = RelayMessageType.Status, Status = refusal }, cancellationToken);
        else if (request!.Type == RelayMessageType.Reserve)
            await AnswerAsync(stream, Reserve(stream.Connection.RemotePeer), cancellationToken);
        else
            await ConnectAsync(stream, request.Peer!, cancellationToken);
    }

    private RelayMessage Reserve(PeerId peer)
    {
        lock (_gate)
        {
            if (!_reservations.ContainsKey(peer) && _reservations.Count >= _options.MaxReservations)
            {
                RemoveExpired();
                if (_reservations.Count >= _options.MaxReservations)
                    return new RelayMessage { Type = RelayMessageType.Status, Status = RelayStatus.ReservationRefused };
            }

            _reservations[peer] = _host.Options.Time.GetTimestamp();
        }

        return new RelayMessage
        {
            Type = RelayMessageType.Status,
            Status = RelayStatus.Ok,
            Limit = _options.Limit,
            Reservation = new RelayReservation
            {
                Expires = _host.Options.Time.GetUtcNow() + _options.ReservationTime,
                Granted = _options.ReservationTime,
                Addresses = [.. _host.ListenAddresses.Select(a => a.Append($"/p2p/{_host.PeerId}"))],
            },
        };
    }

    private async Task ConnectAsync(PeerStream from, PeerId target, CancellationToken cancellationToken)
    {
        var source = from.Connection.RemotePeer;
        var connection = _options.ConnectionOf is { } choose
            ? choose(target)
            : _host.Connections.FirstOrDefault(c => c.RemotePeer.Equals(target) && c.RemoteAddress?.IsRelayed != true);
        if (!HasReservation(target) || connection is null)
        {
            await AnswerAsync(from, new RelayMessage { Type = RelayMessageType.Status, Status = RelayStatus.NoReservation }, cancellationToken);
            return;
        }

        if (!TryCount(source, target))
        {
            await AnswerAsync(from, new RelayMessage { Type = RelayMessageType.Status, Status = RelayStatus.ResourceLimitExceeded }, cancellationToken);
            return;
        }

        try
        {
            await using var to = await StopAsync(connection, source, cancellationToken);
            if (to is null)
            {
                await AnswerAsync(from, new RelayMessage { Type = RelayMessageType.Status, Status = RelayStatus.ConnectionFailed }, cancellationToken);
                return;
            }

            await AnswerAsync(from, new RelayMessage { Type = RelayMessageType.Status, Status = RelayStatus.Ok, Limit = _options.Limit }, cancellationToken);
            await RelayedCircuit.RunAsync(from, to, _options.Limit, _host.Options.Time, cancellationToken);
        }
        finally
        {
            Uncount(source, target);
        }
    }

    /// <summary>Asks the target to take the connection; null if it does not.</summary>
    private async Task<PeerStream?> StopAsync(PeerConnection connection, PeerId source, CancellationToken cancellationToken)
    {
        PeerStream? stream = null;
        try
        {
            using var deadline = Deadline.After(_host.Options.NegotiationTimeout, _host.Options.Time, cancellationToken);
            stream = await connection.OpenStreamAsync(StopProtocol, deadline.Token);
            var request = new RelayMessage { Type = RelayMessageType.Connect, Peer = source, Limit = _options.Limit };
            await Negotiation.WriteMessageAsync(stream, request.EncodeStop(), deadline.Token);
            var answer = RelayMessage.DecodeStop(await Negotiation.ReadMessageAsync(stream, RelayMessage.MaxLength, deadline.Token));
            if (answer is { Type: RelayMessageType.Status, Status: RelayStatus.Ok })
                return stream;
        }
        catch (Exception e) when (e is IOException or TimeoutException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            // The target's side of it; the source is told that the connection failed.
        }

        stream?.Reset();
        return null;
    }

    private bool HasReservation(PeerId peer)
    {
        lock (_gate)
            return _reservations.TryGetValue(peer, out var since) && !IsOver(since);
    }

    private bool TryCount(PeerId source, PeerId target)
    {
        lock (_gate)
        {
            var ofSource = _circuitsByPeer.GetValueOrDefault(source);
            var ofTarget = _circuitsByPeer.GetValueOrDefault(target);
            if (_circuits >= _options.MaxCircuits || Math.Max(ofSource, ofTarget) >= _options.MaxCircuitsPerPeer)
                return false;
            _circuits++;
            _circuitsByPeer[source] = ofSource + 1;
            _circuitsByPeer[target] = _circuitsByPeer.GetValueOrDefault(target) + 1;
            return true;
        }
    }

    private void Uncount(PeerId source, PeerId target)
    {
        lock (_gate)
        {
            _circuits--;
            foreach (var peer in (ReadOnlySpan<PeerId>)[source, target])
            {
                if (--_circuitsByPeer[peer] == 0)
                    _circuitsByPeer.Remove(peer);
            }
        }
    }

    private void RemoveExpired()
    {
        foreach (var (peer, since) in _reservations)
        {
            if (IsOver(since))
                _reservations.Remove(peer);
        }
    }

    /// <summary>By the monotonic clock: a date that jumps takes nobody's place.</summary>
    private bool IsOver(long since) => _host.Options.Time.GetElapsedTime(since) >= _options.ReservationTime;

    private static Task AnswerAsync(PeerStream stream, RelayMessage message, CancellationToken cancellationToken) =>
        Negotiation.WriteMessageAsync(stream, message.EncodeHop(), cancellationToken);
}
