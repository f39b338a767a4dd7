using System.Collections.Concurrent;
using EdgeMesh.Catalog;
using EdgeMesh.Fairness;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Polling;

namespace EdgeMesh.Forwarding;

/// <summary>One thread that accepts, dials and relays. Everything in here belongs to that thread, unless it says otherwise.</summary>
/// <remarks>
/// The way of a connection, and where to read it:
/// <code>
///   Accept   listener ready -> accept -> original destination -> route           ForwardingLoop.Accept.cs
///   Dial     balancer -> connect, next endpoint on failure or deadline           ForwardingLoop.Dial.cs
///   Relay    bytes both ways, half-close kept, reset passed on                   ForwardingLoop.Relay.cs
///   Finish   resets and ends behind the last byte                                ForwardingLoop.Finish.cs
///   Release  one access record, objects back to their pools                      ForwardingLoop.Release.cs
/// </code>
/// Sockets are registered edge-triggered, once, for everything; listeners level-triggered.
/// </remarks>
internal sealed unsafe partial class ForwardingLoop : IDisposable
{
    private const string LoopName = "forwarding-tcp";
    private const int EventBatch = 256;
    private const int SlowTickMilliseconds = 500;
    private const int FastTickMilliseconds = 50;
    private const int KeptConnections = 1_024;
    private const int SweepMilliseconds = 30_000;

    private const ulong WakeData = ulong.MaxValue;
    private const ulong TimerData = ulong.MaxValue - 1;
    private const ulong FirstListenerData = ulong.MaxValue - 1023;

    private readonly ForwarderContext _context;
    private readonly ForwarderOptions _options;
    private readonly Epoll _epoll = new(EventBatch);
    private readonly WakeEvent _wake = new();
    private readonly LoopTimer _timer = new();
    private readonly TimerWheel _wheel;
    private readonly List<Connection> _due = [];
    private readonly RelayResources _resources;
    private readonly Random _random = new();
    private readonly byte[] _buffer = GC.AllocateUninitializedArray<byte>(RelayResources.BufferSize, pinned: true);
    private readonly TaskCompletionSource _listenersClosed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<int> _finished = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Any thread may read it; this loop alone adds and removes.
    private readonly ConcurrentDictionary<ServicePortName, LoopService> _services = new();

    private Connection?[] _slots = new Connection?[256];
    private int _slotsUsed;
    private uint _generation;
    private readonly Stack<Connection> _free = new();
    private readonly Stack<int> _freeSlots = new();
    private readonly Stack<Dial> _freeDials = new();
    private Queue<(Connection Connection, uint Generation)> _turns = new();
    private Queue<(Connection Connection, uint Generation)> _turnsNow = new();

    private readonly EventWait _wait;
    private readonly FairShares _shares = new();

    private long _now;
    private bool _tickIsFast;
    private long _lastSweep;

    // Set by other threads before they wake the loop.
    private volatile bool _accept;
    private volatile bool _closeListeners;
    private volatile bool _acceptRest;
    private long _cutAt = long.MaxValue;

    private long _lastTurn;

    public ForwardingLoop(int index, ForwarderContext context, IReadOnlyList<TcpListenSocket> listeners)
    {
        Index = index;
        _context = context;
        _options = context.Options;
        _listeners = [.. listeners];
        _now = context.NowMilliseconds();
        _lastTurn = _lastSweep = _now;
        _wheel = new TimerWheel(_now);
        _resources = new RelayResources(_options.PipeSize, _options.PipesPerLoop);
        _wait = new EventWait(_epoll, _options.PollingLimit);
        _epoll.Add(_wake.Descriptor, EpollEvents.In, WakeData);
        _epoll.Add(_timer.Descriptor, EpollEvents.In | EpollEvents.EdgeTriggered, TimerData);
    }

    public int Index { get; }

    public LoopCounters Counters { get; } = new();

    public IEnumerable<LoopService> Services => _services.Values;

    /// <summary>When it last came round, in the context's milliseconds. For other threads.</summary>
    public long LastTurn => Volatile.Read(ref _lastTurn);

    /// <summary>Completes when no listen socket is open any more.</summary>
    public Task ListenersClosed => _listenersClosed.Task;

    /// <summary>Completes when the thread ends, with the number of connections that it cut.</summary>
    public Task<int> Finished => _finished.Task;

    public void Start()
        => new Thread(Run) { IsBackground = true, Name = $"edgemesh-tcp-{Index}" }.Start();

    /// <summary>From any thread: come round now.</summary>
    public void Wake() => _wake.Set();

    /// <summary>From any thread: begin to accept.</summary>
    public void Accept()
    {
        _accept = true;
        _wake.Set();
    }

    /// <summary>From any thread: close the listeners.</summary>
    /// <param name="acceptRest">What is in the queues first, which would be reset.</param>
    public void CloseListeners(bool acceptRest)
    {
        _acceptRest = acceptRest;
        _closeListeners = true;
        _wake.Set();
    }

    /// <summary>From any thread: end when no connection is left, or at a time, whichever comes first.</summary>
    /// <param name="at">When to cut what is left, in the context's milliseconds.</param>
    public void FinishBy(long at)
    {
        Volatile.Write(ref _cutAt, Math.Min(at, Volatile.Read(ref _cutAt)));
        _wake.Set();
    }

