using System.Collections.Immutable;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Supervision;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Forwarding;

/// <summary>What becomes of connections that come after a forwarder has stopped accepting.</summary>
public enum NewConnections
{
    /// <summary>They are refused.</summary>
    Refused,

    /// <summary>Another process has the same listening sockets.</summary>
    LeftToSharer,

    /// <summary>Another process listens at the same port with sockets of its own, and did so before this one.</summary>
    GivenToPredecessor,
}

/// <summary>The TCP part of the user-mode path: takes redirected connections and carries each to an endpoint of its route.</summary>
/// <remarks>Order of use: <see cref="Start"/>, then <see cref="StopAcceptingAsync"/> or <see cref="DrainAsync"/>, then
/// <see cref="DisposeAsync"/>. Two processes of one user may listen on the same address at once.</remarks>
public sealed class TcpForwarder : IAsyncDisposable
{
    /// <summary>Connections that were begun with a listener before it was steered away from are through by then.</summary>
    private static readonly TimeSpan AcceptLinger = TimeSpan.FromMilliseconds(500);

    /// <summary>Listen sockets per family, at least: a predecessor of release 0.1.0 closes its own by an order that needs two beside them.</summary>
    private const int LeastSockets = 2;

    private readonly ForwarderContext _context;
    private ForwardingLoop[] _loops = [];
    private readonly TimeProvider _time;
    private readonly Lock _closingLock = new();
    private ImmutableArray<TcpListenSocket> _sockets = [];
    private ImmutableDictionary<InetEndpoint, PortGuard> _guards = ImmutableDictionary<InetEndpoint, PortGuard>.Empty;
    private ImmutableDictionary<InetEndpoint, int> _own = ImmutableDictionary<InetEndpoint, int>.Empty;
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
    /// <param name="inherited">Where it has sockets for a listener, these are taken, and nothing is accepted before <see cref="Accept"/>: the
    /// other process has them too.</param>
    /// <exception cref="IOException">A listener's address is not on this machine, or its port is another user's.</exception>
    public void Start(InheritedSockets? inherited = null)
    {
        if (_loops.Length > 0)
            throw new InvalidOperationException("The forwarder has been started before.");
        var options = _context.Options;
        var opened = new List<TcpListenSocket>();
        var distinct = new List<TcpListenSocket>();
        var listeners = ImmutableArray.CreateBuilder<InetEndpoint>();
        var loops = new ForwardingLoop[options.LoopCount];
        var ofLoop = loops.Select(_ => new List<TcpListenSocket>()).ToArray();
        try
        {
            foreach (var wanted in options.Listeners)
            {
                var sockets = Inherit(wanted, inherited, opened);
                var endpoint = wanted;
                for (var isOwn = sockets.Count == 0; isOwn && sockets.Count < Math.Max(LeastSockets, loops.Length); endpoint = sockets[0].Endpoint)
                {
                    sockets.Add(TcpListenSocket.Open(endpoint, options.Backlog, options.PeerWatch));
                    opened.Add(sockets[^1]);
                }

                distinct.AddRange(sockets);
                listeners.Add(sockets[0].Endpoint);
                _own = _own.SetItem(sockets[0].Endpoint, sockets.Count);
                for (var i = 0; i < Math.Max(sockets.Count, loops.Length); i++)
                    ofLoop[i % loops.Length].Add(i < sockets.Count ? sockets[i] : Share(sockets[i % sockets.Count], opened));
            }

            for (var i = 0; i < loops.Length; i++)
                loops[i] = new ForwardingLoop(i, _context, ofLoop[i]);
        }
        catch
        {
            opened.ForEach(socket => socket.Dispose());
            foreach (var loop in loops)
                loop?.Dispose();
            DropGuards();
            throw;
        }

        Listeners = listeners.ToImmutable();
        _sockets = [.. distinct];
        _loops = loops;
        _context.SetLoops(loops);
        foreach (var loop in loops)
            loop.Start();
        if (inherited is null)
            Accept();
    }

    /// <summary>Begins to accept where <see cref="Start"/> inherited sockets.</summary>
    public void Accept()
    {
        foreach (var loop in _loops)
            loop.Accept();
    }

