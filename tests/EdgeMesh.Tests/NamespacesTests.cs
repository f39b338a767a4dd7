using System.Text.RegularExpressions;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests;

/// <summary>Which parts of the trunk see which, read from its source: arrows between them run one way.</summary>
public sealed partial class NamespacesTests
{
    /// <summary>Forwarding asks Balancing for an endpoint of a route, and the route is Forwarding's.</summary>
    private static readonly (string From, string To) Known = ("Balancing", "Forwarding");

    [Fact]
    public void NoPartOfTheTrunkSeesItselfOverOthers() => Assert.Empty(InCircles(Seen(static name => name.Split('.')[0])));

    [Fact]
    public void NoNamespaceSeesItselfOverOthers() => Assert.Empty(InCircles(Seen(static name => name)));

    /// <summary>By namespace what its files use; a namespace may use what is inside of it, and sees what is around it.</summary>
    private static HashSet<(string From, string To)> Seen(Func<string, string> part)
    {
        var seen = new HashSet<(string, string)>();
        foreach (var file in Directory.EnumerateFiles(Repository.PathOf("src/EdgeMesh"), "*.cs", SearchOption.AllDirectories))
        {
            if (file.Split(Path.DirectorySeparatorChar) is var folders && (folders.Contains("obj") || folders.Contains("bin")))
                continue;
            var text = File.ReadAllText(file);
            if (Own().Match(text) is not { Success: true } own)
                continue;
            var from = part(own.Groups[1].Value);
            foreach (Match used in Used().Matches(text))
            {
                var to = part(used.Groups[1].Value);
                if (!$"{from}.".StartsWith($"{to}.", StringComparison.Ordinal) && !$"{to}.".StartsWith($"{from}.", StringComparison.Ordinal))
                    seen.Add((from, to));
            }
        }

        // It is the source that was read.
        Assert.Contains((part("Tunnel.Proxy"), part("Catalog")), seen);
        return seen;
    }

    private static IEnumerable<string> InCircles(HashSet<(string From, string To)> seen)
    {
        var arrows = seen.Where(s => s != Known).ToLookup(s => s.From, s => s.To);
        return arrows.Select(a => a.Key).Where(from => Reached(from).Contains(from));

        HashSet<string> Reached(string from)
        {
            var (reached, next) = (new HashSet<string>(), new Stack<string>(arrows[from]));
            while (next.TryPop(out var to))
            {
                if (!reached.Add(to))
                    continue;
                foreach (var further in arrows[to])
                    next.Push(further);
            }

            return reached;
        }
    }

    [GeneratedRegex(@"^namespace EdgeMesh\.([\w.]+);", RegexOptions.Multiline)]
    private static partial Regex Own();

    [GeneratedRegex(@"^using EdgeMesh\.((?!Linux|LibP2P|Kubernetes|Netfilter)[\w.]+);", RegexOptions.Multiline)]
    private static partial Regex Used();
}
