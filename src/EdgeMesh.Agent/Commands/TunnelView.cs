using System.Globalization;
using EdgeMesh.Agent.Admin;
using Spectre.Console;

namespace EdgeMesh.Agent.Commands;

/// <summary>Shows the tunnel to a person: this node, its relays, and how each other node is reached.</summary>
internal static class TunnelView
{
    public static void AddFacts(Grid facts, TunnelStatus tunnel)
    {
        facts.AddRow("Tunnel", Shown.Text(
            $"peer {tunnel.PeerId} at {string.Join(", ", tunnel.Listening)}: {tunnel.StreamsOut} streams to other nodes, {tunnel.StreamsIn} from them; {tunnel.RefusedOut} and {tunnel.RefusedIn} refused, {tunnel.StrangersRefused} strangers turned away"));
        if (tunnel.Fault is { } broken)
            facts.AddRow("", $"[red]{Shown.Text(broken)}[/]");
        foreach (var relay in tunnel.Relays)
        {
            var state = relay.Connected
                ? Shown.Text($"connected{RoundTrip(relay.RoundTripMilliseconds, ", ")}{(relay.ReservedUntil is null ? ", no place held" : ", holds a place for this node")}")
                : $"[yellow]{Shown.Text($"not connected{(relay.Fault is { } fault ? $": {fault}" : "")}")}[/]";
            facts.AddRow("", $"relay {Shown.Text(relay.Name)}: {state}");
        }
    }

    public static Table Nodes(TunnelStatus tunnel)
    {
        var table = new Table().Border(TableBorder.Simple).AddColumns("Other node", "Session", "Age", "Round trip", "Streams", "Directly reachable");
        foreach (var node in tunnel.Nodes)
        {
            var session = node.State switch
            {
                "relayed" => Shown.Text($"relayed via {node.Relay}"),
                "direct" => Shown.Text($"direct, {node.Address}"),
                _ => $"[yellow]{Shown.Text($"none{(node.Fault is { } fault ? $": {fault}" : "")}")}[/]",
            };
            var ranges = string.Join(", ", node.Ranges.Where(range => range.State == "direct").Select(range => range.Range));
            table.AddRow(
                Shown.Text(node.Name), session, node.AgeSeconds is { } age ? StatusView.Age(TimeSpan.FromSeconds(age)) : "", RoundTrip(node.RoundTripMilliseconds, ""),
                node.Streams.ToString(CultureInfo.InvariantCulture), ranges.Length == 0 ? "nothing" : Shown.Text(ranges));
        }

        return table;
    }

    public static string Way(EndpointWayStatus way) =>
        way.Way == "local" ? way.Endpoint : $"{way.Endpoint} ({(way.Node is null ? "" : $"{way.Node}, ")}{way.Way}: {way.Reason}{RoundTrip(way.RoundTripMilliseconds, ", ")})";

    private static string RoundTrip(double? milliseconds, string before) =>
        milliseconds is { } known ? string.Create(CultureInfo.InvariantCulture, $"{before}{known:0.#} ms") : "";
}
