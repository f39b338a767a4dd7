using EdgeMesh.Agent.Admin;
using EdgeMesh.Catalog;
using EdgeMesh.Planning;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Agent.Hosting.Tunnel;

/// <summary>The mesh as the status document has it.</summary>
internal static class TunnelStatusWords
{
    public static TunnelStatus Of(MeshStatus mesh, Reachability? reachability)
    {
        var ranges = reachability?.Nodes.ToDictionary(StringComparer.Ordinal) ?? [];
        return new TunnelStatus
        {
            PeerId = mesh.PeerId,
            Listening = mesh.Listening,
            Fault = HealthRules.TunnelLoopFault(mesh.Loop),
            Relays = [.. mesh.Relays.Select(relay => new TunnelRelayStatus
            {
                Name = relay.Name,
                Connected = relay.Connected,
                RoundTripMilliseconds = relay.RoundTrip?.TotalMilliseconds,
                ReservedUntil = relay.Reserved,
                Fault = Present(relay.LastFault),
            })],
            Nodes = [.. mesh.Peers.Select(peer => new TunnelNodeStatus
            {
                Name = peer.Name,
                PeerId = peer.PeerId,
                State = peer.State.ToString().ToLowerInvariant(),
                Address = Present(peer.Address),
                Relay = Present(peer.Relay),
                RoundTripMilliseconds = peer.RoundTrip?.TotalMilliseconds,
                AgeSeconds = peer.Age?.TotalSeconds,
                Streams = peer.Streams,
                Ranges = ranges.TryGetValue(peer.Name, out var announced) ? [.. announced.Select(Range)] : [],
                Fault = Present(peer.LastFault),
            })],
            StreamsIn = mesh.Counts.StreamsIn,
            StreamsOut = mesh.Counts.StreamsOut,
            RefusedIn = mesh.Counts.RefusedIn.Values.Sum(),
            RefusedOut = mesh.Counts.RefusedOut.Values.Sum(),
            StrangersRefused = mesh.Counts.StrangersRefused,
        };
    }

    private static TunnelRangeStatus Range(RangeReach range) => new()
    {
        Range = range.Range.ToString(),
        State = range.State.ToString().ToLowerInvariant(),
        Reason = range.Reason,
        RoundTripMilliseconds = range.RoundTrip?.TotalMilliseconds,
    };

    private static string? Present(string text) => text.Length == 0 ? null : text;
}

/// <summary>Says of endpoints how each is reached, and why so.</summary>
internal sealed class EndpointWayWords(MeshStatus mesh, Reachability? reachability)
{
    private readonly Dictionary<string, PeerStatus> _peers = mesh.Peers.ToDictionary(peer => peer.Name, StringComparer.Ordinal);

    public EndpointWayStatus Of(ServiceEndpoint endpoint)
    {
        if (endpoint.IsLocal)
            return Way(endpoint, "local", "runs on this node", null);
        if (endpoint.Node is not { } node)
            return Way(endpoint, "direct", "nobody says on which node it runs", null);
        var range = reachability?.Find(node, endpoint.Address.Address);
        if (!EndpointWays.IsTunnelled(endpoint, reachability))
            return Way(endpoint, "direct", range?.Reason ?? "reached without the tunnel", range?.RoundTrip);

        var why = range is null ? $"{node} has announced no range that it is in" : range.Reason;
        if (!_peers.TryGetValue(node, out var peer) || peer.State == PeerState.Connecting)
            return Way(endpoint, "tunnel", $"{why}; no session to {node} stands", null);
        var session = peer.State == PeerState.Relayed ? $"relayed via {peer.Relay}" : "session straight to the node";
        return Way(endpoint, "tunnel", $"{session}; {why}", peer.RoundTrip);
    }

    private static EndpointWayStatus Way(ServiceEndpoint endpoint, string way, string reason, TimeSpan? roundTrip) => new()
    {
        Endpoint = endpoint.Address.ToString(),
        Node = endpoint.Node,
        Way = way,
        Reason = reason,
        RoundTripMilliseconds = roundTrip?.TotalMilliseconds,
    };
}
