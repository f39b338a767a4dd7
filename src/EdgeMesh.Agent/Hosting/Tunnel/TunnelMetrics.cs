using System.Collections.Immutable;
using System.Diagnostics.Metrics;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Agent.Hosting.Tunnel;

/// <summary>Shows the mesh's own counters as instruments; read when somebody asks.</summary>
internal sealed class TunnelMetrics : IDisposable
{
    private readonly Meter _meter = new("EdgeMesh.Tunnel");

    public TunnelMetrics(MeshNode mesh)
    {
        _meter.CreateObservableGauge("edgemesh_tunnel_peers", () => Enum.GetValues<PeerState>().Select(state =>
            new Measurement<int>(mesh.ReadStatus().Peers.Count(peer => peer.State == state), Label("state", state.ToString()))), null, "Nodes known to the tunnel, by how they are reached.");
        _meter.CreateObservableGauge("edgemesh_tunnel_peer_round_trip_seconds", () => mesh.ReadStatus().Peers.Where(peer => peer.RoundTrip is not null)
            .Select(peer => new Measurement<double>(peer.RoundTrip!.Value.TotalSeconds, Label("node", peer.Name))), "s", "Last round trip to a node over its session.");
        _meter.CreateObservableGauge("edgemesh_tunnel_relays_connected", () => mesh.ReadStatus().Relays.Count(relay => relay.Connected), null, "Relays to which a session stands.");
        _meter.CreateObservableGauge("edgemesh_tunnel_streams", () => Both(mesh.ReadStatus().Counts, c => c.StreamsIn, c => c.StreamsOut), null, "Connections and UDP flows in the tunnel, by direction.");
        _meter.CreateObservableCounter("edgemesh_tunnel_streams_total", () => Both(mesh.ReadStatus().Counts, c => c.StreamsServed, c => c.StreamsCarried), null, "Connections and UDP flows that went through the tunnel, by direction.");
        _meter.CreateObservableCounter("edgemesh_tunnel_refused_total", () =>
        {
            var counts = mesh.ReadStatus().Counts;
            return Refused(counts.RefusedIn, "in").Concat(Refused(counts.RefusedOut, "out"));
        }, null, "Connections and UDP flows that were refused, by direction and reason.");
        _meter.CreateObservableCounter("edgemesh_tunnel_gave_way_total", () => mesh.ReadStatus().Counts.GaveWay, null, "Connections and UDP flows closed for others, because their client or service had most of a limit of streams that was used up.");
        _meter.CreateObservableCounter("edgemesh_tunnel_bytes_total", () => Both(mesh.ReadStatus().Counts, c => c.BytesReceived, c => c.BytesSent), null, "Data of clients and endpoints carried, by direction.");
        _meter.CreateObservableCounter("edgemesh_tunnel_datagrams_dropped_total", () => mesh.ReadStatus().Counts.DatagramsDropped, null, "Datagrams dropped because the other side did not keep up, or that were too large.");
        _meter.CreateObservableCounter("edgemesh_tunnel_strangers_refused_total", () => mesh.ReadStatus().Counts.StrangersRefused, null, "Connections closed without a proof of the key, handshakes that failed, and peers that were not who they said.");
        _meter.CreateObservableCounter("edgemesh_tunnel_admitted_total", () => mesh.ReadStatus().Counts.Admitted, null, "Connections of others that proved the key in their first flight.");
        _meter.CreateObservableCounter("edgemesh_tunnel_admission_refused_total", () => mesh.ReadStatus().Counts.AdmissionRefused.Select(reason => new Measurement<long>(reason.Value, Label("reason", reason.Key))), null, "Connections closed before anything was spent on them, by reason.");
        _meter.CreateObservableCounter("edgemesh_tunnel_sessions_paced_total", () => mesh.ReadStatus().Counts.SessionsPaced, null, "Sessions that were ended because the peer opened, gave up, pinged or updated too often.");
        _meter.CreateObservableGauge("edgemesh_tunnel_relay_reservations", () => mesh.ReadStatus().Counts.Reservations, null, "Nodes that can be reached through this relay.");
        _meter.CreateObservableGauge("edgemesh_tunnel_relay_circuits", () => mesh.ReadStatus().Counts.Circuits, null, "Sessions between others that this relay passes on.");
    }

    public void Dispose() => _meter.Dispose();

    private static IEnumerable<Measurement<long>> Both(MeshCounts counts, Func<MeshCounts, long> received, Func<MeshCounts, long> sent) =>
        [new(received(counts), Label("direction", "in")), new(sent(counts), Label("direction", "out"))];

    private static IEnumerable<Measurement<long>> Refused(ImmutableSortedDictionary<string, long> reasons, string direction) =>
        reasons.Select(reason => new Measurement<long>(reason.Value, Label("direction", direction), Label("reason", reason.Key)));

    private static KeyValuePair<string, object?> Label(string name, string value) => new(name, value);
}
