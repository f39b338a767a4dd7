using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace EdgeMesh.Tests.Deploy.Chart;

/// <summary>Renders one template. Stricter than Helm where Helm would write nonsense.</summary>
internal sealed partial class TemplateRenderer(Dictionary<string, object?> root, Func<string, string, string, object?> lookup)
{
    private readonly Dictionary<string, object?> _variables = new(StringComparer.Ordinal);
    private readonly StringBuilder _output = new();

    public static string Render(string template, Dictionary<string, object?> root, Func<string, string, string, object?> lookup)
    {
        var renderer = new TemplateRenderer(root, lookup);
        renderer.Run(TemplateParser.Parse(template), root);
        return renderer._output.ToString();
    }

    private void Run(List<TemplateNode> nodes, object? dot)
    {
        foreach (var node in nodes)
        {
            switch (node)
            {
                case TemplateNode.Text text:
                    _output.Append(text.Value);
                    break;
                case TemplateNode.Output output:
                    _output.Append(TemplateFunctions.Text(Evaluate(output.Pipeline, dot)));
                    break;
                case TemplateNode.Assign assign:
                    _variables[assign.Variable] = Evaluate(assign.Pipeline, dot);
                    break;
                case TemplateNode.Block { Kind: "range" } range:
                    foreach (var item in (List<object?>?)Evaluate(range.Pipeline, dot) ?? [])
                        Run(range.Body, item);
                    break;
                case TemplateNode.Block block:
                    var value = Evaluate(block.Pipeline, dot);
                    if (TemplateFunctions.IsTrue(value))
                        Run(block.Body, block.Kind == "with" ? value : dot);
                    else
                        Run(block.Otherwise, dot);
                    break;
            }
        }
    }

    private object? Evaluate(string pipeline, object? dot)
    {
        var tokens = Token().Matches(pipeline).Select(m => m.Value).ToList();
        var at = 0;
        var value = Pipeline(tokens, ref at, dot);
        return at == tokens.Count ? value : throw new FormatException($"'{pipeline}' has too much at its end");
    }

    private object? Pipeline(List<string> tokens, ref int at, object? dot)
    {
        var value = Command(tokens, ref at, dot, []);
        while (at < tokens.Count && tokens[at] == "|")
        {
            at++;
            value = Command(tokens, ref at, dot, [value]);
        }

        return value;
    }

    private object? Command(List<string> tokens, ref int at, object? dot, List<object?> piped)
    {
        if (!char.IsAsciiLetter(tokens[at][0]) || tokens[at] is "true" or "false")
            return piped.Count == 0 ? Operand(tokens, ref at, dot) : throw new FormatException($"'{tokens[at]}' is no function");
        var function = tokens[at++];
        var arguments = new List<object?>();
        while (at < tokens.Count && tokens[at][0] is not ('|' or ')'))
            arguments.Add(Operand(tokens, ref at, dot));
        return TemplateFunctions.Call(function, [.. arguments, .. piped], lookup);
    }

    private object? Operand(List<string> tokens, ref int at, object? dot)
    {
        var token = tokens[at++];
        switch (token[0])
        {
            case '(':
                var inner = Pipeline(tokens, ref at, dot);
                var close = tokens[at++];
                return close[0] == ')' ? Fields(inner, close[1..]) : throw new FormatException("a bracket is not closed");
            case '"':
                return token[1..^1];
            case '.':
                return Fields(dot, token == "." ? "" : token);
            case '$':
                var dotted = token.IndexOf('.', StringComparison.Ordinal);
                var name = dotted < 0 ? token[1..] : token[1..dotted];
                return Fields(name.Length == 0 ? root : _variables[name], dotted < 0 ? "" : token[dotted..]);
            default:
                return token switch
                {
                    "true" => true,
                    "false" => false,
                    _ when char.IsAsciiLetter(token[0]) => TemplateFunctions.Call(token, [], lookup),
                    _ => long.Parse(token, CultureInfo.InvariantCulture),
                };
        }
    }

    /// <summary>A key that is missing is nothing, but nothing has no keys: there Helm stops too.</summary>
    private static object? Fields(object? value, string path) =>
        path.Split('.', StringSplitOptions.RemoveEmptyEntries).Aggregate(value, (current, key) => current is Dictionary<string, object?> map
            ? map.GetValueOrDefault(key)
            : throw new FormatException($"nil pointer evaluating {path}"));

    [GeneratedRegex("""\((?!\))|\)(\.\w+)*|\||"[^"]*"|\$?\.?\w+(\.\w+)*|\$|\.|-?\d+""", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Token();
}
