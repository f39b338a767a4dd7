using System.Diagnostics.Metrics;
using System.Globalization;
using System.Numerics;
using System.Text;

namespace EdgeMesh.Agent.Admin;

internal enum MetricKind
{
    Counter,
    Gauge,

    /// <summary>A histogram that is kept here, of what is recorded event by event.</summary>
    Seconds,

    /// <summary>A histogram that somebody else keeps.</summary>
    HistogramParts,
}

/// <summary>All samples of one name.</summary>
internal sealed class MetricFamily(string name, string description, MetricKind kind)
{
    /// <summary>The unit of instruments that are read as the parts of a histogram that somebody else keeps: their names end in one of
    /// <see cref="Parts"/>, and the buckets have the label <c>le</c>.</summary>
    public const string HistogramPart = "histogram part";

    private static readonly string[] Parts = ["_bucket", "_sum", "_count"];

    private static readonly double[] Bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

    private readonly Lock _gate = new();

    // Of counters and gauges: by labels, of this page.
    private readonly Dictionary<string, string> _samples = new(StringComparer.Ordinal);

    // Of a histogram: how often up to each bound and beyond, since the agent started.
    private readonly long[] _buckets = new long[Bounds.Length + 1];
    private double _sum;

    public string Name => name;

    /// <summary>How many give it samples.</summary>
    public int Instruments { get; set; }

    /// <returns>Null: the page has no place for it.</returns>
    public static MetricKind? KindOf(Instrument instrument) => instrument switch
    {
        ObservableCounter<long> { Unit: HistogramPart } or ObservableCounter<double> { Unit: HistogramPart } => MetricKind.HistogramParts,
        ObservableCounter<int> or ObservableCounter<long> or ObservableCounter<double> => MetricKind.Counter,
        ObservableGauge<int> or ObservableGauge<long> or ObservableGauge<double> => MetricKind.Gauge,
        Histogram<double> { Unit: "s" } => MetricKind.Seconds,
        _ => null,
    };

    /// <summary>What a sample's name has beyond that of its family.</summary>
    public static string SuffixOf(Instrument instrument, MetricKind kind) =>
        kind == MetricKind.HistogramParts ? Array.Find(Parts, part => instrument.Name.EndsWith(part, StringComparison.Ordinal)) ?? "" : "";

    /// <summary>What the page before had was of that time.</summary>
    public void Begin()
    {
        lock (_gate)
            _samples.Clear();
    }

    /// <summary>From any thread.</summary>
    public void Take<T>(T value, string suffix, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        where T : INumber<T>
    {
        if (kind == MetricKind.Seconds)
        {
            Count(double.CreateChecked(value));
            return;
        }

        var labels = suffix + Labels(tags);
        lock (_gate)
            _samples[labels] = value is double real ? Number(real) : value.ToString(null, CultureInfo.InvariantCulture);
    }

    public void WriteTo(StringBuilder page)
    {
        lock (_gate)
        {
            if (kind != MetricKind.Seconds && _samples.Count == 0)
                return;
            if (description.Length > 0)
                page.Append("# HELP ").Append(name).Append(' ').Append(description.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)).Append('\n');
            page.Append("# TYPE ").Append(name).Append(' ').Append(kind switch
            {
                MetricKind.Counter => "counter",
                MetricKind.Gauge => "gauge",
                _ => "histogram",
            }).Append('\n');
            if (kind == MetricKind.Seconds)
                WriteHistogram(page);
            foreach (var (labels, value) in _samples)
                page.Append(name).Append(labels).Append(' ').Append(value).Append('\n');
        }
    }

    private void Count(double value)
    {
        var bucket = Array.FindIndex(Bounds, bound => value <= bound);
        lock (_gate)
        {
            _buckets[bucket < 0 ? Bounds.Length : bucket]++;
            _sum += value;
        }
    }

    private void WriteHistogram(StringBuilder page)
    {
        var count = 0L;
        for (var i = 0; i < _buckets.Length; i++)
        {
            count += _buckets[i];
            page.Append(name).Append("_bucket{le=\"").Append(i < Bounds.Length ? Number(Bounds[i]) : "+Inf").Append("\"} ").Append(count).Append('\n');
        }

        page.Append(name).Append("_sum ").Append(Number(_sum)).Append('\n');
        page.Append(name).Append("_count ").Append(count).Append('\n');
    }

    private static string Labels(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (tags.IsEmpty)
            return "";
        var text = new StringBuilder();
        var separator = '{';
        foreach (var (key, tag) in tags)
        {
            text.Append(separator).Append(key).Append("=\"");
            separator = ',';
            // The format knows line ends, and has them escaped in its own way.
            foreach (var character in PlainText.Lines(Convert.ToString(tag, CultureInfo.InvariantCulture) ?? ""))
            {
                _ = character switch
                {
                    '\\' => text.Append("\\\\"),
                    '"' => text.Append("\\\""),
                    '\n' => text.Append("\\n"),
                    _ => text.Append(character),
                };
            }

            text.Append('"');
        }

        return text.Append('}').ToString();
    }

    private static string Number(double value) => value switch
    {
        double.PositiveInfinity => "+Inf",
        double.NegativeInfinity => "-Inf",
        double.NaN => "NaN",
        _ => value.ToString("R", CultureInfo.InvariantCulture),
    };
}
