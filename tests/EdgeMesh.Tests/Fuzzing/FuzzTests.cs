using System.Globalization;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests.Fuzzing;

/// <summary>Every decoder of what a peer, a file, a program or an API says: it throws what it declares, and nothing else. A third of
/// a second each, and `./fuzz.sh MINUTES` for longer.</summary>
public sealed class FuzzTests(ITestOutputHelper output)
{
    /// <summary>With the inputs that a search guided by coverage kept, few for each: they lead to branches that the written ones do not.</summary>
    private static readonly FuzzTarget[] Targets = [.. PeerTargets.All().Concat(DnsTargets.All()).Concat(TextTargets.All()).Select(target => target with { Seeds = [.. target.Seeds, .. Kept(target.Name)] })];

    public static TheoryData<string> Names => [.. Targets.Select(t => t.Name)];

    private static IEnumerable<byte[]> Kept(string name)
    {
        var folder = Repository.PathOf($"tests/fixtures/fuzz/corpus/{name}");
        return Directory.Exists(folder) ? Directory.GetFiles(folder).Order(StringComparer.Ordinal).Select(File.ReadAllBytes) : [];
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void WhateverItIsFedADecoderThrowsWhatItDeclaresAndNothingElse(string name)
    {
        var minutes = double.TryParse(Environment.GetEnvironmentVariable("EDGEMESH_FUZZ_MINUTES"), CultureInfo.InvariantCulture, out var all) ? all : 0;
        var time = minutes > 0 ? TimeSpan.FromMinutes(minutes) / Targets.Length : TimeSpan.FromSeconds(0.3);
        var seed = minutes > 0 ? Random.Shared.Next() : 1;
        var result = Targets.Single(t => t.Name == name).Run(time, seed);
        output.WriteLine($"{name}: {result.Runs} inputs" + (Coverage.Instance is null ? "" : $", {result.Edges} branches, {result.EdgesOfSeeds} of them by the seeds"));
        Assert.Empty(result.Found);
        // Else nothing was instrumented, and the search went blind.
        Assert.True(Coverage.Instance is null || result.EdgesOfSeeds > 0);
    }
}
