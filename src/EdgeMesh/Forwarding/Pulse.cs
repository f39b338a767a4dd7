using EdgeMesh.Linux;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Forwarding;

/// <summary>Beats once a second from within the first loop, and only while every loop comes round: a loop that hangs, not
/// just a process that died, makes the kernel stop sending connections here.</summary>
internal sealed partial class Pulse(IHeartbeat? heartbeat, ILogger logger)
{
    private const int BeatMilliseconds = 1_000;

    /// <summary>Loops come round at least every half second.</summary>
    private const int StaleMilliseconds = 2_000;

    private long _lastBeat = long.MinValue / 2;
    private int _asked;
    private bool _failing;

    private long _beats;
    private long _failures;
    private long _withheld;

    public long Beats => Volatile.Read(ref _beats);

    public long Failures => Volatile.Read(ref _failures);

    public long Withheld => Volatile.Read(ref _withheld);

    /// <summary>From any thread: the next turn beats, whether or not a second has passed.</summary>
    public void Ask() => Volatile.Write(ref _asked, 1);

    public void BeatIfDue(IReadOnlyList<ForwardingLoop> loops, long now)
    {
        // A quarter less than the period: called every half second, it would else beat every one and a half.
        if (heartbeat is null || (Interlocked.Exchange(ref _asked, 0) == 0 && now - _lastBeat < BeatMilliseconds * 3 / 4))
            return;
        _lastBeat = now;
        foreach (var loop in loops)
        {
            if (now - loop.LastTurn > StaleMilliseconds)
            {
                _withheld++;
                LogWithheld(logger, loop.Index, now - loop.LastTurn);
                return;
            }
        }

        try
        {
            heartbeat.Beat();
            _beats++;
            _failing = false;
        }
        catch (Exception e)
        {
            _failures++;
            if (!_failing)
                LogFailed(logger, e);
            _failing = true;
        }
    }

    [LoggerMessage(3110, LogLevel.Warning, "The heartbeat to the kernel failed; until it works again, connections of services that need this process go to kube-proxy. It is retried every second.")]
    private static partial void LogFailed(ILogger logger, Exception exception);

    [LoggerMessage(3111, LogLevel.Warning, "Forwarding loop {Loop} has not come round for {Milliseconds} ms, so the heartbeat to the kernel is withheld and new connections go to kube-proxy.")]
    private static partial void LogWithheld(ILogger logger, int loop, long milliseconds);
}
