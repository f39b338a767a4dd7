using EdgeMesh.Linux.Sockets;
using EdgeMesh.Polling;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>
/// One thread that owns the sockets of all sessions and the local sockets of their streams:
/// <code>
///   session readable  -> decrypt in place -> demultiplex -> write the piece to the local socket, all in one turn
///   local readable    -> read into the session's frames   (at the end of the turn: encrypt and send, once per session)
/// </code>
/// Members belong to the loop's thread, unless they say otherwise.
/// </summary>
internal sealed partial class TunnelLoop : IDisposable
{
    private const int EventBatch = 256;
    private const ulong WakeData = ulong.MaxValue;
    private const ulong TimerData = ulong.MaxValue - 1;

    /// <summary>A read that fills much of it is rare for a client's socket and common for a session's.</summary>
    internal const int InputSize = 256 * 1024;

    /// <summary>Four Noise messages: what is encrypted and sent by one call.</summary>
    private const int SealSize = 4 * (2 + 65535);

    private const int KeptInputs = 16;

    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly Action<Exception>? _faulted;
    private readonly Epoll _epoll = new(EventBatch);
    private readonly EventWait _wait;
    private readonly WakeEvent _wake = new();
    private readonly LoopTimer _timer = new();
    private readonly Stack<byte[]> _inputs = new();
    private readonly Stack<byte[]> _unsent = new();
    private readonly Stack<int> _freeSlots = new();
    private readonly TaskCompletionSource _finished = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private (ISocketOwner? Owner, uint Generation)[] _slots = new (ISocketOwner?, uint)[256];
    private int _slotsUsed;
    private Queue<ITurnTaker> _turns = new();
    private Queue<ITurnTaker> _turnsNow = new();
    private List<TunnelSession> _dirty = [];
    private List<TunnelSession> _dirtyNow = [];
    private int _threadId;
    private long _bytesOut;
    private long _bytesIn;
    private long _dropped;
    private volatile bool _stopping;
    private volatile bool _failed;
    private long _lastTurn;
    private int _over;

    /// <param name="faulted">Told of each fault that the loop survives, and of the one that it does not.</param>
    public TunnelLoop(ILogger logger, TimeProvider time, TunnelLoopOptions? options = null, Action<Exception>? faulted = null)
    {
        Options = options ?? new TunnelLoopOptions();
        _faulted = faulted;
        _wait = new EventWait(_epoll, Options.Polling);
        _logger = logger;
        _time = time;
        _lastTurn = Milliseconds();
        Dials = AddDeadlines(Options.EndpointTimeout);
        Answers = AddDeadlines(Options.AnswerTimeout);
        Flows = AddDeadlines(Options.DatagramIdle / DatagramPump.IdleRounds);
        _epoll.Add(_wake.Descriptor, EpollEvents.In, WakeData);
        _epoll.Add(_timer.Descriptor, EpollEvents.In | EpollEvents.EdgeTriggered, TimerData);
    }

    /// <summary>What it is for: the name of its thread, and in the log.</summary>
    internal string Name { get; init; } = "tunnel";

    internal TunnelLoopOptions Options { get; }

    /// <summary>Endpoints that are to answer, and requests that are to be made.</summary>
    internal DeadlineQueue Dials { get; }

    /// <summary>Peers that are to answer a request.</summary>
    internal DeadlineQueue Answers { get; }

    /// <summary>UDP flows, each looked at <see cref="DatagramPump.IdleRounds"/> times before it is idle.</summary>
    internal DeadlineQueue Flows { get; }

    /// <summary>Where sessions encrypt to; what the socket does not take is kept by the session.</summary>
    internal byte[] SealBuffer { get; } = GC.AllocateUninitializedArray<byte>(SealSize, pinned: true);

    /// <summary>Where datagrams are gathered.</summary>
    internal byte[] Scratch { get; } = GC.AllocateUninitializedArray<byte>(InputSize, pinned: true);

    internal ILogger Logger => _logger;

    /// <summary>Milliseconds, read once per turn.</summary>
    internal long Now { get; private set; }

    /// <summary>From any thread.</summary>
    internal bool IsCurrent => Environment.CurrentManagedThreadId == Volatile.Read(ref _threadId);

    /// <summary>Sockets registered at the moment; from any thread, roughly.</summary>
    internal int SocketCount => _slotsUsed - _freeSlots.Count;

    /// <summary>Bytes of local sockets that went to streams, and the other way; from any thread.</summary>
    public long BytesOut => Volatile.Read(ref _bytesOut);

    /// <inheritdoc cref="BytesOut"/>
    public long BytesIn => Volatile.Read(ref _bytesIn);

    /// <summary>Datagrams that found no room; from any thread.</summary>
    public long DatagramsDropped => Volatile.Read(ref _dropped);

    internal void Count(long bytesOut, long bytesIn)
    {
        Volatile.Write(ref _bytesOut, _bytesOut + bytesOut);
        Volatile.Write(ref _bytesIn, _bytesIn + bytesIn);
    }

    internal void CountDropped() => Volatile.Write(ref _dropped, _dropped + 1);

    /// <summary>A fault has ended the thread: nothing goes through the tunnel any more. From any thread.</summary>
    public bool HasFailed => _failed;

