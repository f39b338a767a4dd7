using System.Text.RegularExpressions;

namespace EdgeMesh.Testing;

/// <summary>Finds files of the source tree that tests read.</summary>
public static class Repository
{
    private static readonly string Root = FindRoot();

    public static string PathOf(string relative) => Path.Combine(Root, relative);

    /// <summary>Lines of code of the product that fit, comments left out; files are named from <c>src</c>.</summary>
    public static IEnumerable<(string File, int Number, string Line)> LinesOfCode(Regex fits)
    {
        var source = PathOf("src");
        foreach (var file in Directory.EnumerateFiles(source, "*.cs", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            var name = Path.GetRelativePath(source, file);
            if (name.Split('/').Any(part => part is "obj" or "bin"))
                continue;
            var number = 0;
            foreach (var line in File.ReadLines(file))
            {
                number++;
                if (!line.TrimStart().StartsWith("//", StringComparison.Ordinal) && fits.IsMatch(line))
                    yield return (name, number, line.Trim());
            }
        }
    }

    private static string FindRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "EdgeMesh.slnx")))
                return folder.FullName;
        }

        throw new DirectoryNotFoundException($"no folder above {AppContext.BaseDirectory} holds EdgeMesh.slnx");
    }
}
