using System.Diagnostics.Metrics;
using EdgeMesh.Supervision;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Faults of background work that nobody foresaw.</summary>
internal sealed class FaultMetrics : IDisposable
{
    private readonly Meter _meter = new("EdgeMesh.Supervision");

    public FaultMetrics(Supervisor supervisor) => _meter.CreateObservableCounter(
        "edgemesh_faults_total",
        () => supervisor.Faults.Select(faults => new Measurement<long>(faults.Count, new KeyValuePair<string, object?>("loop", faults.Loop))),
        null,
        "Faults of this program that nobody foresaw, by the loop that met with them; 0 is what is expected.");

    public void Dispose() => _meter.Dispose();
}