    /// <summary>Since it last came round, which it does ten times a second at least; from any thread.</summary>
    public TimeSpan SinceTurn => TimeSpan.FromMilliseconds(Milliseconds() - Volatile.Read(ref _lastTurn));

    /// <summary>Ends when the thread has; from any thread.</summary>
    public Task Finished => _finished.Task;

    public void Start() => new Thread(Run) { IsBackground = true, Name = "edgemesh-" + Name }.Start();

    /// <summary>From any thread: end now. Sessions should have been closed before.</summary>
    public void Stop()
    {
        _stopping = true;
        _wake.Set();
    }

    /// <summary>Registers a socket and returns its slot, or a negated errno.</summary>
    internal int Register(int descriptor, ISocketOwner owner)
    {
        if (_over != 0)
            return -Errno.EPIPE;
        if (!_freeSlots.TryPop(out var slot))
        {
            slot = _slotsUsed++;
            if (slot == _slots.Length)
                Array.Resize(ref _slots, slot * 2);
        }

        var generation = _slots[slot].Generation + 1;
        _slots[slot] = (owner, generation);
        var result = _epoll.Add(descriptor, EpollEvents.In | EpollEvents.Out | EpollEvents.ReadHangUp | EpollEvents.EdgeTriggered,
            ((ulong)(generation & 0x7FFFFFFF) << 32) | (uint)slot);
        if (result >= 0)
            return slot;
        Unregister(slot);
        return result;
    }

    /// <summary>Another object has the socket from here on.</summary>
    internal void Reassign(int slot, ISocketOwner owner) => _slots[slot].Owner = owner;

    /// <summary>Directly before the descriptor is closed, which takes it out of epoll.</summary>
    internal void Unregister(int slot)
    {
        _slots[slot].Owner = null;
        _freeSlots.Push(slot);
    }

    internal byte[] RentInput() => _inputs.TryPop(out var input) ? input : GC.AllocateUninitializedArray<byte>(InputSize, pinned: true);

    internal void ReturnInput(byte[] input)
    {
        if (_inputs.Count < KeptInputs)
            _inputs.Push(input);
    }

    internal byte[] RentUnsent() => _unsent.TryPop(out var unsent) ? unsent : GC.AllocateUninitializedArray<byte>(SealSize, pinned: true);

    internal void ReturnUnsent(byte[] unsent)
    {
        if (_unsent.Count < KeptInputs)
            _unsent.Push(unsent);
    }

    internal void MarkDirty(TunnelSession session) => _dirty.Add(session);

    internal void TakeTurnLater(ITurnTaker taker) => _turns.Enqueue(taker);

    public void Dispose()
    {
        _timer.Dispose();
        _wake.Dispose();
        _epoll.Dispose();
    }

    private void Run()
    {
        Volatile.Write(ref _threadId, Environment.CurrentManagedThreadId);
        try
        {
            _timer.Set(TickMilliseconds);
            while (!_stopping)
            {
                TakeEvents(_turns.Count > 0 || _dirty.Count > 0 ? _epoll.Wait(0) : _wait.Next());
                TakeTurns();
                ServeDirty();
            }
        }
        catch (Exception e)
        {
            _failed = true;
            LoopLog.LogFailed(_logger, Name, e);
            _faulted?.Invoke(e);
            // Clients and peers learn of it by a reset, not by silence.
            for (var slot = 0; slot < _slotsUsed; slot++)
            {
                if (_slots[slot].Owner is { } owner)
                    GiveUp(owner.OnFault, e);
            }
        }

        // Whoever was posted last finds its session gone, and lets its descriptor go.
        Interlocked.Exchange(ref _over, 1);
        RunLeft();
        Dispose();
        _finished.TrySetResult();
    }

    private void TakeEvents(int count)
    {
        Now = Milliseconds();
        Volatile.Write(ref _lastTurn, Now);
        for (var i = 0; i < count; i++)
        {
            var events = _epoll.EventAt(i, out var data);
            if (data == WakeData)
            {
                _wake.Reset();
                RunPosted();
            }
            else if (data == TimerData)
            {
                Tick();
            }
            else if (_slots[(int)(uint)data] is { Owner: { } owner } slot && (slot.Generation & 0x7FFFFFFF) == (uint)(data >> 32))
            {
                try
                {
                    owner.OnReady(events);
                }
                catch (Exception e)
                {
                    GiveUp(owner, e);
                }
            }
        }
    }

    private long Milliseconds() => _time.GetTimestamp() / (_time.TimestampFrequency / 1_000);

    private void TakeTurns()
    {
        if (_turns.Count == 0)
            return;
        (_turns, _turnsNow) = (_turnsNow, _turns);
        while (_turnsNow.TryDequeue(out var taker))
            Guard(taker, static t => t.OnTurn());
    }

    /// <summary>A session over another's stream comes before that one, so this goes on until nothing is left to send.</summary>
    private void ServeDirty()
    {
        while (_dirty.Count > 0)
        {
            (_dirty, _dirtyNow) = (_dirtyNow, _dirty);
            foreach (var session in _dirtyNow)
            {
                try
                {
                    session.Serve();
                }
                catch (Exception e)
                {
                    Fault(e);
                }
            }

            _dirtyNow.Clear();
        }
    }
}
