using EdgeMesh.Polling;
using Xunit;

namespace EdgeMesh.Tests.Polling;

public sealed class PollingPolicyTests
{
    private const long Limit = 50_000;

    private readonly PollingPolicy _policy = new(Limit);

    [Fact]
    public void AnIdleLoopNeverPolls()
    {
        for (var i = 0; i < 1_000; i++)
            _policy.Slept(500_000_000, 1);
        Assert.False(_policy.Begins(0));
    }

    [Fact]
    public void ManyShortSleepsInARowBeginIt()
    {
        Sleep(15);
        Assert.False(_policy.Begins(0));
        _policy.Slept(Limit + 1, 1);
        Sleep(15);
        Assert.False(_policy.Begins(0));
        Sleep(1);
        Assert.True(_policy.Begins(0));
    }

    [Fact]
    public void WithoutALimitItNeverBegins()
    {
        var policy = new PollingPolicy(0);
        for (var i = 0; i < 100; i++)
            policy.Slept(0, 1);
        Assert.False(policy.Begins(0));
    }

    [Fact]
    public void ALookEndsAtTheLimit()
    {
        Sleep(16);
        Assert.True(_policy.Begins(1_000));
        Assert.True(_policy.GoesOn(1_000 + Limit));
        Assert.False(_policy.GoesOn(1_001 + Limit));
    }

    [Fact]
    public void TwoVainLooksInARowEndItAndShortSleepsBeginItAgain()
    {
        Sleep(16);
        LookInVain(0);
        Assert.True(_policy.Begins(100_000));
        _policy.Found(1);
        LookInVain(200_000);
        LookInVain(300_000);
        Assert.False(_policy.Begins(400_000));
        Sleep(16);
        Assert.True(_policy.Begins(500_000));
    }

    [Fact]
    public void ManyEventsAtOnceEndIt()
    {
        Sleep(16);
        Assert.True(_policy.Begins(0));
        _policy.Found(3);
        Assert.False(_policy.Begins(1_000));
        Sleep(15);
        _policy.Slept(Limit, 3);
        Sleep(15);
        Assert.False(_policy.Begins(2_000));
        Sleep(1);
        Assert.True(_policy.Begins(3_000));
    }

    [Fact]
    public void WhoeverKeepsTheCoreHasItForTwiceAsLongEachTimeUpToASecond()
    {
        Sleep(16);
        long now = 0;
        foreach (var rest in (long[])[10, 20, 40, 80, 160, 320, 640, 1_000, 1_000])
            now = LoseTheCore(now, rest);
    }

    [Fact]
    public void AnAbsenceLongAgoIsForgotten()
    {
        Sleep(16);
        var now = LoseTheCore(LoseTheCore(0, 10), 20);
        for (var i = 0; i < 256; i++)
        {
            Assert.True(_policy.Begins(now));
            _policy.Found(1);
        }

        LoseTheCore(now, 10);
    }

    private long LoseTheCore(long now, long restMilliseconds)
    {
        Assert.True(_policy.Begins(now));
        now += 2_000_000;
        Assert.False(_policy.GoesOn(now));
        now += restMilliseconds * 1_000_000;
        Assert.False(_policy.Begins(now - 1));
        return now;
    }

    private void Sleep(int times)
    {
        for (var i = 0; i < times; i++)
            _policy.Slept(Limit, 1);
    }

    private void LookInVain(long now)
    {
        Assert.True(_policy.Begins(now));
        Assert.False(_policy.GoesOn(now + Limit + 1));
    }
}
