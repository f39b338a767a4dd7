using System.Collections.Immutable;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Supervision;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Forwarding;

/// <summary>The TCP part of the user-mode path: takes redirected connections and carries each to an endpoint of its route.</summary>
/// <remarks>Order of use: <see cref="Start"/>, then <see cref="StopAcceptingAsync"/> or <see cref="DrainAsync"/>, then
/// <see cref="DisposeAsync"/>. Two processes of one user may listen on the same address at once.</remarks>
public sealed class TcpForwarder : IAsyncDisposable
{
    /// <summary>Connections that were begun with a listener before it was steered away from are through by then.</summary>
    private static readonly TimeSpan AcceptLinger = TimeSpan.FromMilliseconds(500);

    /// <summary>Listen sockets per family, at least. See <see cref="CloseAsync"/> for why one would not do.</summary>
    private const int LeastSockets = 2;

    private readonly ForwarderContext _context;
    private ForwardingLoop[] _loops = [];
    private readonly TimeProvider _time;
    private readonly Lock _closingLock = new();
    private ImmutableArray<TcpListenSocket> _steerable = [];
    private ImmutableArray<PortGuard> _guards = [];
    private Task? _closing;

    /// <param name="routes">Asked once per connection, from several threads; must be quick.</param>
    /// <param name="heartbeat">Beaten once a second while every loop comes round; null: none.</param>
    public TcpForwarder(ForwarderOptions options, Func<RouteTable> routes, IHeartbeat? heartbeat, ILoggerFactory loggers, TimeProvider time, Supervisor? supervisor = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.LoopCount, 1, nameof(options));
        _time = time;
        _context = new ForwarderContext(options, routes, heartbeat, loggers.CreateLogger<TcpForwarder>(), time, supervisor);
    }

    /// <summary>Where it listens, with granted ports. Empty before <see cref="Start"/>.</summary>
    public ImmutableArray<InetEndpoint> Listeners { get; private set; } = [];

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
            var sockets = new List<PlacedListener>();
            for (var place = 0; place < Sockets; place++)
            {
                foreach (var endpoint in endpoints)
                {
                    var socket = TcpListenSocket.Open(endpoint, options.Backlog, options.PeerWatch);
                    opened.Add(socket);
                    sockets.Add(new PlacedListener(socket, place));
                }

                endpoints = [.. sockets.TakeLast(endpoints.Length).Select(listener => listener.Socket.Endpoint)];
            }

            _steerable = [.. sockets.Where(listener => listener.Place == 0).Select(listener => listener.Socket)];
            for (var i = 0; i < loops.Length; i++)
                loops[i] = new ForwardingLoop(i, _context, [.. sockets.Where(listener => listener.Place % loops.Length == i)]);

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

    /// <summary>From any thread: beat now. The kernel keeps the heartbeat in the rules themselves, so rules that are new are
    /// not in force before the next beat.</summary>
    public void BeatSoon()
    {
        _context.Pulse.Ask();
        if (_loops.Length > 0)
            _loops[0].Wake();
    }

    /// <summary>Lets a successor have all new connections: sends them to its listeners, accepts what is still on its way to
    /// ours, and closes them. Without a successor, new connections are refused after that. Takes half a second.</summary>
    /// <param name="toPredecessor">Gives them back to who listened before, for a successor that cannot go on.</param>
    public Task StopAcceptingAsync(bool toPredecessor = false)
    {
        DropGuards();
        lock (_closingLock)
            return _closing ??= CloseAsync(toPredecessor);
    }

    /// <summary>A successor may listen beside from now on, and gets no connection before <see cref="StopAcceptingAsync"/>: it
    /// may hang at any moment until then.</summary>
    public void LetSuccessorListen()
    {
        foreach (var socket in _steerable)
            _ = socket.SpreadOver(Sockets);
        DropGuards();
    }

    /// <summary>This process has the port by itself, and nobody gets a place beside its listeners. Ends the steering too that
    /// <see cref="LetSuccessorListen"/> began, or that <see cref="StopAcceptingAsync"/> of another process left behind when it
    /// closed its listeners; until then all connections come to one listener.</summary>
    /// <returns>How many listen there besides, who came before this.</returns>
    /// <exception cref="IOException">The kernel does not keep others away.</exception>
    public int KeepForItself()
    {
        foreach (var socket in _steerable)
            socket.SpreadOverAll();
        DropGuards();
        // Who listens on every address would keep the guard from its place.
        if (OtherListeners() is > 0 and var others)
            return others;
        foreach (var endpoint in Listeners)
            _guards = _guards.Add(PortGuard.Place(endpoint));
        return OtherListeners();
    }

    private int OtherListeners() => Listeners.Sum(endpoint => Math.Max(0, BoundPorts.CountAt(endpoint, isTcp: true) - Sockets));

    private void DropGuards()
    {
        foreach (var guard in ImmutableInterlocked.InterlockedExchange(ref _guards, ImmutableArray<PortGuard>.Empty))
            guard.Dispose();
    }

    /// <summary>Stops accepting (see <see cref="StopAcceptingAsync"/>), waits until all connections have ended, cuts those that have not at the limit, and returns
    /// how many it cut. Those that the tunnel carries count; cutting them is the tunnel's own affair.</summary>
    public async Task<int> DrainAsync(TimeSpan limit)
    {
        var cutAt = _context.NowMilliseconds() + (long)limit.TotalMilliseconds;
        var closed = StopAcceptingAsync();
        foreach (var loop in _loops)
            loop.FinishBy(cutAt);
        await closed;
        var cut = await Task.WhenAll(_loops.Select(loop => loop.Finished));
        var left = TimeSpan.FromMilliseconds(Math.Max(0, cutAt - _context.NowMilliseconds()));
        return cut.Sum() + (int)await _context.Carried.EndedAsync(left, _time);
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
            Active = counters.Sum(c => Volatile.Read(ref c.Active)) + _context.Carried.Active,
            Carried = _context.Carried.Active,
            PendingDials = counters.Sum(c => Volatile.Read(ref c.PendingDials)),
            BytesToEndpoints = counters.Sum(c => Volatile.Read(ref c.BytesToEndpoints)) + _context.Carried.BytesToEndpoints,
            BytesToClients = counters.Sum(c => Volatile.Read(ref c.BytesToClients)) + _context.Carried.BytesToClients,
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
            GaveWay = counters.Sum(c => Volatile.Read(ref c.GaveWay)),
            PipesLent = (int)counters.Sum(c => Volatile.Read(ref c.PipesLent)),
        };
    }

    /// <summary>Of every service port that has had a connection and still exists or has connections.</summary>
    public ImmutableArray<ServiceStatistics> ReadServices()
    {
        var carried = _context.Carried.Services.ToDictionary();
        return [.. _loops.SelectMany(loop => loop.Services).GroupBy(service => service.Name).Select(group =>
        {
            var tunnel = carried.GetValueOrDefault(group.Key) ?? new CarriedService();
            return new ServiceStatistics(
                group.Key,
                group.Sum(s => Volatile.Read(ref s.Connections)),
                group.Sum(s => Volatile.Read(ref s.Active)) + Volatile.Read(ref tunnel.Active),
                group.Sum(s => Volatile.Read(ref s.Failed)),
                group.Sum(s => Volatile.Read(ref s.BytesToEndpoints)) + Volatile.Read(ref tunnel.BytesToEndpoints),
                group.Sum(s => Volatile.Read(ref s.BytesToClients)) + Volatile.Read(ref tunnel.BytesToClients));
        })];
    }

    /// <summary>Cuts all connections at once and ends the threads.</summary>
    public async ValueTask DisposeAsync()
    {
        DropGuards();
        foreach (var loop in _loops)
        {
            loop.CloseListeners(steer: false);
            loop.FinishBy(0);
        }

        await Task.WhenAll(_loops.Select(loop => loop.Finished));
    }

    private int Sockets => Math.Max(LeastSockets, _context.Options.LoopCount);

    /// <remarks>
    /// A closing listener resets what is in its queue, so nothing new may enter a queue while it is drained and closed.
    /// The kernel's array of listeners is [ours..., the successor's...]. When one is closed, the last takes its place. So
    /// ours are closed from the last to the first, and the one at place p while everything is steered to p + 1: that is one
    /// of the successor's before (the first after ours) and after (the next of theirs), provided that they have two at
    /// least. How many loops each side runs does not matter.
    /// </remarks>
    private async Task CloseAsync(bool toPredecessor)
    {
        // The predecessor's first listener keeps place 0 whatever we close.
        foreach (var socket in _steerable)
            _ = socket.SteerTo(toPredecessor ? 0 : Sockets);
        _steerable = [];
        await Task.Delay(AcceptLinger, _time);
        foreach (var loop in _loops.Reverse())
        {
            loop.CloseListeners(steer: !toPredecessor);
            await loop.ListenersClosed;
        }
    }

    private static ImmutableArray<long> Sum(LoopCounters[] counters, Func<LoopCounters, long[]> select, int length)
        => [.. Enumerable.Range(0, length).Select(i => counters.Sum(c => Volatile.Read(ref select(c)[i])))];
}
