using EdgeMesh.Supervision;
using EdgeMesh.Testing;
using Microsoft.Extensions.Logging;
using Xunit;

namespace EdgeMesh.Tests.Supervision;

public sealed class SupervisorTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(20);

    private readonly ManualTime _time = new();
    private readonly CollectingLogger<Supervisor> _log = new();
    private readonly Supervisor _supervisor;

    public SupervisorTests() => _supervisor = new Supervisor(_log, _time);

    [Fact]
    public async Task ALoopBeginsAgainLaterEachTimeAndNeverLaterThanHalfAMinute()
    {
        using var stop = new CancellationTokenSource();
        var running = _supervisor.LoopAsync("a-loop", _ => throw new InvalidDataException("odd"), stop.Token);
        var pauses = new List<double>();
        for (var i = 0; i < 9; i++)
        {
            var pause = await _time.SomebodyWaitsAsync(Deadline);
            pauses.Add(pause.TotalSeconds);
            _time.Advance(pause);
        }

        Assert.Equal([0.5, 1, 2, 4, 8, 16, 30, 30, 30], pauses);
        await _time.SomebodyWaitsAsync(Deadline);
        await stop.CancelAsync();
        await running.WaitAsync(Deadline);
        Assert.Equal(10, Assert.Single(_supervisor.Faults).Count);
    }

    [Fact]
    public async Task ALoopThatRanWellBeginsAgainAsSoonAsTheFirstTime()
    {
        using var stop = new CancellationTokenSource();
        var rounds = 0;
        var running = _supervisor.LoopAsync(
            "a-loop",
            async token =>
            {
                if (++rounds == 3)
                    await Task.Delay(TimeSpan.FromMinutes(2), _time, token);
                throw new InvalidDataException("odd");
            },
            stop.Token);
        foreach (var seconds in (double[])[0.5, 1, 120, 0.5])
        {
            var pause = await _time.SomebodyWaitsAsync(Deadline);
            Assert.Equal(seconds, pause.TotalSeconds);
            _time.Advance(pause);
        }

        await stop.CancelAsync();
        await running.WaitAsync(Deadline);
    }

    [Fact]
    public async Task ALoopThatReturnsOrIsCancelledHasNotFailed()
    {
        await _supervisor.LoopAsync("returns", _ => Task.CompletedTask, CancellationToken.None).WaitAsync(Deadline);
        using var stop = new CancellationTokenSource();
        var waits = _supervisor.LoopAsync("waits", token => Task.Delay(-1, token), stop.Token);
        var breaks = _supervisor.LoopAsync(
            "breaks",
            async token =>
            {
                await Task.Delay(-1, token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                throw new ObjectDisposedException("a socket that was closed for the stop");
            },
            stop.Token);
        await stop.CancelAsync();
        await Task.WhenAll(waits, breaks).WaitAsync(Deadline);
        Assert.Empty(_supervisor.Faults);
        Assert.Empty(_log.Lines);
    }

    [Fact]
    public async Task ACancellationThatNobodyAskedForIsAFault()
    {
        using var stop = new CancellationTokenSource();
        var running = _supervisor.LoopAsync("a-loop", _ => throw new OperationCanceledException("somebody else's"), stop.Token);
        await _time.SomebodyWaitsAsync(Deadline);
        await stop.CancelAsync();
        await running.WaitAsync(Deadline);
        Assert.Equal(1, Assert.Single(_supervisor.Faults).Count);
    }

    [Fact]
    public void AFaultIsSaidAtOnceAndItsRepeatsOnceAMinuteWithTheirNumber()
    {
        for (var i = 0; i < 100; i++)
            _supervisor.Report("a-loop", new InvalidDataException("odd"));
        Assert.Single(_log.Lines);
        _time.Advance(TimeSpan.FromMinutes(1));
        _supervisor.Report("a-loop", new InvalidDataException("odd"));
        Assert.Equal(2, _log.Lines.Count);
        var (level, text) = _log.Lines.Last();
        Assert.Equal(LogLevel.Error, level);
        Assert.Contains("a-loop", text, StringComparison.Ordinal);
        Assert.Contains("99 more", text, StringComparison.Ordinal);
        Assert.Equal(101, Assert.Single(_supervisor.Faults).Count);
    }

    [Fact]
    public void ALoopRepeatsFromItsSecondFaultUntilAMinuteAfterItsLast()
    {
        _supervisor.Report("a-loop", new InvalidDataException("odd"));
        Assert.False(Assert.Single(_supervisor.Faults).Repeats);
        _supervisor.Report("a-loop", new InvalidDataException("odd"));
        Assert.True(Assert.Single(_supervisor.Faults).Repeats);
        _time.Advance(TimeSpan.FromMinutes(1));
        var quiet = Assert.Single(_supervisor.Faults);
        Assert.False(quiet.Repeats);
        Assert.Equal(2, quiet.Count);
    }

    [Fact]
    public async Task WorkThatNobodyWaitsForIsCountedWhetherItFailsAtOnceOrLater()
    {
        await _supervisor.RunAsync("at-once", () => throw new InvalidDataException("odd"));
        await _supervisor.RunAsync("later", async () =>
        {
            await Task.Yield();
            throw new InvalidDataException("odd");
        });
        _supervisor.Start("nobody-waits", () => Task.FromException(new InvalidDataException("odd")));
        Assert.Equal(["at-once", "later", "nobody-waits"], _supervisor.Faults.Select(f => f.Loop));
    }

    [Fact]
    public void HoweverManyNamesThereAreTheTableIsBounded()
    {
        for (var i = 0; i < 10_000; i++)
            _supervisor.Report($"made of a peer's text {i}", new InvalidDataException("odd"));
        Assert.InRange(_supervisor.Faults.Length, 1, 129);
        Assert.Equal(10_000, _supervisor.Faults.Sum(f => f.Count));
    }
}
