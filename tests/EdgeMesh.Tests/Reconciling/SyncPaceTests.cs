using EdgeMesh.Reconciling;
using Xunit;

namespace EdgeMesh.Tests.Reconciling;

public sealed class SyncPaceTests
{
    private readonly SyncPace _pace = new();

    [Fact]
    public void ChangesNowAndThenWaitForNobody()
    {
        for (var i = 0; i < 100; i++)
            Assert.Equal(SyncPace.LeastRest, _pace.RestAfter(took: Milliseconds(60), idle: Milliseconds(240)));
    }

    [Fact]
    public void AFewLongRoundsInARowWaitForNobodyAndMoreOfThemRest()
    {
        var rests = Stream(rounds: 20, took: Milliseconds(50));
        Assert.Equal(5, rests.TakeWhile(rest => rest == SyncPace.LeastRest).Count());
        Assert.Equal(Milliseconds(200), rests[^1]);
    }

    [Theory]
    [InlineData(1, 100)]
    [InlineData(25, 100)]
    [InlineData(100, 400)]
    [InlineData(500, 2000)]
    [InlineData(60_000, 2000)]
    public void InAStreamOfChangesARoundRestsFourTimesAsLongAsItTookWithinBounds(int took, int rest) =>
        Assert.Equal(Milliseconds(rest), Stream(rounds: 50, Milliseconds(took))[^1]);

    [Fact]
    public void AQuietTimePaysForAllThatWasOwed()
    {
        Stream(rounds: 50, took: Milliseconds(500));
        Assert.Equal(SyncPace.LeastRest, _pace.RestAfter(took: Milliseconds(50), idle: SyncPace.Credit + SyncPace.LongestRest));
    }

    /// <summary>Changes come all the time: each round begins as soon as the rest before it has ended.</summary>
    private List<TimeSpan> Stream(int rounds, TimeSpan took)
    {
        var rests = new List<TimeSpan> { TimeSpan.Zero };
        for (var i = 0; i < rounds; i++)
            rests.Add(_pace.RestAfter(took, rests[^1]));
        return rests[1..];
    }

    private static TimeSpan Milliseconds(int count) => TimeSpan.FromMilliseconds(count);
}
