using System.Text.RegularExpressions;

namespace EdgeMesh.Tests.Deploy.Chart;

internal abstract record TemplateNode
{
    public sealed record Text(string Value) : TemplateNode;

    public sealed record Output(string Pipeline) : TemplateNode;

    public sealed record Assign(string Variable, string Pipeline) : TemplateNode;

    /// <param name="Kind">if, with or range.</param>
    public sealed record Block(string Kind, string Pipeline, List<TemplateNode> Body, List<TemplateNode> Otherwise) : TemplateNode;
}

/// <summary>The part of Go's template language that the chart is written in; anything else is refused, so that the chart cannot
/// come to need what is not tested.</summary>
internal static partial class TemplateParser
{
    public static List<TemplateNode> Parse(string text)
    {
        var pieces = Split(text);
        var at = 0;
        var nodes = Body(pieces, ref at, out var end);
        return end is null ? nodes : throw new FormatException($"'{end}' closes nothing");
    }

    private static List<(bool Action, string Text)> Split(string text)
    {
        var pieces = new List<(bool, string)>();
        var position = 0;
        var trim = false;
        foreach (Match match in Action().Matches(text))
        {
            var before = text[position..match.Index];
            if (trim)
                before = before.TrimStart();
            if (match.Groups["left"].Success)
                before = before.TrimEnd();
            pieces.Add((false, before));
            trim = match.Groups["right"].Success;
            position = match.Index + match.Length;
            var action = match.Groups["action"].Value.Trim();
            if (!action.StartsWith("/*", StringComparison.Ordinal))
                pieces.Add((true, action));
        }

        pieces.Add((false, trim ? text[position..].TrimStart() : text[position..]));
        return pieces;
    }

    private static List<TemplateNode> Body(List<(bool Action, string Text)> pieces, ref int at, out string? end)
    {
        var nodes = new List<TemplateNode>();
        for (; at < pieces.Count; at++)
        {
            var (isAction, text) = pieces[at];
            if (!isAction)
            {
                if (text.Length > 0)
                    nodes.Add(new TemplateNode.Text(text));
                continue;
            }

            var word = text.Split(' ')[0];
            if (word is "end" or "else")
            {
                end = text;
                return nodes;
            }

            if (word is "if" or "with" or "range")
                nodes.Add(Block(pieces, ref at, word, text[word.Length..].Trim()));
            else if (Assignment().Match(text) is { Success: true } assignment)
                nodes.Add(new TemplateNode.Assign(assignment.Groups["name"].Value, assignment.Groups["value"].Value));
            else
                nodes.Add(new TemplateNode.Output(text));
        }

        end = null;
        return nodes;
    }

    private static TemplateNode.Block Block(List<(bool Action, string Text)> pieces, ref int at, string kind, string pipeline)
    {
        at++;
        var body = Body(pieces, ref at, out var end);
        var otherwise = new List<TemplateNode>();
        if (end is not null && end.StartsWith("else", StringComparison.Ordinal))
        {
            var rest = end["else".Length..].Trim();
            if (rest.StartsWith("if ", StringComparison.Ordinal))
            {
                otherwise.Add(Block(pieces, ref at, "if", rest["if ".Length..]));
                return new TemplateNode.Block(kind, pipeline, body, otherwise);
            }

            at++;
            otherwise = Body(pieces, ref at, out end);
        }

        if (end != "end")
            throw new FormatException($"'{kind} {pipeline}' has no end");
        return new TemplateNode.Block(kind, pipeline, body, otherwise);
    }

    [GeneratedRegex(@"\{\{(?<left>- )?(?<action>.*?)(?<right> -)?\}\}", RegexOptions.Singleline | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Action();

    [GeneratedRegex(@"^\$(?<name>\w+) :?= (?<value>.+)$", RegexOptions.Singleline | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Assignment();
}
