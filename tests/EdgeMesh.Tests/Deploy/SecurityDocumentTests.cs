using System.Text.RegularExpressions;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests.Deploy;

/// <summary>A promise about security is worth as much as the test that is named beside it.</summary>
public sealed partial class SecurityDocumentTests
{
    [Fact]
    public void EveryTestThatTheDocumentNamesExists()
    {
        var named = Named().Matches(File.ReadAllText(Repository.PathOf("docs/security.md")));
        Assert.True(named.Count >= 20, $"only {named.Count} tests are named");
        foreach (Match name in named)
        {
            var files = new[] { "EdgeMesh.Tests", "EdgeMesh.HostTests" }
                .Select(project => Repository.PathOf($"tests/{project}/{name.Groups["file"].Value}.cs")).Where(File.Exists).ToList();
            Assert.True(files.Count > 0, $"docs/security.md names {name.Groups["file"].Value}, which is not there");
            if (name.Groups["method"].Success)
                Assert.Contains(files, file => File.ReadAllText(file).Contains($" {name.Groups["method"].Value}(", StringComparison.Ordinal));
        }
    }

    [GeneratedRegex(@"`(?<file>\w+(/\w+)*/\w+Tests)`( \((host, )?`(?<method>\w+)`\))?", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Named();
}
