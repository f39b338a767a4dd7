using System.Diagnostics.Metrics;
using System.Text;

namespace EdgeMesh.Agent.Admin;

/// <summary>Every instrument of the agent in the Prometheus text format 0.0.4. Instrument names are already the names that are
/// exposed: what a dashboard shows can be searched for in the source. One page at a time, on request: nothing is computed while
/// nobody scrapes.</summary>
/// <remarks>Counters and gauges are observed; what is recorded event by event is a histogram of seconds (decision 22).</remarks>
internal sealed class MetricsPage : IDisposable
{
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    private readonly MeterListener _listener;
    private readonly Lock _one = new();
    private readonly Lock _gate = new();

    // In the order in which they came.
    private readonly List<MetricFamily> _families = [];

    public MetricsPage()
    {
        _listener = new MeterListener { InstrumentPublished = Add, MeasurementsCompleted = (_, family) => Remove(((Series)family!).Family) };
        _listener.SetMeasurementEventCallback<int>((_, value, tags, series) => ((Series)series!).Take(value, tags));
        _listener.SetMeasurementEventCallback<long>((_, value, tags, series) => ((Series)series!).Take(value, tags));
        _listener.SetMeasurementEventCallback<double>((_, value, tags, series) => ((Series)series!).Take(value, tags));
        _listener.Start();
    }

    public string Render()
    {
        lock (_one)
        {
            MetricFamily[] families;
            lock (_gate)
                families = [.. _families];
            foreach (var family in families)
                family.Begin();
            try
            {
                _listener.RecordObservableInstruments();
            }
            catch (AggregateException)
            {
                // A part that is just being closed, say, cannot be read: its instruments are missing from this page, and no others.
            }

            var page = new StringBuilder();
            foreach (var family in families)
                family.WriteTo(page);
            return page.ToString();
        }
    }

    public void Dispose() => _listener.Dispose();

    private void Add(Instrument instrument, MeterListener listener)
    {
        if (!instrument.Meter.Name.StartsWith("EdgeMesh.", StringComparison.Ordinal) || MetricFamily.KindOf(instrument) is not { } kind)
            return;
        var suffix = MetricFamily.SuffixOf(instrument, kind);
        var name = instrument.Name[..^suffix.Length];
        MetricFamily? family;
        lock (_gate)
        {
            // While rules move from one backend to another, both have the same instruments.
            family = _families.Find(known => known.Name == name);
            if (family is null)
                _families.Add(family = new MetricFamily(name, instrument.Description ?? "", kind));
            family.Instruments++;
        }

        listener.EnableMeasurementEvents(instrument, new Series(family, suffix));
    }

    private void Remove(MetricFamily family)
    {
        lock (_gate)
        {
            if (--family.Instruments == 0)
                _families.Remove(family);
        }
    }

    private sealed record Series(MetricFamily Family, string Suffix)
    {
        public void Take<T>(T value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
            where T : System.Numerics.INumber<T> => Family.Take(value, Suffix, tags);
    }
}
