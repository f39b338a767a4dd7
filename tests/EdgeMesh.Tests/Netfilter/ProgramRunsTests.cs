using EdgeMesh.Netfilter;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests.Netfilter;

public sealed class ProgramRunsTests
{
    private readonly ManualTime _time = new();

    [Fact]
    public void TheTimeOfProgramsThatRunBesideEachOtherCountsOnceAndTheLongestIsNamed()
    {
        var started = new List<int>();
        var runs = new ProgramRuns(_time, started.Add);
        Assert.Null(runs.Longest);
        var first = runs.Begin(7, "iptables-save -t nat");
        _time.Advance(TimeSpan.FromSeconds(2));
        var second = runs.Begin(8, "nft -f -");
        _time.Advance(TimeSpan.FromSeconds(3));
        Assert.Equal(new RunningProgram("iptables-save -t nat", TimeSpan.FromSeconds(5)), runs.Longest);
        first.Dispose();
        first.Dispose();
        _time.Advance(TimeSpan.FromSeconds(4));
        Assert.Equal(new RunningProgram("nft -f -", TimeSpan.FromSeconds(7)), runs.Longest);
        Assert.Equal(TimeSpan.FromSeconds(9), runs.Total);
        second.Dispose();
        _time.Advance(TimeSpan.FromSeconds(60));
        Assert.Null(runs.Longest);
        Assert.Equal(TimeSpan.FromSeconds(9), runs.Total);
        Assert.Equal([7, 8], started);
    }
}
