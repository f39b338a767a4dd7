using System.Diagnostics.Metrics;
using EdgeMesh.Kubernetes;

namespace EdgeMesh.Agent.Hosting;

/// <summary>How well the facts arrive, per kind of object.</summary>
internal sealed class SourceMetrics : IDisposable
{
    private readonly Meter _meter = new("EdgeMesh.Kubernetes");

    public SourceMetrics(IClusterSource source, TimeProvider time)
    {
        Each(source, "edgemesh_source_lists_total", "Full lists done.", kind => kind.Lists);
        Each(source, "edgemesh_source_watches_total", "Watches begun.", kind => kind.Watches);
        Each(source, "edgemesh_source_events_total", "Watch events taken in.", kind => kind.Events);
        Each(source, "edgemesh_source_faults_total", "Lists and watches that failed.", kind => kind.Faults);
        _meter.CreateObservableGauge(
            "edgemesh_source_synced", () => source.Health.Kinds.Select(kind => new Measurement<int>(kind.Synced ? 1 : 0, Tag(kind))), null, "1 once the kind has been listed.");
        _meter.CreateObservableGauge(
            "edgemesh_source_offline", () => source.Health.Kinds.Select(kind => new Measurement<int>(kind.Offline ? 1 : 0, Tag(kind))), null, "1 while a metaServer lists the kind from its local database, without the cloud.");
        _meter.CreateObservableGauge(
            "edgemesh_source_unreachable", () => source.Health.Kinds.Select(kind => new Measurement<int>(kind.UnreachableSince is null ? 0 : 1, Tag(kind))), null, "1 while nobody answers for the kind.");
        _meter.CreateObservableGauge(
            "edgemesh_source_age_seconds",
            () => source.Health.Kinds.Where(kind => kind.LastSuccess is not null).Select(kind =>
                new Measurement<double>(time.GetElapsedTime(kind.LastSuccess!.Value).TotalSeconds, Tag(kind))),
            "s", "Time since the source last answered for the kind.");
        _meter.CreateObservableGauge(
            "edgemesh_source_certificate_expiry_timestamp_seconds",
            () => source.Health.Expiries.Select(expiry => new Measurement<double>(expiry.Ends.ToUnixTimeSeconds(), new KeyValuePair<string, object?>("certificate", expiry.Certificate))),
            null, "When the certificate ends by which the source is asked (client), or its server is known (ca).");
    }

    public void Dispose() => _meter.Dispose();

    private static KeyValuePair<string, object?> Tag(KindHealth kind) => new("kind", kind.Kind);

    private void Each(IClusterSource source, string name, string text, Func<KindHealth, long> read) => _meter.CreateObservableCounter(
        name, () => source.Health.Kinds.Select(kind => new Measurement<long>(read(kind), Tag(kind))), null, text);
}
