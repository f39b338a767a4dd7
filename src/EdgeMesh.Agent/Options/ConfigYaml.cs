using EdgeMesh.Kubernetes.Yaml;

namespace EdgeMesh.Agent.Options;

/// <summary>The YAML of a configuration file, and in a person's words what is wrong with it. A file may have several faults;
/// all that can be told at once are.</summary>
internal static class ConfigYaml
{
    private const int MaxNodes = 50_000;

    private static readonly YamlLimits Limits = new(
        Depth: 32, Characters: MaxNodes * YamlLimits.CharactersPerNode, PerCharacter: 1, Excess: $"has more than {MaxNodes} values, those that aliases stand for counted each time");

    /// <returns>Null where the text is empty or broken; the faults are in <paramref name="findings"/>.</returns>
    public static YamlValue? Read(string text, FindingList findings)
    {
        try
        {
            return YamlTree.Parse(text, Limits, oddity => Report(oddity, findings));
        }
        catch (YamlFaultException e)
        {
            if (ReportTabs(text, findings))
                return null;
            if (e.Fault == YamlFault.Unexplained)
                findings.Fault(e.Mark, "", $"this {e.Message}", "indent every line inside braces and brackets, and look for a brace, a bracket or a quote that is not closed");
            else if (!ReportListAfterValue(text, e.Mark, findings))
                findings.Fault(e.Mark, "", $"this {e.Message.TrimEnd('.')}", "look at the indentation, quotes and colons of this line and the one above");
            return null;
        }
    }

    private static void Report(YamlOddity oddity, FindingList findings)
    {
        switch (oddity)
        {
            case YamlOddity.RepeatedKey repeated:
                // Some charts of EdgeMesh render a key twice. Where both say the same, nothing is in doubt.
                var what = $"the key '{repeated.First.Key}' stands here a second time, after line {repeated.First.Mark.Line}";
                if (repeated.First.Value.SameAs(repeated.Second.Value))
                    findings.Warn(oddity.Mark, "", what + ", with the same value", "remove one of the two");
                else
                    findings.Fault(oddity.Mark, "", what + ", with another value", "keep one of the two");
                break;
            case YamlOddity.KeyIsNoWord { Key: var key }:
                findings.Fault(oddity.Mark, "", $"{key.Noun} stands where a key belongs", "a key is one word");
                break;
            case YamlOddity.MergeOfNoMapping { Value: var value }:
                findings.Fault(oddity.Mark, "", $"'<<' merges a mapping, and this is {value.Noun}", "name an anchor that stands before a mapping");
                break;
            default:
                findings.Warn(oddity.Mark, "", "a second YAML document begins here, and only the first is read", "put everything into the first document");
                break;
        }
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
}
