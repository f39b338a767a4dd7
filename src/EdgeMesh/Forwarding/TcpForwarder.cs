using System.Collections.Immutable;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Forwarding;

/// <summary>The TCP part of the user-mode path: takes redirected connections and carries each to an endpoint of its route.</summary>
/// <remarks>Order of use: <see cref="Start"/>, then <see cref="StopAcceptingAsync"/> or <see cref="DrainAsync"/>, then
/// <see cref="DisposeAsync"/>. Two processes of one user may listen on the same address at once.</remarks>
public sealed class TcpForwarder : IAsyncDisposable
{
    /// <summary>Connections that were begun with a listener before it was steered away from are through by then.</summary>
    private const int AcceptLingerMilliseconds = 500;

    private readonly ForwarderContext _context;
    private ForwardingLoop[] _loops = [];
    private ImmutableArray<TcpListenSocket> _steerable = [];

    /// <param name="routes">Asked once per connection, from several threads; must be quick.</param>
    /// <param name="heartbeat">Beaten once a second while every loop comes round; null: none.</param>
    public TcpForwarder(ForwarderOptions options, Func<RouteTable> routes, IHeartbeat? heartbeat, ILoggerFactory loggers, TimeProvider time)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.LoopCount, 1, nameof(options));
        _context = new ForwarderContext(options, routes, heartbeat, loggers.CreateLogger<TcpForwarder>(), time);
    }

    /// <summary>Where it listens, with granted ports. Empty before <see cref="Start"/>.</summary>
    public ImmutableArray<InetEndpoint> Listeners { get; private set; } = [];

    /// <summary>False when a loop has not come round for two seconds: it hangs, or it has failed and said so in the log.</summary>
    public bool IsResponsive => Pulse.AllComeRound(_loops, _context.NowMilliseconds());

    /// <summary>Listens and begins to forward.</summary>
    /// <exception cref="IOException">A listener's address is not on this machine, or its port is another user's.</exception>
    public void Start()
    {
        if (_loops.Length > 0)
            throw new InvalidOperationException("The forwarder has been started before.");
        var options = _context.Options;
        var opened = new List<TcpListenSocket>();
        var loops = new ForwardingLoop[options.LoopCount];
        try
        {
            var endpoints = options.Listeners;
            for (var i = 0; i < loops.Length; i++)
            {
                TcpListenSocket[] own = [.. endpoints.Select(endpoint =>
                {
                    var socket = TcpListenSocket.Open(endpoint, options.Backlog, options.PeerWatch);
                    opened.Add(socket);
                    return socket;
                })];
                endpoints = [.. own.Select(socket => socket.Endpoint)];
                if (i == 0)
                    _steerable = [.. own];
                loops[i] = new ForwardingLoop(i, _context, own);
            }

            Listeners = endpoints;
        }
        catch
        {
            opened.ForEach(socket => socket.Dispose());
            foreach (var loop in loops)
                loop?.Dispose();
            throw;
        }

        _loops = loops;
        _context.SetLoops(loops);
        foreach (var loop in loops)
            loop.Start();
    }

    /// <summary>Lets a successor have all new connections: sends them to its listeners, accepts what is still on its way to
    /// ours, and closes them. Without a successor, new connections are refused after that. Takes half a second.</summary>
    public Task StopAcceptingAsync()
    {
        var closeAt = _context.NowMilliseconds() + AcceptLingerMilliseconds;
        // The successor's sockets come after ours in the kernel's list, since it began to listen later. A closing listener
        // resets what is in its queue, so nothing new may enter the queue while it is drained.
        foreach (var socket in _steerable)
            _ = socket.SteerTo(_loops.Length);
        _steerable = [];
        foreach (var loop in _loops)
            loop.CloseListenersAt(closeAt);
        return Task.WhenAll(_loops.Select(loop => loop.ListenersClosed));
    }

    /// <summary>Stops accepting, waits until all connections have ended, cuts those that have not at the limit, and returns
    /// how many it cut.</summary>
    public async Task<int> DrainAsync(TimeSpan limit)
    {
        var cutAt = _context.NowMilliseconds() + (long)limit.TotalMilliseconds;
        var closed = StopAcceptingAsync();
        foreach (var loop in _loops)
            loop.FinishBy(cutAt);
        await closed;
        var cut = await Task.WhenAll(_loops.Select(loop => loop.Finished));
        return cut.Sum();
    }

    /// <summary>How long ago the slowest loop came round; every loop does so at least twice a second.</summary>
    public TimeSpan SlowestTurn()
    {
        var now = _context.NowMilliseconds();
        return TimeSpan.FromMilliseconds(_loops.Select(loop => now - loop.LastTurn).DefaultIfEmpty(0).Max());
    }

    public ForwarderStatistics ReadStatistics()
    {
        var counters = _loops.Select(loop => loop.Counters).ToArray();
        return new ForwarderStatistics
        {
            Accepted = counters.Sum(c => Volatile.Read(ref c.Accepted)),
            Active = counters.Sum(c => Volatile.Read(ref c.Active)),
            PendingDials = counters.Sum(c => Volatile.Read(ref c.PendingDials)),
            BytesToEndpoints = counters.Sum(c => Volatile.Read(ref c.BytesToEndpoints)),
            BytesToClients = counters.Sum(c => Volatile.Read(ref c.BytesToClients)),
            Refused = Sum(counters, c => c.Refused, Enum.GetValues<RefusalReason>().Length),
            DialAttempts = counters.Sum(c => Volatile.Read(ref c.DialAttempts)),
            DialFailures = Sum(counters, c => c.DialFailures, Enum.GetValues<DialFailure>().Length),
            DialLatency = new DialLatency
            {
                Counts = Sum(counters, c => c.DialLatency, DialLatency.UpperBounds.Length + 1),
                SumSeconds = counters.Sum(c => Volatile.Read(ref c.DialMicroseconds)) / 1e6,
            },
            Faults = counters.Sum(c => Volatile.Read(ref c.Faults)),
            Heartbeats = _context.Pulse.Beats,
            HeartbeatFailures = _context.Pulse.Failures,
            HeartbeatsWithheld = _context.Pulse.Withheld,
            PipesLent = (int)counters.Sum(c => Volatile.Read(ref c.PipesLent)),
        };
    }

    /// <summary>Of every service port that has had a connection and still exists or has connections.</summary>
    public ImmutableArray<ServiceStatistics> ReadServices()
        => [.. _loops.SelectMany(loop => loop.Services).GroupBy(service => service.Name).Select(group => new ServiceStatistics(
            group.Key,
            group.Sum(s => Volatile.Read(ref s.Connections)),
            group.Sum(s => Volatile.Read(ref s.Active)),
            group.Sum(s => Volatile.Read(ref s.Failed)),
            group.Sum(s => Volatile.Read(ref s.BytesToEndpoints)),
            group.Sum(s => Volatile.Read(ref s.BytesToClients))))];

    /// <summary>Cuts all connections at once and ends the threads.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var loop in _loops)
        {
            loop.CloseListenersAt(0);
            loop.FinishBy(0);
        }

        await Task.WhenAll(_loops.Select(loop => loop.Finished));
    }

    private static ImmutableArray<long> Sum(LoopCounters[] counters, Func<LoopCounters, long[]> select, int length)
        => [.. Enumerable.Range(0, length).Select(i => counters.Sum(c => Volatile.Read(ref select(c)[i])))];
}
