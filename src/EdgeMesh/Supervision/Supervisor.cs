using System.Collections.Immutable;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Supervision;

/// <summary>What came of one kind of background work so far.</summary>
/// <param name="Loop">Its name: a constant of the program, never a peer's or a node's.</param>
/// <param name="Count">Faults that nobody foresaw.</param>
/// <param name="Repeats">It failed more than once and has not run well since.</param>
/// <param name="Last">What the newest one said.</param>
public sealed record LoopFaults(string Loop, long Count, bool Repeats, string Last);

/// <summary>
/// Everything that runs in the background runs under one of these:
/// <code>
///   LoopAsync  a loop: after a fault it begins again, later each time
///   Start      work that nobody waits for: its fault is counted
///   Report     a fault that a loop has caught itself, because it cost one connection and not the loop
/// </code>
/// A fault is logged with the name of the loop, at once and then at intervals, so that neither silence nor a flood comes of it.
/// </summary>
public sealed partial class Supervisor(ILogger<Supervisor> logger, TimeProvider time)
{
    /// <summary>Names are constants, so this is far more than there are; it holds even if one were made of a peer's text.</summary>
    private const int MostNames = 128;

    private const string AnyOther = "other";

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(30);

    /// <summary>Longer than the longest pause: who ran for so long has not failed for the reason that it failed for before.</summary>
    private static readonly TimeSpan RanWell = TimeSpan.FromSeconds(60);

    private static readonly TimeSpan BetweenWords = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, Record> _records = new(StringComparer.Ordinal);

    /// <summary>Every loop that ever failed.</summary>
    public ImmutableArray<LoopFaults> Faults
    {
        get
        {
            lock (_gate)
                return [.. _records.Select(r => new LoopFaults(r.Key, r.Value.Count, Repeats(r.Value), r.Value.Last)).OrderBy(f => f.Loop, StringComparer.Ordinal)];
        }
    }

    /// <summary>Runs a loop until it returns or is cancelled. A fault of it is counted, and after a pause it begins again: half a
    /// second, doubling to 30 s, and half a second again after it ran for a minute. Never throws.</summary>
    public async Task LoopAsync(string name, Func<CancellationToken, Task> loop, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(loop);
        // What it does before it waits for the first time is not its starter's to wait for.
        await Task.Yield();
        var pause = FirstPause;
        while (!cancellationToken.IsCancellationRequested)
        {
            var began = time.GetTimestamp();
            try
            {
                await loop(cancellationToken);
                return;
            }
            catch (Exception) when (cancellationToken.IsCancellationRequested)
            {
                // Whatever it met with while it was told to end is its end.
                return;
            }
            catch (Exception fault)
            {
                if (time.GetElapsedTime(began) >= RanWell)
                    pause = FirstPause;
                Report(name, fault, $"it begins again in {pause.TotalSeconds} s");
            }

            await Task.Delay(pause, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            pause = pause * 2 < LongestPause ? pause * 2 : LongestPause;
        }
    }

    /// <summary>Runs a loop that nobody waits for.</summary>
    public void StartLoop(string name, Func<CancellationToken, Task> loop, CancellationToken cancellationToken) => _ = LoopAsync(name, loop, cancellationToken);

    /// <summary>Runs work that nobody waits for.</summary>
    public void Start(string name, Func<Task> work) => _ = RunAsync(name, work);

    /// <summary>Runs work once; its fault is counted. Never throws.</summary>
    public async Task RunAsync(string name, Func<Task> work)
    {
        ArgumentNullException.ThrowIfNull(work);
        try
        {
            await work();
        }
        catch (OperationCanceledException)
        {
            // Cancelled with what it belonged to: an end like another.
        }
        catch (Exception fault)
        {
            Report(name, fault);
        }
    }

    /// <summary>Counts a fault that its finder has survived; from any thread.</summary>
    public void Report(string name, Exception fault) => Report(name, fault, "what it was about is given up, and others go on");

    private void Report(string name, Exception fault, string then)
    {
        try
        {
            CountAndSay(name, fault, then);
        }
        catch (Exception)
        {
            // A clock or a logger that fails must not end the loop that has just survived.
        }
    }

    private void CountAndSay(string name, Exception fault, string then)
    {
        long unsaid;
        lock (_gate)
        {
            if (!_records.TryGetValue(name, out var record))
            {
                name = _records.Count < MostNames ? name : AnyOther;
                if (!_records.TryGetValue(name, out record))
                    _records[name] = record = new Record();
            }

            record.Count++;
            var now = time.GetTimestamp();
            record.InARow = record.Count > 1 && time.GetElapsedTime(record.FailedAt, now) < RanWell ? record.InARow + 1 : 1;
            record.FailedAt = now;
            record.Last = $"{fault.GetType().Name}: {fault.Message}";
            if (record.SaidAt is { } said && time.GetElapsedTime(said, now) < BetweenWords)
            {
                record.Unsaid++;
                return;
            }

            (record.SaidAt, unsaid, record.Unsaid) = (now, record.Unsaid, 0);
        }

        if (unsaid == 0)
            LogFault(name, then, fault);
        else
            LogFaultAgain(name, unsaid, then, fault);
    }

    private bool Repeats(Record record) => record.InARow > 1 && time.GetElapsedTime(record.FailedAt) < RanWell;

    private sealed class Record
    {
        public long Count;
        public long InARow;
        public long FailedAt;
        public long? SaidAt;
        public long Unsaid;
        public string Last = "";
    }

    [LoggerMessage(7000, LogLevel.Error, "A fault of this program in its {Loop} loop: {Then}. Please report this.")]
    private partial void LogFault(string loop, string then, Exception fault);

    [LoggerMessage(7001, LogLevel.Error, "A fault of this program in its {Loop} loop again, and {Unsaid} more since the last word: {Then}. Please report this.")]
    private partial void LogFaultAgain(string loop, long unsaid, string then, Exception fault);
}
