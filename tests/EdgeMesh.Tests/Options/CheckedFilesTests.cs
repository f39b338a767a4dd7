using EdgeMesh.Agent.Commands;
using EdgeMesh.Agent.Options;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests.Options;

/// <summary>What <c>config check</c> tells about files as users have them, letter by letter. EDGEMESH_GOLDEN=write writes the
/// expected texts anew.</summary>
public sealed class CheckedFilesTests
{
    private static string Folder => Repository.PathOf("tests/EdgeMesh.Tests/Options/check");

    public static TheoryData<string> Files => [.. Directory.GetFiles(Folder, "*.yaml").Select(file => Path.GetFileNameWithoutExtension(file)).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Files))]
    public async Task AFileIsToldAboutAsExpected(string name)
    {
        var loaded = ConfigFile.Parse("agent.yaml", await File.ReadAllBytesAsync($"{Folder}/{name}.yaml", TestContext.Current.CancellationToken), ConfigSample.Edge, new ConfigOverrides());
        var output = new StringWriter { NewLine = "\n" };
        if (loaded.Options is null)
            await FindingsOutput.WriteFaultsAsync(output, loaded);
        else
            await FindingsOutput.WriteWarningsAsync(output, loaded);
        // Whether there is a key is a matter of the machine that runs the test.
        var told = string.Join('\n', output.ToString().Split('\n').Where(line => !line.Contains("The key file ", StringComparison.Ordinal)));
        var golden = $"{Folder}/{name}.txt";
        if (Environment.GetEnvironmentVariable("EDGEMESH_GOLDEN") == "write")
            await File.WriteAllTextAsync(golden, told, TestContext.Current.CancellationToken);
        Assert.Equal(await File.ReadAllTextAsync(golden, TestContext.Current.CancellationToken), told);
    }
}
