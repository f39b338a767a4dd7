using System.Globalization;
using System.Text;
using OpenTelemetry;
using OpenTelemetry.Metrics;

namespace EdgeMesh.Agent.Admin;

/// <summary>Writes every instrument of the agent in the Prometheus text format 0.0.4. Instrument names are already the
/// names that are exposed: what a dashboard shows can be searched for in the source.</summary>
internal sealed class PrometheusExporter : BaseExporter<Metric>
{
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    private readonly StringBuilder _text = new();

    /// <summary>Collects now and returns the page. Calls may not overlap; <see cref="MetricsPage"/> sees to that.</summary>
    public string Take()
    {
        var page = _text.ToString();
        _text.Clear();
        return page;
    }

    public override ExportResult Export(in Batch<Metric> batch)
    {
        foreach (var metric in batch)
            Write(metric);
        return ExportResult.Success;
    }

    private void Write(Metric metric)
    {
        var (kind, isLong, isHistogram) = metric.MetricType switch
        {
            MetricType.LongSum => ("counter", true, false),
            MetricType.DoubleSum => ("counter", false, false),
            MetricType.LongSumNonMonotonic or MetricType.LongGauge => ("gauge", true, false),
            MetricType.Histogram => ("histogram", false, true),
            _ => ("gauge", false, false),
        };
        if (metric.Description.Length > 0)
            _text.Append("# HELP ").Append(metric.Name).Append(' ').Append(metric.Description.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)).Append('\n');
        _text.Append("# TYPE ").Append(metric.Name).Append(' ').Append(kind).Append('\n');
        foreach (ref readonly var point in metric.GetMetricPoints())
        {
            if (isHistogram)
            {
                WriteHistogram(metric.Name, in point);
            }
            else
            {
                var isSum = kind == "counter" || metric.MetricType == MetricType.LongSumNonMonotonic || metric.MetricType == MetricType.DoubleSumNonMonotonic;
                WriteSample(metric.Name, "", in point, null, (isLong, isSum) switch
                {
                    (true, true) => point.GetSumLong(),
                    (true, false) => point.GetGaugeLastValueLong(),
                    (false, true) => point.GetSumDouble(),
                    (false, false) => point.GetGaugeLastValueDouble(),
                });
            }
        }
    }

    private void WriteHistogram(string name, in MetricPoint point)
    {
        long cumulative = 0;
        foreach (var bucket in point.GetHistogramBuckets())
        {
            cumulative += bucket.BucketCount;
            WriteSample(name, "_bucket", in point, Number(bucket.ExplicitBound), cumulative);
        }

        WriteSample(name, "_sum", in point, null, point.GetHistogramSum());
        WriteSample(name, "_count", in point, null, point.GetHistogramCount());
    }

    private void WriteSample(string name, string suffix, in MetricPoint point, string? bound, double value)
    {
        _text.Append(name).Append(suffix);
        var separator = '{';
        foreach (var (key, tag) in point.Tags)
        {
            WriteLabel(separator, key, Convert.ToString(tag, CultureInfo.InvariantCulture) ?? "");
            separator = ',';
        }

        if (bound is not null)
        {
            WriteLabel(separator, "le", bound);
            separator = ',';
        }

        if (separator == ',')
            _text.Append('}');
        _text.Append(' ').Append(Number(value)).Append('\n');
    }

    private void WriteLabel(char separator, string key, string value)
    {
        _text.Append(separator).Append(key).Append("=\"");
        // The format knows line ends, and has them escaped in its own way.
        foreach (var character in PlainText.Lines(value))
        {
            _ = character switch
            {
                '\\' => _text.Append("\\\\"),
                '"' => _text.Append("\\\""),
                '\n' => _text.Append("\\n"),
                _ => _text.Append(character),
            };
        }

        _text.Append('"');
    }

    private static string Number(double value) => value switch
    {
        double.PositiveInfinity => "+Inf",
        double.NegativeInfinity => "-Inf",
        double.NaN => "NaN",
        _ => value.ToString("R", CultureInfo.InvariantCulture),
    };
}

/// <summary>One collection at a time, on request: nothing is computed while nobody scrapes.</summary>
internal sealed class MetricsPage : IDisposable
{
    private readonly PrometheusExporter _exporter = new();
    private readonly BaseExportingMetricReader _reader;
    private readonly MeterProvider _provider;
    private readonly Lock _one = new();

    public MetricsPage()
    {
        _reader = new BaseExportingMetricReader(_exporter)
        {
            TemporalityPreference = MetricReaderTemporalityPreference.Cumulative,
        };
        _provider = Sdk.CreateMeterProviderBuilder()
            .AddMeter("EdgeMesh.*")
            .AddView(instrument => instrument.Unit == "s" && instrument.GetType().Name.StartsWith("Histogram", StringComparison.Ordinal)
                ? new ExplicitBucketHistogramConfiguration { Boundaries = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] }
                : null)
            .AddReader(_reader)
            .Build();
    }

    public string Render()
    {
        lock (_one)
        {
            _reader.Collect(timeoutMilliseconds: 5_000);
            return _exporter.Take();
        }
    }

    public void Dispose() => _provider.Dispose();
}
