using System.Collections.Immutable;
using System.Diagnostics.Metrics;
using EdgeMesh.Forwarding;
using EdgeMesh.Forwarding.Udp;
using EdgeMesh.Linux.Netlink;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Shows the data path's own counters as instruments. They are read when somebody asks; the loops know nothing of it.</summary>
internal sealed class ForwardingMetrics : IDisposable
{
    private readonly Meter _meter = new("EdgeMesh.Forwarding");

    public ForwardingMetrics(TcpForwarder tcp, UdpForwarder udp)
    {
        Counter("edgemesh_tcp_connections_total", "TCP connections accepted by the user-mode path.", () => tcp.ReadStatistics().Accepted);
        Gauge("edgemesh_tcp_connections_active", "TCP connections open on the user-mode path.", () => tcp.ReadStatistics().Active);
        Gauge("edgemesh_tcp_dials_pending", "Connections whose endpoint has not answered yet.", () => tcp.ReadStatistics().PendingDials);
        Counter("edgemesh_tcp_dials_total", "Attempts to reach an endpoint.", () => tcp.ReadStatistics().DialAttempts);
        Each<DialFailure>("edgemesh_tcp_dial_failures_total", "Attempts that failed, by reason.", "reason", () => tcp.ReadStatistics().DialFailures);
        Each<RefusalReason>("edgemesh_tcp_refused_total", "Clients that were reset without an endpoint, by reason.", "reason", () => tcp.ReadStatistics().Refused);
        Counter("edgemesh_tcp_gave_way_total", "Connections closed for others, because their client or service had most of a limit that was used up.", () => tcp.ReadStatistics().GaveWay);
        Bytes("edgemesh_tcp_bytes_total", () => (tcp.ReadStatistics().BytesToEndpoints, tcp.ReadStatistics().BytesToClients));
        Counter("edgemesh_forwarding_faults_total", "Connections and flows that were cut by a fault of this program.",
            () => tcp.ReadStatistics().Faults + udp.Statistics().Faults);
        Counter("edgemesh_heartbeats_total", "Heartbeats written to the kernel.", () => tcp.ReadStatistics().Heartbeats);
        Counter("edgemesh_heartbeat_failures_total", "Heartbeats that the kernel refused.", () => tcp.ReadStatistics().HeartbeatFailures);
        Counter("edgemesh_heartbeats_withheld_total", "Heartbeats left out because a loop had not come round.", () => tcp.ReadStatistics().HeartbeatsWithheld);
        Gauge("edgemesh_udp_flows_active", "UDP flows open on the user-mode path.", () => udp.Statistics().FlowsActive);
        Counter("edgemesh_udp_flows_total", "UDP flows opened.", () => udp.Statistics().FlowsOpened);
        Each<UdpCloseReason>("edgemesh_udp_flows_closed_total", "UDP flows closed, by reason.", "reason", () => udp.Statistics().FlowsClosed);
        Each<UdpDropReason>("edgemesh_udp_dropped_total", "Datagrams dropped, by reason.", "reason", () => udp.Statistics().Dropped);
        Bytes("edgemesh_udp_bytes_total", () => (udp.Statistics().BytesToEndpoints, udp.Statistics().BytesToClients));
        _meter.CreateObservableGauge("edgemesh_conntrack_entries", () => ConntrackUsage.Read() is { } usage ? [new Measurement<long>(usage.Entries)] : (Measurement<long>[])[], null, "Entries of the connection tracking table.");
        _meter.CreateObservableGauge("edgemesh_conntrack_limit", () => ConntrackUsage.Read() is { } usage ? [new Measurement<long>(usage.Maximum)] : (Measurement<long>[])[], null, "Most entries that the connection tracking table takes.");
        DialLatencyBuckets(tcp);
    }

    public void Dispose() => _meter.Dispose();

    /// <summary>The loops count into fixed buckets; an instrument cannot take over counts, so the buckets are shown as counters.</summary>
    private void DialLatencyBuckets(TcpForwarder tcp)
    {
        _meter.CreateObservableCounter("edgemesh_tcp_dial_duration_seconds_bucket", () =>
        {
            var counts = tcp.ReadStatistics().DialLatency.Counts;
            var measurements = new Measurement<long>[counts.Length];
            long cumulative = 0;
            for (var i = 0; i < counts.Length; i++)
            {
                cumulative += counts[i];
                var bound = i < DialLatency.UpperBounds.Length
                    ? DialLatency.UpperBounds[i].ToString(System.Globalization.CultureInfo.InvariantCulture)
                    : "+Inf";
                measurements[i] = new Measurement<long>(cumulative, new KeyValuePair<string, object?>("le", bound));
            }

            return measurements;
        }, null, "Successful dials that took at most le seconds.");
        _meter.CreateObservableCounter("edgemesh_tcp_dial_duration_seconds_sum", () => tcp.ReadStatistics().DialLatency.SumSeconds, null, "Seconds spent in successful dials.");
    }

    private void Counter(string name, string text, Func<long> read) => _meter.CreateObservableCounter(name, read, null, text);

    private void Gauge(string name, string text, Func<long> read) => _meter.CreateObservableGauge(name, read, null, text);

    private void Bytes(string name, Func<(long ToEndpoints, long ToClients)> read) => _meter.CreateObservableCounter(
        name,
        () =>
        {
            var (toEndpoints, toClients) = read();
            return (Measurement<long>[])
            [
                new(toEndpoints, new KeyValuePair<string, object?>("direction", "to_endpoint")),
                new(toClients, new KeyValuePair<string, object?>("direction", "to_client")),
            ];
        },
        null, "Bytes carried by the user-mode path, by direction.");

    private void Each<TReason>(string name, string text, string label, Func<ImmutableArray<long>> read)
        where TReason : struct, Enum
    {
        var names = Enum.GetNames<TReason>();
        _meter.CreateObservableCounter(
            name,
            () =>
            {
                var counts = read();
                return names.Select((reason, i) => new Measurement<long>(counts[i], new KeyValuePair<string, object?>(label, reason)));
            },
            null, text);
    }
}
