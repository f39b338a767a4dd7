using System.Diagnostics.Metrics;
using System.Globalization;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Serving;
using EdgeMesh.Names;

namespace EdgeMesh.Agent.Hosting.Names;

/// <summary>Shows the name server's own counters as instruments, with CoreDNS' names under our prefix; read when somebody asks.</summary>
internal sealed class NamesMetrics : IDisposable
{
    private static readonly AnswerSource[] Sources = [AnswerSource.Zone, AnswerSource.Cache, AnswerSource.Upstream, AnswerSource.Stale, AnswerSource.Refused, AnswerSource.Malformed, AnswerSource.Failed];
    private static readonly (int Code, string Name)[] Codes =
    [
        (0, "NOERROR"), (1, "FORMERR"), (2, "SERVFAIL"), (3, "NXDOMAIN"), (4, "NOTIMP"), (5, "REFUSED"), (16, "BADVERS"),
    ];

    private readonly Meter _meter = new("EdgeMesh.Names");
    private readonly Func<NameServer?> _server;

    public NamesMetrics(Func<NameServer?> server)
    {
        _server = server;
        Counter("edgemesh_dns_requests_total", s => [One(s.Counters.RequestsByUdp, "proto", "udp"), One(s.Counters.RequestsByTcp, "proto", "tcp")], "Questions that came, by protocol.");
        Counter("edgemesh_dns_responses_total", s => Codes.Select(c => One(s.Counters.WithCode(c.Code), "rcode", c.Name)), "Answers, by code.");
        Counter("edgemesh_dns_answers_total", s => Sources.Select(source => One(s.Counters.Answered(source), "source", source.ToString().ToLowerInvariant())), "Answers, by where they came from: zone (known here), cache, upstream, stale (upstream is away), refused, malformed, failed.");
        Counter("edgemesh_dns_ignored_total", s => [One(s.Counters.Ignored, "reason", "no_request"), One(s.Counters.RateLimited, "reason", "rate")], "Messages that were not answered: no requests, or beyond the rate of their client.");
        Counter("edgemesh_dns_refused_clients_total", s => [new(s.Counters.RefusedClients)], "Questions of machines that are neither this node, its pods nor allowed by the configuration.");
        Counter("edgemesh_dns_loops_total", s => [new(s.Counters.Loops)], "Questions of this agent that came back to it.");
        Counter("edgemesh_dns_connections_closed_total", s => [new(s.Sockets.Closed)], "Connections that gave way to others, or whose client did not read.");
        Gauge("edgemesh_dns_connections", s => [new(s.Sockets.Connections)], "Open TCP connections of clients.");
        Gauge("edgemesh_dns_cache_entries", s => [new(s.Cache.Count)], "Answers of upstreams that are kept.");
        Gauge("edgemesh_dns_cache_bytes", s => [new(s.Cache.Bytes)], "Their bytes.");
        Counter("edgemesh_dns_cache_evictions_total", s => [new(s.Cache.Evictions)], "Answers that went for others before their time.");
        Counter("edgemesh_dns_cache_prefetch_total", s => [new(s.Counters.Prefetches)], "Answers that were fetched again before their time, because they are asked for often.");
        Gauge("edgemesh_dns_forward_pending", s => [new(s.Pending)], "Questions that upstreams are asked at this moment.");
        Counter("edgemesh_dns_forward_requests_total", s => ByUpstream(s, u => u.Sent), "Questions to an upstream.");
        Counter("edgemesh_dns_forward_responses_total", s => ByUpstream(s, u => u.Answered), "Answers of an upstream.");
        Counter("edgemesh_dns_forward_failures_total", s => ByUpstream(s, u => u.Failed), "Questions that an upstream did not answer in time, or refused to take.");
        Counter("edgemesh_dns_forward_strange_total", s => ByUpstream(s, u => u.Strange), "Messages of an upstream with another id or question than was asked, or that could not be read.");
        Gauge("edgemesh_dns_forward_healthy", s => ByUpstream(s, u => u.IsHealthy ? 1 : 0), "1 while an upstream answers.");
        const string latency = "edgemesh_dns_forward_request_duration_seconds";
        const string about = "Time until an upstream answered.";
        Part(latency + "_bucket", s => s.Upstreams.SelectMany(Buckets), about);
        _meter.CreateObservableCounter(latency + "_sum", () => Read<double>(s => s.Upstreams.Select(u => new Measurement<double>(u.LatencySum, To(u)))), MetricFamily.HistogramPart, about);
        Part(latency + "_count", s => ByUpstream(s, u => u.Answered), about);
    }

    public void Dispose() => _meter.Dispose();

    private static IEnumerable<Measurement<long>> Buckets(Upstream upstream)
    {
        var count = 0L;
        for (var i = 0; i < upstream.Latencies.Length; i++)
        {
            count += upstream.Latencies[i];
            var bound = i < Upstream.LatencyBounds.Length ? Upstream.LatencyBounds[i].ToString(CultureInfo.InvariantCulture) : "+Inf";
            yield return new(count, To(upstream), new KeyValuePair<string, object?>("le", bound));
        }
    }

    private static IEnumerable<Measurement<long>> ByUpstream(NameServer server, Func<Upstream, long> value) => server.Upstreams.Select(u => new Measurement<long>(value(u), To(u)));

    private static KeyValuePair<string, object?> To(Upstream upstream) => new("to", upstream.Server.ToString());

    private static Measurement<long> One(long value, string label, string text) => new(value, new KeyValuePair<string, object?>(label, text));

    private IEnumerable<Measurement<T>> Read<T>(Func<NameServer, IEnumerable<Measurement<T>>> read)
        where T : struct => _server() is { } server ? read(server) : [];

    private void Counter(string name, Func<NameServer, IEnumerable<Measurement<long>>> read, string about) => _meter.CreateObservableCounter(name, () => Read(read), null, about);

    private void Gauge(string name, Func<NameServer, IEnumerable<Measurement<long>>> read, string about) => _meter.CreateObservableGauge(name, () => Read(read), null, about);

    private void Part(string name, Func<NameServer, IEnumerable<Measurement<long>>> read, string about) => _meter.CreateObservableCounter(name, () => Read(read), MetricFamily.HistogramPart, about);
}
