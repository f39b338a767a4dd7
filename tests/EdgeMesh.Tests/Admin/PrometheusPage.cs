using System.Globalization;
using System.Text.RegularExpressions;

namespace EdgeMesh.Tests.Admin;

/// <summary>A strict reader of the Prometheus text format 0.0.4: what it takes, a Prometheus takes.</summary>
internal sealed partial class PrometheusPage
{
    private readonly Dictionary<string, string> _types = new(StringComparer.Ordinal);
    private readonly Dictionary<string, double> _series = new(StringComparer.Ordinal);

    private PrometheusPage()
    {
    }

    public IReadOnlyDictionary<string, string> Types => _types;

    /// <summary>Value by name and labels as written.</summary>
    public IReadOnlyDictionary<string, double> Series => _series;

    /// <exception cref="FormatException">Says which line breaks which rule.</exception>
    public static PrometheusPage Parse(string text)
    {
        if (!text.EndsWith('\n') || text.Contains('\r', StringComparison.Ordinal))
            throw new FormatException("the page must end with a line feed and have no carriage returns");
        var page = new PrometheusPage();
        string? family = null, described = null;
        foreach (var line in text[..^1].Split('\n'))
        {
            if (HelpLine().Match(line) is { Success: true } help)
                described = help.Groups["name"].Value;
            else if (TypeLine().Match(line) is { Success: true } type)
                family = page.Begin(type.Groups["name"].Value, type.Groups["type"].Value, described, line);
            else if (SampleLine().Match(line) is { Success: true } sample)
                page.Add(family, sample, line);
            else
                throw new FormatException($"neither HELP, TYPE nor a sample: {line}");
        }

        page.CheckHistograms();
        return page;
    }

    private string Begin(string name, string type, string? described, string line)
    {
        if (described != name)
            throw new FormatException($"HELP of the same metric must come before: {line}");
        if (!_types.TryAdd(name, type))
            throw new FormatException($"a metric has its samples in one group: {line}");
        if (type == "counter" && !name.EndsWith("_total", StringComparison.Ordinal) && !name.EndsWith("_bucket", StringComparison.Ordinal) && !name.EndsWith("_sum", StringComparison.Ordinal))
            throw new FormatException($"a counter's name ends with _total: {line}");
        return name;
    }

    private void Add(string? family, Match sample, string line)
    {
        var name = sample.Groups["name"].Value;
        var suffix = family is not null && name.StartsWith(family, StringComparison.Ordinal) ? name[family.Length..] : null;
        if (suffix is null || !(suffix.Length == 0 || (_types[family!] == "histogram" && suffix is "_bucket" or "_sum" or "_count")))
            throw new FormatException($"a sample outside its metric's group: {line}");
        var labels = sample.Groups["label"].Captures.Select(c => c.Value).ToList();
        if (labels.Distinct(StringComparer.Ordinal).Count() != labels.Count)
            throw new FormatException($"a label is there twice: {line}");
        if (!_series.TryAdd(name + sample.Groups["labels"].Value, Number(sample.Groups["value"].Value)))
            throw new FormatException($"a series is there twice: {line}");
    }

    private void CheckHistograms()
    {
        foreach (var (name, _) in _types.Where(t => t.Value == "histogram"))
        {
            var buckets = _series.Where(s => s.Key.StartsWith(name + "_bucket{", StringComparison.Ordinal)).ToList();
            foreach (var same in buckets.GroupBy(b => BoundLabel().Replace(b.Key, "")))
            {
                var counts = same.OrderBy(b => Number(BoundLabel().Match(b.Key).Groups["bound"].Value)).Select(b => b.Value).ToList();
                if (!counts.SequenceEqual(counts.Order()))
                    throw new FormatException($"the buckets of {same.Key} are not cumulative");
                if (!same.Any(b => b.Key.Contains("le=\"+Inf\"", StringComparison.Ordinal)))
                    throw new FormatException($"{same.Key} has no bucket +Inf");
            }

            foreach (var part in new[] { "_sum", "_count" })
            {
                if (!_series.Keys.Any(key => key == name + part || key.StartsWith(name + part + "{", StringComparison.Ordinal)))
                    throw new FormatException($"{name} has no {part}");
            }
        }
    }

    private static double Number(string text) => text switch
    {
        "+Inf" => double.PositiveInfinity,
        "-Inf" => double.NegativeInfinity,
        _ => double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture),
    };

    [GeneratedRegex(@"^# HELP (?<name>[a-zA-Z_:][a-zA-Z0-9_:]*) (?:[^\\]|\\\\|\\n)+$")]
    private static partial Regex HelpLine();

    [GeneratedRegex("^# TYPE (?<name>[a-zA-Z_:][a-zA-Z0-9_:]*) (?<type>counter|gauge|histogram)$")]
    private static partial Regex TypeLine();

    [GeneratedRegex("""^(?<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?<labels>\{(?:,?(?<label>[a-zA-Z_][a-zA-Z0-9_]*)="(?:[^"\\]|\\\\|\\"|\\n)*")+\})? (?<value>[+-]Inf|NaN|-?[0-9.]+(?:[eE][+-]?[0-9]+)?)$""")]
    private static partial Regex SampleLine();

    [GeneratedRegex("""[{,]le="(?<bound>[^"]*)"}?""")]
    private static partial Regex BoundLabel();
}
