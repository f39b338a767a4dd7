using System.Collections.Immutable;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Options;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using EdgeMesh.Names;
using EdgeMesh.Net;

namespace EdgeMesh.Agent.Hosting.Names;

/// <summary>The name server as the status document has it.</summary>
internal static class NamesStatusText
{
    /// <param name="stale">Why the facts may be old; null: they are those of now.</param>
    public static NameStatus Of(NameAnswer answer, string? stale, UpstreamTable? upstreams)
    {
        _ = DnsHeader.TryRead(answer.Message, out var header);
        return new NameStatus
        {
            Code = MessageText.Of(header.Code),
            Records = [.. MessageText.Records(answer.Message)],
            Source = answer.Source.ToString().ToLowerInvariant(),
            Reason = answer.Source switch
            {
                AnswerSource.Zone => "this agent knows the names of the cluster" + (stale is null ? "" : $"; its source is {stale}"),
                AnswerSource.Cache => "an upstream said so a while ago, and its time is not over",
                AnswerSource.Upstream => $"an upstream said so now; those are {upstreams}",
                AnswerSource.Stale => $"no upstream answers; this is what one said before ({upstreams})",
                AnswerSource.Failed => $"no upstream could say; those are {upstreams ?? UpstreamTable.Empty}",
                AnswerSource.Refused => "such a question is not answered here",
                AnswerSource.Malformed => "the question could not be read",
                _ => throw new InvalidOperationException($"{answer.Source} is no answer."),
            },
        };
    }

    /// <param name="zone">Null: nothing is answered here, and the cluster's DNS is asked.</param>
    public static NamesStatus Of(EdgeDnsOptions options, ImmutableArray<InetEndpoint> listen, ClusterZone? zone, NameServer? server) => new()
    {
        Listening = server is null ? [] : [.. listen.Select(endpoint => endpoint.ToString())],
        Domains = zone is null ? [] : options.Domains,
        Services = zone?.ServiceCount ?? 0,
        HasFacts = zone?.HasFacts ?? true,
        Requests = server is null ? 0 : server.Counters.RequestsByUdp + server.Counters.RequestsByTcp,
        Answers = server is null ? ImmutableSortedDictionary<string, long>.Empty : Enum.GetValues<AnswerSource>().Where(source => source != AnswerSource.None)
            .ToImmutableSortedDictionary(source => source.ToString().ToLowerInvariant(), server.Counters.Answered, StringComparer.Ordinal),
        CacheEntries = server?.Cache.Count ?? 0,
        Upstreams = server is null ? [] : [.. server.Upstreams.Select(upstream => new UpstreamStatus
        {
            Address = upstream.Server.ToString(),
            Healthy = upstream.IsHealthy,
            RoundTripMilliseconds = upstream.RoundTrip > 0 ? upstream.RoundTrip : null,
            Sent = upstream.Sent,
            Failed = upstream.Failed,
        })],
    };
}
