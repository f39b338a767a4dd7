using EdgeMesh.Forwarding;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace EdgeMesh.Tests.Forwarding;

public sealed class TimerWheelTests
{
    [Fact]
    public void EveryDeadlineFiresOnceNeverEarlyAndAtMostTwoSlotsLate()
        => Prop.ForAll(Gen.Choose(1, 60_000).NonEmptyListOf().ToArbitrary(), Gen.Choose(1, 700).ToArbitrary(), (delays, step) =>
        {
            const long Start = 123_457;
            var wheel = new TimerWheel(Start);
            var connections = delays.Select((_, i) => new Connection(i)).ToArray();
            for (var i = 0; i < connections.Length; i++)
                wheel.Set(connections[i], Start + delays[i]);

            var firedAt = new Dictionary<int, long>();
            var due = new List<Connection>();
            for (var now = Start; now < Start + 62_000; now += step)
            {
                wheel.Advance(now, due);
                foreach (var connection in due)
                    firedAt.Add(connection.Slot, now);
                due.Clear();
            }

            return firedAt.Count == delays.Count && firedAt.All(fired =>
                fired.Value >= Start + delays[fired.Key]
                && fired.Value <= Start + delays[fired.Key] + (2 * TimerWheel.SlotMilliseconds) + step);
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void ATimerThatIsTakenBackOrSetAnewDoesNotFireAtItsOldTime()
    {
        var wheel = new TimerWheel(0);
        var connections = Enumerable.Range(0, 3).Select(i => new Connection(i)).ToArray();
        foreach (var connection in connections)
            wheel.Set(connection, 100);
        wheel.Remove(connections[1]);
        wheel.Set(connections[2], 400);
        var due = new List<Connection>();
        wheel.Advance(200, due);
        Assert.Equal([connections[0]], due);
        due.Clear();
        wheel.Advance(500, due);
        Assert.Equal([connections[2]], due);
    }

    [Fact]
    public void AfterALongStopEverythingDueFiresInOneCall()
    {
        var wheel = new TimerWheel(0);
        var connections = Enumerable.Range(0, 100).Select(i => new Connection(i)).ToArray();
        foreach (var connection in connections)
            wheel.Set(connection, connection.Slot * 300);
        var due = new List<Connection>();
        wheel.Advance(10_000_000, due);
        Assert.Equal(100, due.Distinct().Count());
    }
}
