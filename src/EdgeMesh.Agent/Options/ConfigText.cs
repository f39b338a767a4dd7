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
        string[] open = [];
        foreach (var key in ConfigSchema.Keys.Where(k => k.Status is KeyStatus.Active or KeyStatus.NotBuilt))
        {
            var names = key.Path.Split('.');
            var same = 0;
            while (same < open.Length && same < names.Length - 1 && open[same] == names[same])
                same++;
            for (var depth = same; depth < names.Length - 1; depth++)
                OpenSection(text, names, depth);
            open = names[..^1];
            var indent = new string(' ', open.Length * 2);
            Comment(text, indent, key.Status == KeyStatus.NotBuilt ? $"{key.Doc} (Not in this release.)" : key.Doc);
            if (key.TypeName.Contains('|', StringComparison.Ordinal))
                Comment(text, indent, key.TypeName);
            text.Append(indent).Append(names[^1]).Append(": ").Append(key.DefaultText).Append('\n');
        }

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

    private static void OpenSection(StringBuilder text, string[] names, int depth)
    {
        var indent = new string(' ', depth * 2);
        if (depth == 0)
            text.Append('\n');
        if (ConfigSchema.Sections.TryGetValue(string.Join('.', names[..(depth + 1)]), out var about))
            Comment(text, indent, about);
        text.Append(indent).Append(names[depth]).Append(":\n");
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
