using System.Diagnostics.Metrics;

namespace EdgeMesh.Reconciling;

/// <summary>Instruments of the reconciler, named after kube-proxy's so that its dashboards can be bent to fit.</summary>
internal sealed class ReconcilerMetrics : IDisposable
{
    private readonly Meter _meter = new("EdgeMesh.Reconciling");

    public ReconcilerMetrics(Func<ReconcilerState> state)
    {
        SyncDuration = _meter.CreateHistogram<double>(
            "edgemesh_sync_proxy_rules_duration_seconds", "s", "Time of one sync: catalog, plan and rules.");
        ProgrammingDuration = _meter.CreateHistogram<double>(
            "edgemesh_network_programming_duration_seconds", "s", "From a fact's arrival in the agent until its rules are in the kernel.");
        _meter.CreateObservableCounter("edgemesh_sync_proxy_rules_total", () => state().Syncs, null, "Syncs tried.");
        _meter.CreateObservableCounter(
            "edgemesh_sync_proxy_rules_changes_total", () => state().SyncsWithChanges, null, "Syncs that changed the kernel.");
        _meter.CreateObservableCounter(
            "edgemesh_sync_proxy_rules_failures_total", () => state().SyncFailures, null, "Syncs that failed and were retried.");
        _meter.CreateObservableCounter(
            "edgemesh_order_repairs_total", () => state().OrderRepairs, null, "Repairs of jumps and chains that somebody else moved, flushed or removed.");
        _meter.CreateObservableGauge(
            "edgemesh_sync_proxy_rules_last_timestamp_seconds",
            () => state().LastSync?.ToUnixTimeMilliseconds() / 1000.0 ?? 0, "s", "When rules were last applied or found in order.");
        _meter.CreateObservableGauge(
            "edgemesh_sync_in_force", () => state() is { LastSync: not null, Fault: null } ? 1 : 0, null, "1 while the newest plan is in the kernel.");
        _meter.CreateObservableGauge(
            "edgemesh_rules", () => state().Plan.Portals.Select(p => new Measurement<int>(
                p.Rules.Length, new KeyValuePair<string, object?>("family", p.Family.ToString()))), null, "Service ports caught, by address family.");
    }

    public Histogram<double> SyncDuration { get; }

    public Histogram<double> ProgrammingDuration { get; }

    public void Dispose() => _meter.Dispose();
}
