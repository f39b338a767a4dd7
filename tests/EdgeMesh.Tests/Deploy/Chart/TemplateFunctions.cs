using System.Globalization;
using System.Text;

namespace EdgeMesh.Tests.Deploy.Chart;

/// <summary>Functions of Go templates, sprig and Helm that the chart uses.</summary>
internal static class TemplateFunctions
{
    /// <summary>What Go's templates take for true.</summary>
    public static bool IsTrue(object? value) => value switch
    {
        null => false,
        bool flag => flag,
        string text => text.Length > 0,
        long number => number != 0,
        double number => number != 0,
        List<object?> list => list.Count > 0,
        Dictionary<string, object?> map => map.Count > 0,
        _ => throw new FormatException($"a value of type {value.GetType()}"),
    };

    public static object? Call(string name, List<object?> arguments, Func<string, string, string, object?> lookup) => name switch
    {
        "and" => arguments.FirstOrDefault(a => !IsTrue(a), arguments[^1]),
        "or" => arguments.FirstOrDefault(IsTrue, arguments[^1]),
        "not" => !IsTrue(arguments[0]),
        "eq" => Equals(arguments[0], arguments[1]),
        "contains" => ((string)arguments[1]!).Contains((string)arguments[0]!, StringComparison.Ordinal),
        "dict" => new Dictionary<string, object?>(arguments.Chunk(2).Select(p => new KeyValuePair<string, object?>((string)p[0]!, p[1])), StringComparer.Ordinal),
        // The first one wins, as sprig has it; the chart only joins maps of one level.
        "merge" => Merge([.. arguments.Select(a => (Dictionary<string, object?>)a!)]),
        "quote" => $"\"{Text(arguments[0]).Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"",
        "default" => IsTrue(arguments[1]) ? arguments[1] : arguments[0],
        "b64enc" => Convert.ToBase64String(Encoding.UTF8.GetBytes((string)arguments[0]!)),
        "print" => string.Concat(arguments.Select(Text)),
        "trim" => ((string)arguments[0]!).Trim(),
        "nindent" => "\n" + Indented((string)arguments[1]!, (int)(long)arguments[0]!),
        "toYaml" => YamlOf(arguments[0]),
        "lookup" => lookup((string)arguments[1]!, (string)arguments[2]!, (string)arguments[3]!) ?? new Dictionary<string, object?>(),
        "fail" => throw new InvalidOperationException((string)arguments[0]!),
        _ => throw new FormatException($"the function '{name}' is not one that the tests know"),
    };

    public static string Text(object? value) => value switch
    {
        string text => text,
        bool flag => flag ? "true" : "false",
        IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
        null => throw new FormatException("nothing would be written as '<no value>'"),
        _ => throw new FormatException("a map or a list is written as Go would show it; use toYaml"),
    };

    private static Dictionary<string, object?> Merge(List<Dictionary<string, object?>> maps)
    {
        var merged = new Dictionary<string, object?>(maps[0], StringComparer.Ordinal);
        foreach (var (key, value) in maps.Skip(1).SelectMany(m => m))
            merged.TryAdd(key, value);
        return merged;
    }

    private static string Indented(string text, int by) =>
        string.Join('\n', text.Split('\n').Select(line => new string(' ', by) + line));

    /// <summary>Keys in order, lists at the column of their key, no line end: as Helm's toYaml.</summary>
    private static string YamlOf(object? value)
    {
        var lines = new List<string>();
        Write(value, "", "", lines);
        return string.Join('\n', lines);
    }

    private static void Write(object? value, string lead, string indent, List<string> lines)
    {
        switch (value)
        {
            case Dictionary<string, object?> { Count: > 0 } map:
                foreach (var (key, item) in map.OrderBy(p => p.Key, StringComparer.Ordinal))
                {
                    if (item is Dictionary<string, object?> { Count: > 0 })
                    {
                        lines.Add($"{lead}{key}:");
                        Write(item, indent + "  ", indent + "  ", lines);
                    }
                    else if (item is List<object?> { Count: > 0 })
                    {
                        lines.Add($"{lead}{key}:");
                        Write(item, indent, indent, lines);
                    }
                    else
                    {
                        Write(item, $"{lead}{key}: ", indent, lines);
                    }

                    lead = indent;
                }

                break;
            case List<object?> { Count: > 0 } list:
                foreach (var item in list)
                    Write(item, $"{indent}- ", indent + "  ", lines);
                break;
            default:
                lines.Add(lead + value switch
                {
                    null => "null",
                    Dictionary<string, object?> => "{}",
                    List<object?> => "[]",
                    string text when !IsPlain(text) => $"\"{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"",
                    _ => Text(value),
                });
                break;
        }
    }

    private static bool IsPlain(string text) =>
        text.Length > 0 && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '/' or '.' or '_' or '-' or ':' or ' ')
        && (char.IsAsciiLetterOrDigit(text[0]) || text[0] == '/') && !double.TryParse(text, CultureInfo.InvariantCulture, out _) && !text.EndsWith(':') && !text.Contains(": ", StringComparison.Ordinal)
        && text is not ("true" or "false" or "null" or "yes" or "no" or "on" or "off");
}
