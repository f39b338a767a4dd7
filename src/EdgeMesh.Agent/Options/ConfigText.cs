using System.Text;

namespace EdgeMesh.Agent.Options;

/// <summary>Writes configuration files for people to begin with.</summary>
internal static class ConfigText
{
    private const int Width = 100;

    /// <summary>Every key with its default and what it is for; reads back without a finding except that edgeProxy is off.</summary>
    public static string Default()
    {
        var text = new StringBuilder();
        text.Append("# Every key with its default. A key that is left out has its default.\n");
        Section(text, "", 0);
        return text.ToString();
    }

    /// <summary>What most users need.</summary>
    public static string Minimal() =>
        $"""
        apiVersion: {ConfigSchema.ApiVersionValue}
        kind: {ConfigSchema.KindValue}
        modules:
          edgeProxy:
            enable: true

        """;

    private static void Section(StringBuilder text, string path, int depth)
    {
        var indent = new string(' ', depth * 2);
        foreach (var name in ConfigSchema.Children[path])
        {
            var below = ConfigSchema.Join(path, name);
            if (ConfigSchema.ByPath.TryGetValue(below, out var key))
            {
                if (key.Status is KeyStatus.Active or KeyStatus.NotBuilt)
                    Key(text, indent, name, key);
                continue;
            }

            if (depth == 0)
                text.Append('\n');
            if (ConfigSchema.Sections.TryGetValue(below, out var about))
                Comment(text, indent, about);
            text.Append(indent).Append(name).Append(":\n");
            Section(text, below, depth + 1);
        }
    }

    private static void Key(StringBuilder text, string indent, string name, ConfigKey key)
    {
        Comment(text, indent, key.Status == KeyStatus.NotBuilt ? $"{key.Doc} (Not in this release.)" : key.Doc);
        if (key.TypeName.Contains('|', StringComparison.Ordinal))
            Comment(text, indent, key.TypeName);
        text.Append(indent).Append(name).Append(": ").Append(key.DefaultText).Append('\n');
    }

    private static void Comment(StringBuilder text, string indent, string comment)
    {
        var line = "";
        foreach (var word in comment.Split(' '))
        {
            if (line.Length > 0 && indent.Length + line.Length + word.Length + 3 > Width)
            {
                text.Append(indent).Append('#').Append(line).Append('\n');
                line = "";
            }

            line += " " + word;
        }

        text.Append(indent).Append('#').Append(line).Append('\n');
    }
}
