using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.Tunnel.Sessions;

namespace EdgeMesh.Tunnel;

public sealed partial class MeshNode
{
    /// <summary>The mesh as it is now.</summary>
    public MeshStatus ReadStatus() => new()
    {
        NodeName = _options.NodeName,
        PeerId = PeerId,
        Listening = [.. Listeners.Select(l => l.ToString())],
        Relays = [.. _relays.Places
            .OrderBy(p => p.Session?.Connection.RoundTrip ?? TimeSpan.MaxValue)
            .Select(p => new RelayStatusLine(p.Link.Name, p.Session is not null, p.Session?.Connection.RoundTrip, p.Reserved, p.Session is null ? p.Link.LastFault : p.LastFault))],
        Peers = [.. _links.Values.OrderBy(l => l.Name, StringComparer.Ordinal).Select(Status)],
        Counts = new MeshCounts
        {
            StreamsIn = _inbound.Count,
            StreamsOut = _outbound.Count,
            Reservations = _relayServer?.ReservationCount ?? 0,
            Circuits = _relayServer?.CircuitCount ?? 0,
            StreamsServed = _mesh.Counters.Served,
            StreamsCarried = _mesh.Counters.Carried,
            RefusedIn = _mesh.Counters.RefusedIn,
            RefusedOut = _mesh.Counters.RefusedOut,
            GaveWay = _outbound.GaveWay,
            BytesSent = _mesh.Counters.Sent,
            BytesReceived = _mesh.Counters.Received,
            DatagramsDropped = _mesh.Counters.DatagramsDropped,
            StrangersRefused = _mesh.Counters.Strangers,
            SessionsPaced = _mesh.Counters.Paced,
            Admitted = _mesh.Counters.Door.Admitted,
            AdmissionRefused = _mesh.Counters.Door.Refused,
        },
        Services = _mesh.Counters.Services,
        Loop = Loop,
    };

    /// <summary>Of the thread that moves the tunnel's bytes.</summary>
    public TunnelLoopState Loop => new(_loop.HasFailed, _loop.SinceTurn);

    /// <summary>Sessions to a node that stand, those that are to end included.</summary>
    internal int SessionsTo(string node) => _mesh.Sessions.All.Count(s => s.IsAlive && s is { IsProbe: false } && s.Node == node);

    private PeerStatus Status(PeerLink link)
    {
        var best = link.Best;
        var state = best switch { null => PeerState.Connecting, { IsDirect: true } => PeerState.Direct, _ => PeerState.Relayed };
        var address = best?.Connection.RemoteAddress;
        return new PeerStatus(
            link.Name,
            (best?.Connection.RemotePeer ?? link.PeerIds[0]).ToString(),
            state,
            best is { IsDirect: true } && address is not null && address.TryGetTcpEndPoint(out var endPoint) ? endPoint.ToString() : address?.ToString() ?? "",
            state == PeerState.Relayed ? Relay(address) : "",
            best?.Connection.RoundTrip,
            best?.Connection.StreamCount ?? 0,
            link.LastFault,
            best is null ? null : _mesh.Time.GetElapsedTime(best.StartedAt));
    }

    /// <summary>The name of the relay in `…/p2p/RELAY/p2p-circuit/p2p/PEER`.</summary>
    private string Relay(Multiaddr? address)
    {
        var text = address?.Components.FirstOrDefault(c => c.Protocol.Name == "p2p")?.Text;
        return LibP2P.Addresses.PeerId.TryParse(text, out var relay) ? _mesh.Directory.NameOf(relay) ?? text : "";
    }
}
