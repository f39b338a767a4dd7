using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace EdgeMesh.Agent.Options;

/// <summary>1-based place in a file.</summary>
internal readonly record struct YamlMark(int Line, int Column)
{
    public static YamlMark WholeFile => default;
}

internal abstract record YamlValue(YamlMark Mark)
{
    /// <summary>What a person calls it, for messages.</summary>
    public abstract string Noun { get; }

    /// <summary>Whether both say the same, wherever they stand.</summary>
    public bool SameAs(YamlValue other)
    {
        var budget = MaxCompared;
        return Same(this, other, ref budget);
    }

    private const int MaxCompared = 10_000;

    /// <summary>Aliases make trees that are larger than their text: what takes too long to compare counts as different.</summary>
    private static bool Same(YamlValue one, YamlValue other, ref int budget)
    {
        if (ReferenceEquals(one, other))
            return true;
        if (--budget < 0)
            return false;
        switch (one, other)
        {
            case (Scalar a, Scalar b):
                return (a.IsNull && b.IsNull) || (a.Text == b.Text && a.Quoted == b.Quoted);
            case (Sequence a, Sequence b) when a.Items.Count == b.Items.Count:
                for (var i = 0; i < a.Items.Count; i++)
                {
                    if (!Same(a.Items[i], b.Items[i], ref budget))
                        return false;
                }

                return true;
            case (Mapping a, Mapping b) when a.Entries.Count == b.Entries.Count:
                var entries = b.Entries.ToDictionary(e => e.Key, e => e.Value, StringComparer.Ordinal);
                foreach (var entry in a.Entries)
                {
                    if (!entries.TryGetValue(entry.Key, out var value) || !Same(entry.Value, value, ref budget))
                        return false;
                }

                return true;
            default:
                return false;
        }
    }

    public sealed record Scalar(YamlMark Mark, string Text, bool Quoted) : YamlValue(Mark)
    {
        public override string Noun => IsNull ? "nothing" : Quoted ? $"the text \"{Short}\"" : $"'{Short}'";

        public bool IsNull => !Quoted && Text is ("" or "~" or "null" or "Null" or "NULL");

        private string Short => Text.Length <= 60 ? Text : Text[..60] + "…";
    }

    public sealed record Mapping(YamlMark Mark, IReadOnlyList<YamlEntry> Entries) : YamlValue(Mark)
    {
        public override string Noun => "a mapping";
    }

    public sealed record Sequence(YamlMark Mark, IReadOnlyList<YamlValue> Items) : YamlValue(Mark)
    {
        public override string Noun => "a list";
    }
}

internal sealed record YamlEntry(string Key, YamlMark Mark, YamlValue Value);

/// <summary>Reads the first document of a text into nodes that know their place. An alias is the node that it names,
/// never a copy; but it counts as much as that node, because whoever reads the tree walks it again. So do merge keys.</summary>
internal sealed class YamlTree
{
    private const int MaxDepth = 32;
    private const int MaxNodes = 50_000;

    private readonly Parser _parser;
    private readonly FindingList _findings;
    private readonly Dictionary<string, (YamlValue Value, int Nodes)> _anchors = new(StringComparer.Ordinal);
    private int _nodes;

    private YamlTree(string text, FindingList findings)
    {
        _parser = new Parser(new StringReader(text));
        _findings = findings;
    }

