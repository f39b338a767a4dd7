using System.Globalization;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.HostTests.Hosts;

/// <summary>Every kind of host, every kind of client, every backend, both families and protocols.</summary>
public sealed class HostMatrixTests(ITestOutputHelper output)
{
    private const string Document = "docs/hosts.md";

    /// <summary>Run with UPDATE_GOLDEN=1 to write both tables into the document; with EDGEMESH_HOSTS=bridge to see only the hosts with that in their
    /// name.</summary>
    [Fact]
    public async Task NoHostServesWorseThanWithKubeProxyAloneAndTheDocumentShowsWhatIsSeen()
    {
        var started = TimeProvider.System.GetTimestamp();
        var matrix = await HostMatrix.SeeAsync();
        var (alone, together) = (MatrixTable.Of(matrix.KubeProxyAlone), MatrixTable.Of(matrix.WithAgent));
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{HostMatrix.Fields.Length} fields in {TimeProvider.System.GetElapsedTime(started).TotalSeconds:0} s\n{alone}\n{together}"));

        var worse = HostMatrix.Fields.Where(field => matrix.KubeProxyAlone(field).Served && !matrix.WithAgent(field).Served);
        Assert.Empty(worse.Select(field => field.ToString()));

        var path = Repository.PathOf(Document);
        var text = await File.ReadAllTextAsync(path);
        if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1" && HostKind.Part is null)
        {
            text = With(With(text, "kube-proxy alone", alone), "with the agent", together);
            await File.WriteAllTextAsync(path, text);
        }

        Assert.Equal(OfChosen(Between(text, "kube-proxy alone")), alone);
        Assert.Equal(OfChosen(Between(text, "with the agent")), together);
    }

    /// <summary>The head of a table, and the rows of the hosts that were seen.</summary>
    private static string OfChosen(string table)
    {
        var lines = table.Split('\n');
        return string.Join('\n', lines.Where((line, i) => i < 2 || line.Length == 0 || HostKind.Chosen.Any(kind => line.StartsWith($"| {kind.Name} |", StringComparison.Ordinal))));
    }

    private static string Between(string text, string name)
    {
        var (begin, end) = Place(text, name);
        return text[begin..end];
    }

    private static string With(string text, string name, string table)
    {
        var (begin, end) = Place(text, name);
        return text[..begin] + table + text[end..];
    }

    private static (int Begin, int End) Place(string text, string name)
    {
        var begin = $"<!-- {name}: begin -->\n";
        var from = text.IndexOf(begin, StringComparison.Ordinal) + begin.Length;
        return (from, text.IndexOf($"<!-- {name}: end -->", StringComparison.Ordinal));
    }
}
