using System.Diagnostics;
using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Polling;

/// <summary>How a loop waits for its events: asleep, or looking for a moment first (<see cref="PollingPolicy"/>).</summary>
/// <param name="epoll">The loop's own.</param>
/// <param name="limit">How long to look; zero: never.</param>
internal sealed class EventWait(Epoll epoll, TimeSpan limit)
{
    private readonly bool _polls = limit > TimeSpan.Zero;
    private readonly PollingPolicy _policy = new((long)limit.TotalNanoseconds);

    /// <returns>How many events there are.</returns>
    public int Next()
    {
        if (!_polls)
            return epoll.Wait(-1);
        var now = Nanoseconds();
        if (_policy.Begins(now))
        {
            do
            {
                var found = epoll.Wait(0);
                if (found > 0)
                {
                    _policy.Found(found);
                    return found;
                }

                Epoll.YieldCore();
                now = Nanoseconds();
            }
            while (_policy.GoesOn(now));
        }

        var count = epoll.Wait(-1);
        _policy.Slept(Nanoseconds() - now, count);
        return count;
    }

    // Not a clock that a test can turn: this measures what the machine does.
    private static long Nanoseconds() => (long)Stopwatch.GetElapsedTime(0).TotalNanoseconds;
}
