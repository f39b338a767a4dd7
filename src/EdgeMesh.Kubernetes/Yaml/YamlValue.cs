namespace EdgeMesh.Kubernetes.Yaml;

/// <summary>1-based place in a file.</summary>
public readonly record struct YamlMark(int Line, int Column)
{
    public static YamlMark WholeFile => default;
}

/// <summary>A node of a YAML or JSON text that knows its place.</summary>
public abstract record YamlValue(YamlMark Mark)
{
    /// <summary>Aliases make trees that are larger than their text: what takes too long to compare counts as different.</summary>
    private const int MaxCompared = 10_000;

    public int Line => Mark.Line;

    /// <summary>What a person calls it, for messages.</summary>
    public abstract string Noun { get; }

    /// <summary>Whether both say the same, wherever they stand.</summary>
    public bool SameAs(YamlValue other)
    {
        var budget = MaxCompared;
        return Same(this, other, ref budget);
    }

    private static bool Same(YamlValue one, YamlValue other, ref int budget)
    {
        if (ReferenceEquals(one, other))
            return true;
        if (--budget < 0)
            return false;
        switch (one, other)
        {
            case (YamlScalar a, YamlScalar b):
                return (a.IsNull && b.IsNull) || (a.Text == b.Text && a.Quoted == b.Quoted);
            case (YamlSequence a, YamlSequence b) when a.Items.Count == b.Items.Count:
                for (var i = 0; i < a.Items.Count; i++)
                {
                    if (!Same(a.Items[i], b.Items[i], ref budget))
                        return false;
                }

                return true;
            case (YamlMapping a, YamlMapping b) when a.Entries.Count == b.Entries.Count:
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
}

/// <param name="Quoted">A text whatever it looks like; else it may be a number, a truth value or null.</param>
public sealed record YamlScalar(YamlMark Mark, string Text, bool Quoted) : YamlValue(Mark)
{
    public override string Noun => IsNull ? "nothing" : Quoted ? $"the text \"{Short}\"" : $"'{Short}'";

    public bool IsNull => !Quoted && Text is ("" or "~" or "null" or "Null" or "NULL");

    private string Short => Text.Length <= 60 ? Text : Text[..60] + "…";
}

public sealed record YamlSequence(YamlMark Mark, IReadOnlyList<YamlValue> Items) : YamlValue(Mark)
{
    public override string Noun => "a list";
}

/// <param name="Entries">Each key once, those of merged mappings last.</param>
public sealed record YamlMapping(YamlMark Mark, IReadOnlyList<YamlEntry> Entries) : YamlValue(Mark)
{
    public override string Noun => "a mapping";

    public YamlValue? this[string key] => Find(key)?.Value;

    public YamlEntry? Find(string key)
    {
        foreach (var entry in Entries)
        {
            if (entry.Key == key)
                return entry;
        }

        return null;
    }
}

public sealed record YamlEntry(string Key, YamlMark Mark, YamlValue Value);
