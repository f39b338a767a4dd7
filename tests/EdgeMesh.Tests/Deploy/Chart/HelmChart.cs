using System.Globalization;
using EdgeMesh.Testing;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace EdgeMesh.Tests.Deploy.Chart;

/// <summary>The chart of deploy/helm/edgemesh, rendered as a release.</summary>
internal static class HelmChart
{
    public const string Folder = "deploy/helm/edgemesh";

    public static readonly string[] Templates = ["01-serviceaccount.yaml", "02-rbac.yaml", "03-configmap.yaml", "04-daemonset.yaml"];

    /// <param name="values">YAML, as a user's own values file; it wins over the chart's.</param>
    /// <param name="live">Objects that the cluster has, by kind and name.</param>
    /// <param name="chartValues">Instead of the chart's own: <c>helm upgrade --reuse-values</c> takes those of the chart before.</param>
    public static string Render(string template, string values = "", string release = "edgemesh", string @namespace = "kubeedge",
        Func<string, string, object?>? live = null, string? chartValues = null)
    {
        var merged = Over(Map(chartValues ?? File.ReadAllText(Repository.PathOf($"{Folder}/values.yaml"))), Map(values));
        var root = new Dictionary<string, object?>(StringComparer.Ordinal)
        {
            ["Values"] = merged,
            ["Release"] = new Dictionary<string, object?>(StringComparer.Ordinal) { ["Name"] = release, ["Namespace"] = @namespace },
            ["Chart"] = Map(File.ReadAllText(Repository.PathOf($"{Folder}/Chart.yaml")))
                .ToDictionary(p => char.ToUpperInvariant(p.Key[0]) + p.Key[1..], p => p.Value, StringComparer.Ordinal),
        };
        var text = File.ReadAllText(Repository.PathOf($"{Folder}/templates/{template}"));
        return TemplateRenderer.Render(text, root, (kind, _, name) => live?.Invoke(kind, name));
    }

    /// <summary>All objects of a release.</summary>
    public static List<Dictionary<string, object?>> Objects(string values = "", string release = "edgemesh", Func<string, string, object?>? live = null, string? chartValues = null) =>
        [.. Templates.SelectMany(t => ObjectsIn(Render(t, values, release, live: live, chartValues: chartValues)))];

    public static IEnumerable<Dictionary<string, object?>> ObjectsIn(string text)
    {
        var stream = new YamlStream();
        stream.Load(new StringReader(text));
        return stream.Documents.Select(d => d.RootNode).OfType<YamlMappingNode>().Select(n => (Dictionary<string, object?>)Plain(n)!);
    }

    public static Dictionary<string, object?> Map(string yaml) => ObjectsIn(yaml).FirstOrDefault() ?? [];

    /// <summary>Maps are joined, all else is replaced; null removes, as Helm has it.</summary>
    private static Dictionary<string, object?> Over(Dictionary<string, object?> below, Dictionary<string, object?> above)
    {
        var result = new Dictionary<string, object?>(below, StringComparer.Ordinal);
        foreach (var (key, value) in above)
        {
            if (value is null)
                result.Remove(key);
            else if (value is Dictionary<string, object?> map && result.GetValueOrDefault(key) is Dictionary<string, object?> old)
                result[key] = Over(old, map);
            else
                result[key] = value;
        }

        return result;
    }

    private static object? Plain(YamlNode node) => node switch
    {
        YamlMappingNode map => map.Children.ToDictionary(p => ((YamlScalarNode)p.Key).Value!, p => Plain(p.Value), StringComparer.Ordinal),
        YamlSequenceNode list => list.Select(Plain).ToList(),
        YamlScalarNode { Style: ScalarStyle.Plain } scalar => scalar.Value switch
        {
            "" or "null" or "~" => null,
            "true" => true,
            "false" => false,
            // A mode is octal, and Kubernetes is told a number.
            ['0', _, ..] octal when octal.All(char.IsAsciiDigit) => Convert.ToInt64(octal, 8),
            var text when long.TryParse(text, CultureInfo.InvariantCulture, out var number) => number,
            var text when double.TryParse(text, CultureInfo.InvariantCulture, out var number) => number,
            var text => text,
        },
        YamlScalarNode scalar => scalar.Value,
        _ => throw new FormatException($"{node.NodeType} is not read"),
    };
}
