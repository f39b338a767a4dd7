using EdgeMesh.Kubernetes.Yaml;

namespace EdgeMesh.Agent.Options;

/// <summary>Holds a YAML tree against the schema: every key that the tree has is either known and of the right kind, or a fault.</summary>
internal sealed class ConfigBinder(AgentConfig config, FindingList findings)
{
    private readonly List<(string Path, YamlMark Mark)> _retired = [];

    public void Bind(YamlValue root)
    {
        if (root is not YamlMapping mapping)
        {
            findings.Fault(root.Mark, "", $"a configuration file is a mapping, and this is {root.Noun}", "begin with a key, like 'modules:'");
            return;
        }

        Section("", mapping);
        WarnOfNotBuiltParts();
        WarnOfRetiredKeys();
    }

    private void Section(string path, YamlMapping mapping)
    {
        var known = ConfigSchema.Children[path];
        var seen = new Dictionary<string, YamlEntry>(StringComparer.Ordinal);
        foreach (var entry in mapping.Entries)
        {
            var name = known.FirstOrDefault(n => n == entry.Key) ?? known.FirstOrDefault(n => n.Equals(entry.Key, StringComparison.OrdinalIgnoreCase));
            if (name is null)
            {
                Unknown(path, entry);
                continue;
            }

            if (name != entry.Key)
                findings.Warn(entry.Mark, ConfigSchema.Join(path, entry.Key), "is accepted, as EdgeMesh accepted it", $"the exact spelling is {name}");
            if (!seen.TryAdd(name, entry))
            {
                var what = $"stands here a second time, after '{seen[name].Key}' in line {seen[name].Mark.Line}";
                if (seen[name].Value.SameAs(entry.Value))
                    findings.Warn(entry.Mark, ConfigSchema.Join(path, entry.Key), what + ", with the same value", "remove one of the two");
                else
                    findings.Fault(entry.Mark, ConfigSchema.Join(path, entry.Key), what + ", with another value", "keep one of the two");
                continue;
            }

            Known(ConfigSchema.Join(path, name), entry);
        }
    }

    private void Known(string path, YamlEntry entry)
    {
        // A key without a value leaves the default in force, as in Go; Helm charts write such lines.
        if (entry.Value is YamlScalar { IsNull: true })
            return;
        if (ConfigSchema.ByPath.TryGetValue(path, out var key))
            Value(key, entry);
        else if (entry.Value is YamlMapping section)
            Section(path, section);
        else
            findings.Fault(entry.Value.Mark, path, $"is a section with keys of its own, and this is {entry.Value.Noun}",
                $"below it belong {string.Join(", ", ConfigSchema.Children[path].Take(6))}");
    }

    private void Value(ConfigKey key, YamlEntry entry)
    {
        if (key.Status == KeyStatus.Retired)
            _retired.Add((key.Path, entry.Mark));
        var target = key.Successor ?? key;
        if (!target.TryRead(entry.Value, (mark, what, remedy) => findings.Fault(mark, key.Path, what, remedy), out var value))
            return;
        if (key.Successor is null)
            config.Set(key, value, entry.Mark);
        else if (!config.IsSet(target))
            config.Set(target, value, entry.Mark);
    }

    private void Unknown(string path, YamlEntry entry)
    {
        var full = ConfigSchema.Join(path, entry.Key);
        findings.Fault(entry.Mark, full, "no such key", findings.IsFull ? "" : RemedyFor(path, entry.Key));
    }

    private static string RemedyFor(string path, string name)
    {
        if (Nearest.Of(name, Living(path)) is { } near)
            return $"did you mean {ConfigSchema.Join(path, near)}?";
        // The right name in the wrong section is as common as a slip of the hand. Several sections have the same names: the
        // nearest one was meant.
        var elsewhere = ConfigSchema.Children.Keys
            .Where(section => section != path)
            .SelectMany(section => Living(section).Select(n => (Section: section, Name: n)))
            .Where(c => c.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
            .GroupBy(c => Distance(path, c.Section))
            .MinBy(g => g.Key)?
            .Select(c => ConfigSchema.Join(c.Section, c.Name))
            .Take(3)
            .ToList();
        return elsewhere is null
            ? $"known here are {string.Join(", ", Living(path))}"
            : $"did you mean {string.Join(" or ", elsewhere)}?";
    }

    /// <summary>Names that a person should write today; of no use are those of older releases and without effect.</summary>
    private static IEnumerable<string> Living(string section) => ConfigSchema.Children[section].Where(name =>
        !ConfigSchema.ByPath.TryGetValue(ConfigSchema.Join(section, name), out var key) || key.Status is KeyStatus.Active or KeyStatus.NotBuilt);

    /// <summary>Steps through the tree of sections, up and down.</summary>
    private static int Distance(string one, string other)
    {
        var a = one.Length == 0 ? [] : one.Split('.');
        var b = other.Length == 0 ? [] : other.Split('.');
        var shared = a.Zip(b).TakeWhile(p => p.First == p.Second).Count();
        return a.Length + b.Length - (2 * shared);
    }

    private void WarnOfNotBuiltParts()
    {
        var parts = ConfigSchema.Keys
            .Where(key => key.Status == KeyStatus.NotBuilt && IsOn(key))
            .Select(key => (Path: key.Part!, Line: config.MarkOf(SwitchOf(key)).Line))
            .DistinctBy(p => p.Path)
            .ToList();
        if (parts.Count == 0)
            return;
        var names = string.Join(", ", parts.Select(p => $"{p.Path} (line {p.Line})"));
        findings.Warn(YamlMark.WholeFile, "", $"this release does not have these parts, and works without them: {names}", "nothing to do, or switch them off");
    }

    private bool IsOn(ConfigKey key) => key.Switch is null
        ? config.IsSet(key) && config.TextOf(key) != key.DefaultText
        : config.TextOf(SwitchOf(key)) == "true";

    private static ConfigKey SwitchOf(ConfigKey key) => key.Switch is null ? key : ConfigSchema.ByPath[key.Switch];

    private void WarnOfRetiredKeys()
    {
        if (_retired.Count == 0)
            return;
        var names = string.Join(", ", _retired.Select(r => ConfigSchema.ByPath[r.Path].Successor is { } successor
            ? $"{r.Path} (line {r.Mark.Line}; now {successor.Path}, and still read)"
            : $"{r.Path} (line {r.Mark.Line})"));
        findings.Warn(YamlMark.WholeFile, "", $"keys of older releases: {names}", "remove them; those without a new name have no effect");
    }
}