    private List<TcpListenSocket> Inherit(InetEndpoint endpoint, InheritedSockets? inherited, List<TcpListenSocket> opened)
    {
        if (inherited is null)
            return [];
        foreach (var handle in inherited.TakeGuards(endpoint))
        {
            if (_guards.ContainsKey(endpoint))
                handle.Dispose();
            else
                _guards = _guards.Add(endpoint, PortGuard.Adopt(handle));
        }

        List<TcpListenSocket> sockets = [.. inherited.TakeListeners(endpoint).Select(handle => TcpListenSocket.Adopt(handle, _context.Options.Backlog, _context.Options.PeerWatch))];
        opened.AddRange(sockets);
        return sockets;
    }

    /// <summary>A process with fewer loops opened them: what is left over accepts from the same queues.</summary>
    private TcpListenSocket Share(TcpListenSocket socket, List<TcpListenSocket> opened)
    {
        var copy = socket.Duplicate() ?? throw new IOException($"The listener {socket.Endpoint} cannot be shared by two loops: too few files may be open.");
        opened.Add(TcpListenSocket.Adopt(copy, _context.Options.Backlog, _context.Options.PeerWatch));
        return opened[^1];
    }

    /// <summary>Descriptors of all that it listens with, and of what keeps others away from there, for <see cref="InheritedSockets"/> of
    /// another process; each is the caller's to close. All or none: what the other lacks is lost when this process closes its own.</summary>
    public ImmutableArray<DescriptorHandle> Copies()
    {
        var copies = _sockets.Select(socket => socket.Duplicate()).Concat(_guards.Values.Select(guard => guard.Duplicate())).ToList();
        if (!copies.Contains(null))
            return [.. copies.OfType<DescriptorHandle>()];
        copies.ForEach(copy => copy?.Dispose());
        return [];
    }

    /// <summary>From any thread: beat now. The kernel keeps the heartbeat in the rules themselves, so rules that are new are
    /// not in force before the next beat.</summary>
    public void BeatSoon()
    {
        _context.Pulse.Ask();
        if (_loops.Length > 0)
            _loops[0].Wake();
    }

    /// <summary>Accepts what is on its way to a listener of this process alone, which takes half a second, and closes the listeners.</summary>
    public Task StopAcceptingAsync(NewConnections then = NewConnections.Refused)
    {
        lock (_closingLock)
            return _closing ??= CloseAsync(then);
    }

    /// <summary>This process has the port by itself, and nobody gets a place beside its listeners, but who is handed them
    /// (<see cref="Copies"/>). Ends the steering too that another process left behind when it closed its listeners; until then all
    /// connections come to one listener.</summary>
    /// <returns>How many listen there besides, who came before this.</returns>
    /// <exception cref="IOException">The kernel does not keep others away.</exception>
    public int KeepForItself()
    {
        foreach (var socket in _sockets)
            socket.SpreadOverAll();
        // Who listens on every address would keep the guard from its place.
        if (OtherListeners() is > 0 and var others)
            return others;
        foreach (var endpoint in Listeners.Where(endpoint => !_guards.ContainsKey(endpoint)))
            _guards = _guards.Add(endpoint, PortGuard.Place(endpoint));
        return OtherListeners();
    }

    private int OtherListeners() => Listeners.Sum(endpoint => Math.Max(0, BoundPorts.CountAt(endpoint, isTcp: true) - _own[endpoint]));

    private void DropGuards()
    {
        foreach (var guard in Interlocked.Exchange(ref _guards, ImmutableDictionary<InetEndpoint, PortGuard>.Empty).Values)
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
            loop.CloseListeners(acceptRest: false);
            loop.FinishBy(0);
        }

        await Task.WhenAll(_loops.Select(loop => loop.Finished));
    }

    /// <remarks>A closing listener resets what is in its queue, unless another process has the same one: then nothing is closed but this
    /// process's way to it.</remarks>
    private async Task CloseAsync(NewConnections then)
    {
        var isShared = then == NewConnections.LeftToSharer;
        if (!isShared)
        {
            // The predecessor's first listener keeps place 0 whatever we close.
            if (then == NewConnections.GivenToPredecessor)
            {
                foreach (var socket in _sockets)
                    _ = socket.SteerTo(0);
            }

            await Task.Delay(AcceptLinger, _time);
        }

        DropGuards();
        foreach (var loop in _loops)
            loop.CloseListeners(acceptRest: !isShared);
        await Task.WhenAll(_loops.Select(loop => loop.ListenersClosed));
    }

    private static ImmutableArray<long> Sum(LoopCounters[] counters, Func<LoopCounters, long[]> select, int length)
        => [.. Enumerable.Range(0, length).Select(i => counters.Sum(c => Volatile.Read(ref select(c)[i])))];
}