    /// <returns>Null where the text is empty or broken; the faults are in <paramref name="findings"/>.</returns>
    public static YamlValue? Read(string text, FindingList findings)
    {
        var tree = new YamlTree(text, findings);
        try
        {
            return tree.Document();
        }
        catch (YamlException e)
        {
            if (!ReportTabs(text, findings) && !ReportListAfterValue(text, MarkOf(e.Start), findings))
            {
                var message = e.InnerException is null ? e.Message : e.InnerException.Message;
                findings.Fault(MarkOf(e.Start), "", "this is not YAML: " + message.TrimEnd('.'), "look at the indentation, quotes and colons of this line and the one above");
            }

            return null;
        }
        // The scanner's own slips on broken text are not the agent's: it throws InvalidOperationException for a flow mapping whose
        // lines are not indented and for text after '...', and others for others.
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            if (!ReportTabs(text, findings))
                findings.Fault(LastGood(text), "", "this is not YAML from here on", "indent every line inside braces and brackets, and look for a brace, a bracket or a quote that is not closed");
            return null;
        }
    }

    /// <summary>Up to where the text was understood: such a fault names no place.</summary>
    private static YamlMark LastGood(string text)
    {
        var last = new YamlMark(1, 1);
        try
        {
            var parser = new Parser(new StringReader(text));
            while (parser.MoveNext())
                last = MarkOf(parser.Current!.End);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // The fault that is being located.
        }

        return last;
    }

    // The parser's own words for a tab do not speak of tabs. Inside a block scalar a tab is content, so look only after it has failed.
    private static bool ReportTabs(string text, FindingList findings)
    {
        var number = 0;
        var found = false;
        foreach (var line in text.AsSpan().EnumerateLines())
        {
            number++;
            var tab = line[..(line.Length - line.TrimStart().Length)].IndexOf('\t');
            if (tab < 0)
                continue;
            found = true;
            findings.Fault(new YamlMark(number, tab + 1), "", "a tab indents this line, and YAML allows only spaces there", "replace the tab by spaces");
        }

        return found;
    }

    // A list below a key that has a value already: what people write who give a name, or the first address, in the key's own line.
    private static bool ReportListAfterValue(string text, YamlMark mark, FindingList findings)
    {
        var lines = text.Split('\n');
        var at = mark.Line - 1;
        if (at >= lines.Length || !lines[at].TrimStart().StartsWith("- ", StringComparison.Ordinal))
            return false;
        for (at--; at >= 0 && lines[at].Trim() is "" or ['#', ..]; at--)
        {
        }

        if (at < 0 || lines[at].Trim() is not { Length: > 0 } before || before.IndexOf(": ", StringComparison.Ordinal) is not (> 0 and var colon))
            return false;
        var key = before[..colon].TrimStart('-', ' ');
        findings.Fault(mark, "", $"a list begins here, but '{key}' in line {at + 1} has the value '{before[(colon + 2)..].Trim()}' already, and a key has one or the other",
            $"end line {at + 1} after '{key}:', and write each item below it with '- '");
        return true;
    }

    private static YamlMark MarkOf(Mark mark) => new((int)Math.Max(1, mark.Line), (int)Math.Max(1, mark.Column));

    private YamlValue? Document()
    {
        _parser.Consume<StreamStart>();
        if (!_parser.TryConsume<DocumentStart>(out _))
            return null;
        var root = Node(0);
        _parser.Consume<DocumentEnd>();
        if (_parser.Accept<DocumentStart>(out var next))
        {
            _findings.Warn(MarkOf(next.Start), "", "a second YAML document begins here, and only the first is read",
                "put everything into the first document");
        }

        return root;
    }

    private YamlValue Node(int depth)
    {
        var current = _parser.Current ?? throw new YamlException("the file ends too early");
        if (depth > MaxDepth)
            throw new YamlException(current.Start, current.End, $"nested deeper than {MaxDepth} levels");
        var before = _nodes;
        Count(1, current);

        if (_parser.TryConsume<AnchorAlias>(out var alias))
        {
            // An anchor is known once its node is complete: a node that contains itself is refused here.
            if (!_anchors.TryGetValue(alias.Value.Value, out var target))
                throw new YamlException(alias.Start, alias.End, $"alias *{alias.Value.Value} names no anchor above it");
            Count(target.Nodes, alias);
            return target.Value;
        }

        var (value, anchor) = Content(depth);
        if (!anchor.IsEmpty)
            _anchors[anchor.Value] = (value, _nodes - before);
        return value;
    }

    private void Count(int nodes, ParsingEvent at)
    {
        // Both are below MaxNodes: their sum is no more than twice that.
        _nodes += nodes;
        if (_nodes > MaxNodes)
            throw new YamlException(at.Start, at.End, $"more than {MaxNodes} values, those that aliases stand for counted each time");
    }

    private (YamlValue Value, AnchorName Anchor) Content(int depth)
    {
        if (_parser.TryConsume<YamlDotNet.Core.Events.Scalar>(out var scalar))
        {
            var quoted = scalar.Style != ScalarStyle.Plain || (!scalar.Tag.IsEmpty && scalar.Tag.Value == "tag:yaml.org,2002:str");
            return (new YamlValue.Scalar(MarkOf(scalar.Start), scalar.Value, quoted), scalar.Anchor);
        }

        if (_parser.TryConsume<SequenceStart>(out var sequence))
        {
            var items = new List<YamlValue>();
            while (!_parser.TryConsume<SequenceEnd>(out _))
                items.Add(Node(depth + 1));
            return (new YamlValue.Sequence(MarkOf(sequence.Start), items), sequence.Anchor);
        }

        var mapping = _parser.Consume<MappingStart>();
        return (new YamlValue.Mapping(MarkOf(mapping.Start), Entries(depth)), mapping.Anchor);
    }

    private List<YamlEntry> Entries(int depth)
    {
        var entries = new List<YamlEntry>();
        var first = new Dictionary<string, YamlEntry>(StringComparer.Ordinal);
        var merged = new List<YamlEntry>();
        while (!_parser.TryConsume<MappingEnd>(out _))
        {
            var key = Node(depth + 1);
            var value = Node(depth + 1);
            if (key is not YamlValue.Scalar name)
                _findings.Fault(key.Mark, "", $"{key.Noun} stands where a key belongs", "a key is one word");
            else if (name.Text == "<<" && !name.Quoted)
                Merge(value, merged);
            else if (first.TryGetValue(name.Text, out var before))
                Repeated(before, name.Mark, value);
            else
                entries.Add(first[name.Text] = new YamlEntry(name.Text, name.Mark, value));
        }

        entries.AddRange(merged.Where(e => first.TryAdd(e.Key, e)));
        return entries;
    }

    /// <summary>Some charts of EdgeMesh render a key twice. Where both say the same, nothing is in doubt.</summary>
    private void Repeated(YamlEntry before, YamlMark mark, YamlValue value)
    {
        var what = $"the key '{before.Key}' stands here a second time, after line {before.Mark.Line}";
        if (before.Value.SameAs(value))
            _findings.Warn(mark, "", what + ", with the same value", "remove one of the two");
        else
            _findings.Fault(mark, "", what + ", with another value", "keep one of the two");
    }

    private void Merge(YamlValue value, List<YamlEntry> into)
    {
        var sources = value is YamlValue.Sequence list ? list.Items : [value];
        foreach (var source in sources)
        {
            if (source is not YamlValue.Mapping mapping)
            {
                _findings.Fault(source.Mark, "", $"'<<' merges a mapping, and this is {source.Noun}", "name an anchor that stands before a mapping");
                continue;
            }

            into.AddRange(mapping.Entries);
        }
    }
}
