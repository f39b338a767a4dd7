using System.Globalization;
using Xunit;

namespace EdgeMesh.Tests.Fuzzing;

/// <summary>Every decoder of what a peer, a file, a program or an API says: it throws what it declares, and nothing else. A third of
/// a second each, and `./fuzz.sh MINUTES` for longer.</summary>
public sealed class FuzzTests
{
    private static readonly FuzzTarget[] Targets = [.. PeerTargets.All(), .. TextTargets.All()];

    public static TheoryData<string> Names => [.. Targets.Select(t => t.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void WhateverItIsFedADecoderThrowsWhatItDeclaresAndNothingElse(string name)
    {
        var minutes = double.TryParse(Environment.GetEnvironmentVariable("EDGEMESH_FUZZ_MINUTES"), CultureInfo.InvariantCulture, out var all) ? all : 0;
        var time = minutes > 0 ? TimeSpan.FromMinutes(minutes) / Targets.Length : TimeSpan.FromSeconds(0.3);
        var seed = minutes > 0 ? Random.Shared.Next() : 1;
        Assert.Empty(Targets.Single(t => t.Name == name).Run(time, seed));
    }
}
