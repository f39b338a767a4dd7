using System.Collections.Concurrent;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Connections;

namespace EdgeMesh.LibP2P.Relay;

/// <summary>The ends' side of circuit relay v2: reserves places, takes connections through them, and dials through relays.
/// The connection through a relay is encrypted and authenticated end to end like any other.</summary>
public sealed class RelayClient
{
    private readonly PeerHost _host;
    private readonly ConcurrentDictionary<PeerId, Held> _reservations = new();

    private RelayClient(PeerHost host) => _host = host;

    /// <summary>Places at relays, by relay; expired ones are not among them.</summary>
    public IEnumerable<KeyValuePair<PeerId, RelayReservation>> Reservations =>
        _reservations.Where(r => _host.Options.Time.GetElapsedTime(r.Value.Since) < r.Value.Lasts)
            .Select(r => KeyValuePair.Create(r.Key, r.Value.Reservation));

    /// <summary>Dates are of no use here: how long a place lasts is counted from the answer, on this side's monotonic clock.</summary>
    private sealed record Held(RelayReservation Reservation, long Since, TimeSpan Lasts);

    /// <summary>Takes relayed connections on this host from now on, from relays with a reservation.</summary>
    public static RelayClient Attach(PeerHost host)
    {
        var client = new RelayClient(host);
        host.Handle(RelayServer.StopProtocol, client.TakeAsync);
        return client;
    }

    /// <summary>Asks a relay for a place, or for more time on one. It ends with the connection to the relay.</summary>
    /// <exception cref="RelayRefusedException">The relay gives none, and why.</exception>
    public async Task<RelayReservation> ReserveAsync(PeerConnection relay, CancellationToken cancellationToken)
    {
        await using var stream = await relay.OpenStreamAsync(RelayServer.HopProtocol, cancellationToken);
        var answer = await RequestAsync(stream, new RelayMessage { Type = RelayMessageType.Reserve }, cancellationToken);
        var reservation = (answer.Reservation ?? throw new PeerProtocolException("the relay granted a reservation without saying which")) with { Limit = answer.Limit };
        var time = _host.Options.Time;
        var held = new Held(reservation, time.GetTimestamp(), reservation.Lasts(time.GetUtcNow()));
        _reservations[relay.RemotePeer] = held;
        _host.Options.Background("relay-reservation", () => ForgetAsync(relay, held));
        return reservation;
    }

    /// <summary>Connects to a peer that has a place at the relay.</summary>
    /// <exception cref="RelayRefusedException">The relay or the peer refused, and why.</exception>
    public async Task<PeerConnection> DialAsync(PeerConnection relay, PeerId target, CancellationToken cancellationToken)
    {
        var stream = await relay.OpenStreamAsync(RelayServer.HopProtocol, cancellationToken);
        try
        {
            await RequestAsync(stream, new RelayMessage { Type = RelayMessageType.Connect, Peer = target }, cancellationToken);
        }
        catch
        {
            stream.Reset();
            throw;
        }

        return await _host.UpgradeAsync(stream, dialer: true, target, Through(relay, target), cancellationToken);
    }

    private async Task<RelayMessage> RequestAsync(PeerStream stream, RelayMessage request, CancellationToken cancellationToken)
    {
        using var deadline = Deadline.After(_host.Options.NegotiationTimeout, _host.Options.Time, cancellationToken);
        try
        {
            await Negotiation.WriteMessageAsync(stream, request.EncodeHop(), deadline.Token);
            var answer = RelayMessage.DecodeHop(await Negotiation.ReadMessageAsync(stream, RelayMessage.MaxLength, deadline.Token));
            if (answer is not { Type: RelayMessageType.Status })
                throw new PeerProtocolException("the relay's answer is malformed");
            return answer.Status == RelayStatus.Ok ? answer : throw new RelayRefusedException(answer.Status);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException("the relay did not answer in time", e);
        }
    }

    private async Task TakeAsync(PeerStream stream, CancellationToken cancellationToken)
    {
        RelayMessage? request;
        using (var deadline = Deadline.After(_host.Options.NegotiationTimeout, _host.Options.Time, cancellationToken))
            request = RelayMessage.DecodeStop(await Negotiation.ReadMessageAsync(stream, RelayMessage.MaxLength, deadline.Token));
        var status = request switch
        {
            null or { Type: RelayMessageType.Connect, Peer: null } => RelayStatus.MalformedMessage,
            { Type: not RelayMessageType.Connect } => RelayStatus.UnexpectedMessage,
            _ when !_reservations.ContainsKey(stream.Connection.RemotePeer) => RelayStatus.PermissionDenied,
            _ => RelayStatus.Ok,
        };
        await Negotiation.WriteMessageAsync(stream, new RelayMessage { Type = RelayMessageType.Status, Status = status }.EncodeStop(), cancellationToken);
        if (status != RelayStatus.Ok)
            return;
        // The relay only claims who is behind it: the handshake proves it.
        var connection = await _host.UpgradeAsync(stream, dialer: false, request!.Peer, Through(stream.Connection, request.Peer!), cancellationToken);
        await connection.Closed;
    }

    private async Task ForgetAsync(PeerConnection relay, Held held)
    {
        await relay.Closed;
        _reservations.TryRemove(new KeyValuePair<PeerId, Held>(relay.RemotePeer, held));
    }

    private static Multiaddr? Through(PeerConnection relay, PeerId target)
    {
        var address = relay.RemoteAddress?.ToString() ?? "";
        var peer = $"/p2p/{relay.RemotePeer}";
        return Multiaddr.TryParse($"{(address.EndsWith(peer, StringComparison.Ordinal) ? address : address + peer)}/p2p-circuit/p2p/{target}", out var way) ? way : null;
    }
}