    public void Dispose()
    {
        foreach (var listener in _listeners)
            listener.Dispose();
        _reserve?.Dispose();
        _resources.Dispose();
        _timer.Dispose();
        _wake.Dispose();
        _epoll.Dispose();
    }

    private void Run()
    {
        try
        {
            SetTick();
            while (!IsFinished())
            {
                TakeEvents(_turns.Count > 0 ? _epoll.Wait(0) : _wait.Next());
                TakeTurns();
            }
        }
        catch (Exception e)
        {
            // Without its turns the heartbeat stops, and the kernel sends new connections past this process.
            LogLoopFailed(_context.Logger, Index, e);
            _context.Supervisor?.Report(LoopName, e);
        }

        var cut = CutAll();
        Dispose();
        _listenersClosed.TrySetResult();
        _finished.SetResult(cut);
        CutGivenBack();
    }

    private bool IsFinished()
    {
        var cutAt = Volatile.Read(ref _cutAt);
        return cutAt != long.MaxValue && (_now >= cutAt || (Counters.Active == 0 && _listeners.Length == 0));
    }

    private void TakeEvents(int count)
    {
        _now = _context.NowMilliseconds();
        Volatile.Write(ref _lastTurn, _now);
        var tick = false;
        for (var i = 0; i < count; i++)
        {
            var events = _epoll.EventAt(i, out var data);
            if (data < FirstListenerData)
            {
                var connection = _slots[(int)((uint)data >> 1)];
                if (connection is not null && connection.IsOpen && connection.Generation == (uint)(data >> 32))
                    TakeConnectionEvent(connection, isClient: (data & 1) == 0, events);
            }
            else if (data == TimerData)
            {
                tick = true;
            }
            else if (data == WakeData)
            {
                _wake.Reset();
                tick = true;
            }
            else
            {
                AcceptOrPause((int)(data - FirstListenerData));
            }
        }

        if (tick)
            TickOrFault();
    }

    /// <summary>What an event of a listener met with must not cost the events of connections that came with it: each comes once.</summary>
    private void AcceptOrPause(int listener)
    {
        try
        {
            AcceptBatch(listener);
        }
        catch (Exception e)
        {
            Fault(null, e);
            PauseListeners();
        }
    }

    private void TickOrFault()
    {
        try
        {
            Tick();
        }
        catch (Exception e)
        {
            Fault(null, e);
            // Without it no further tick would come.
            SetTick();
        }
    }

    private void TakeConnectionEvent(Connection connection, bool isClient, EpollEvents events)
    {
        try
        {
            if (connection.Dial is null)
                Relay(connection, isClient, events);
            else if (!isClient)
                DialEvent(connection, events);
        }
        catch (Exception e)
        {
            Fault(connection, e);
        }
    }

    /// <summary>Gives those that had more to do than their turn allowed another turn, after all others had theirs.</summary>
    private void TakeTurns()
    {
        if (_turns.Count == 0)
            return;
        (_turns, _turnsNow) = (_turnsNow, _turns);
        while (_turnsNow.TryDequeue(out var turn))
        {
            if (turn.Connection.Generation != turn.Generation || !turn.Connection.IsOpen)
                continue;
            turn.Connection.HasTurn = false;
            TakeConnectionEvent(turn.Connection, isClient: true, EpollEvents.None);
        }
    }

    private void Tick()
    {
        _wheel.Advance(_now, _due);
        foreach (var connection in _due)
        {
            if (!connection.IsOpen)
                continue;
            try
            {
                if (connection.Dial is not null)
                    DialTimedOut(connection);
                else if (connection.IsDelivering)
                    LookAtDelivery(connection);
                else
                    LookAtPeers(connection);
            }
            catch (Exception e)
            {
                Fault(connection, e);
            }
        }

        _due.Clear();
        Learn();
        LeaveEnded();
        TakeGivenBack();
        ResumeListeners();
        if (_closeListeners)
            CloseListeners();
        else if (_accept && !_isAccepting)
            ListenForConnections();
        if (!_closeListeners && Index == 0)
            _context.Pulse.BeatIfDue(_context.Loops, _now);
        Volatile.Write(ref Counters.PipesLent, _resources.PipesLent);
        if (_now - _lastSweep >= SweepMilliseconds)
            Sweep();
        SetTick();
    }

    private void SetTick()
    {
        _tickIsFast = Counters.PendingDials > 0 || _delivering > 0 || _listenersPaused
            || Volatile.Read(ref _cutAt) != long.MaxValue;
        _timer.Set(_tickIsFast ? FastTickMilliseconds : SlowTickMilliseconds);
    }

    private void Sweep()
    {
        _lastSweep = _now;
        _shares.ForgetIdleClients();
        var routes = _context.Routes().Routes;
        foreach (var (name, service) in _services)
        {
            if (service.Active == 0 && !(routes.TryGetValue(service.LastKey, out var route) && route.Service == name))
                _services.TryRemove(name, out _);
        }

        if (Index == 0)
        {
            _context.Affinities.Sweep(_context.Routes(), _now);
            _context.Carried.Forget(name => _context.Loops.Any(loop => loop._services.ContainsKey(name)));
        }
    }
}
