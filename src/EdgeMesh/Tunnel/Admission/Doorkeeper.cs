using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Admission;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Admission;

/// <summary>
/// One thread that stands in front of everything: it accepts, looks at the first bytes where the kernel has them, and passes on
/// only connections whose first flight proves the key.
/// <code>
///   accept -> look -> proven: to the host, with its bytes unread
///                     wrong:  closed at once, with a reset
///                     not all there: one of few places, shared among addresses, for a few seconds
/// </code>
/// For whoever has not proved the key there is a descriptor and, if it makes us wait, an entry in a table: no object, no
/// buffer, no task, no key exchange.
/// </summary>
internal sealed partial class Doorkeeper : IDisposable
{
    private const int EventBatch = 256;
    private const int AcceptBatch = 256;
    private const int MaxWaiting = 1_024;
    private const int MaxWaitingPerAddress = 64;
    private const int ReservedForKnown = 256;
    private const int TickMilliseconds = 100;
    private const int ExplainedPerSecond = 16;
    private const int RememberedProofs = 32_768;
    private const ulong WakeData = ulong.MaxValue;
    private const ulong ListenerFlag = 1UL << 63;
    private static readonly TimeSpan AfterFault = TimeSpan.FromMilliseconds(50);

    /// <summary>While strangers come, they are let gather for so long: one wake-up then serves all that came, and one question to
    /// an empty queue, for which the kernel makes a socket that it drops. A node that dials meanwhile waits as long at most.</summary>
    private static readonly TimeSpan Gathering = TimeSpan.FromMilliseconds(2);

    private readonly AdmissionKeys _keys;
    private readonly AdmissionCounts _counts;
    private readonly KnownAddresses _known;
    private readonly HandshakeDebts _debts;
    private readonly MeshFaults _faults;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly Action<Exception> _report;
    private readonly TimeSpan _toProve;
    private readonly Epoll _epoll = new(EventBatch);
    private readonly WakeEvent _wake = new();
    private readonly ConcurrentQueue<Action> _posted = new();
    private readonly FairPlaces<Waiting> _waiting;
    private readonly ulong[] _proofs = new ulong[RememberedProofs];
    private readonly byte[] _arrived = GC.AllocateArray<byte>(FirstFlight.MaxLength, pinned: true);
    private ImmutableArray<Listener> _listeners = [];
    private bool _refusedSome;
    private bool _moreToAccept;
    private TokenBucket _explains = new(ExplainedPerSecond, ExplainedPerSecond);
    // Waited for hundreds of times a second under an attack, so not by spinning.
    private readonly ManualResetEventSlim _over = new(initialState: false, spinCount: 0);
    private Thread? _thread;

    /// <param name="toProve">How long the first flight may take.</param>
    internal Doorkeeper(AdmissionKeys keys, TimeSpan toProve, AdmissionCounts counts, KnownAddresses known, HandshakeDebts debts, MeshFaults faults, ILogger logger, TimeProvider time, Action<Exception> report)
    {
        (_keys, _toProve, _counts, _known, _debts, _faults, _logger, _time, _report) = (keys, toProve, counts, known, debts, faults, logger, time, report);
        _epoll.Add(_wake.Descriptor, EpollEvents.In, WakeData);
        _waiting = new FairPlaces<Waiting>(MaxWaiting, MaxWaitingPerAddress, ReservedForKnown, TimeSpan.Zero, time);
    }

    private readonly record struct Waiting(int Descriptor, InetEndpoint From, Action<int, InetEndpoint> Admit);

    private sealed record Listener(Socket Socket, int Descriptor, Action<int, InetEndpoint> Admit);

    /// <summary>Takes connections of a listening socket from now on, which it owns. From any thread.</summary>
    /// <param name="admit">Told on this thread of each one that has proved the key; the descriptor is its own from then on.</param>
    internal IAsyncDisposable Open(Socket socket, Action<int, InetEndpoint> admit)
    {
        socket.Blocking = false;
        var descriptor = (int)socket.SafeHandle.DangerousGetHandle();
        // Most of those who say nothing never become a descriptor here. The kernel's own table of requests is bounded, and
        // works by cookies when it is full.
        TcpSocket.DeferAccept(descriptor, 1);
        TcpSocket.SendAtOnce(descriptor);
        var listener = new Listener(socket, descriptor, admit);
        Post(() =>
        {
            _listeners = _listeners.Add(listener);
            _epoll.Add(descriptor, EpollEvents.In, ListenerFlag | (uint)descriptor);
        });
        return new Opened(this, listener);
    }

    internal void Start()
    {
        _thread = new Thread(Run) { IsBackground = true, Name = "edgemesh-door" };
        _thread.Start();
    }

    public void Dispose()
    {
        _over.Set();
        _wake.Set();
        _thread?.Join();
        _over.Dispose();
        _wake.Dispose();
        _epoll.Dispose();
    }

    private void Post(Action work)
    {
        _posted.Enqueue(work);
        _wake.Set();
    }

    private void Run()
    {
        while (!_over.IsSet)
        {
            try
            {
                Turn();
            }
            catch (Exception e)
            {
                _report(e);
                _over.Wait(AfterFault);
            }
        }

        while (_waiting.TryTakeOverdue(TimeSpan.Zero, out var waiting))
            TcpSocket.Abort(waiting.Descriptor);
        while (_posted.TryDequeue(out var work))
            work();
    }

    private void Turn()
    {
        if (_refusedSome && !_moreToAccept)
            _over.Wait(Gathering);
        _refusedSome = _moreToAccept = false;
        var count = _epoll.Wait(_waiting.Count > 0 ? TickMilliseconds : -1);
        for (var i = 0; i < count; i++)
        {
            var events = _epoll.EventAt(i, out var data);
            if (data == WakeData)
                _wake.Reset();
            else if ((data & ListenerFlag) == 0)
                LookAgain((long)data, events);
            else if (_listeners.FirstOrDefault(l => l.Descriptor == (int)(uint)data) is { } listener)
                Accept(listener);
        }

        while (_posted.TryDequeue(out var work))
            work();
        while (_waiting.TryTakeOverdue(_toProve, out var late))
            Refuse(late.Descriptor, AdmissionRefusal.Silent);
    }

    private void Accept(Listener listener)
    {
        for (var left = AcceptBatch; left > 0; left--)
        {
            var descriptor = TcpSocket.Accept(listener.Descriptor, out var from);
            if (descriptor >= 0)
            {
                Look(new Waiting(descriptor, from, listener.Admit));
                continue;
            }

            if (descriptor == -Errno.EAGAIN)
                return;
            // A connection that is gone already, and the like: the next may be there. Without descriptors it is not.
            if (descriptor is -Errno.EMFILE or -Errno.ENFILE or -Errno.ENOBUFS or -Errno.ENOMEM)
            {
                LogNoDescriptor(_logger, Errno.Describe(-descriptor));
                _over.Wait(AfterFault);
                return;
            }
        }

        _moreToAccept = true;
    }

    private void Look(Waiting arrived)
    {
        if (TryDecide(arrived, EpollEvents.None))
            return;
        var share = ShareOf(arrived.From);
        var hasPlace = _waiting.TryTake(share, _known.Contains(share), arrived, out var ticket, out var displaced);
        if (displaced.Is)
            Refuse(displaced.Holder.Descriptor, AdmissionRefusal.Displaced);
        if (!hasPlace)
        {
            Refuse(arrived.Descriptor, AdmissionRefusal.Displaced);
        }
        else if (_epoll.Add(arrived.Descriptor, EpollEvents.In | EpollEvents.ReadHangUp | EpollEvents.EdgeTriggered, (ulong)ticket) < 0)
        {
            _waiting.Return(ticket);
            Refuse(arrived.Descriptor, AdmissionRefusal.Displaced);
        }
    }

    private void LookAgain(long ticket, EpollEvents events)
    {
        if (!_waiting.TryGet(ticket, out var waiting))
            return;
        // Whoever takes it over watches it with an epoll of his own.
        if (TryDecide(waiting, events, watched: true))
            _waiting.Return(ticket);
    }

    /// <summary>Looks at what is there; false if more has to come.</summary>
    private unsafe bool TryDecide(in Waiting arrived, EpollEvents events, bool watched = false)
    {
        int count;
        fixed (byte* buffer = _arrived)
            count = TcpSocket.Peek(arrived.Descriptor, buffer, _arrived.Length);
        if (count is 0 || (count < 0 && count != -Errno.EAGAIN))
        {
            Refuse(arrived.Descriptor, AdmissionRefusal.Closed);
            return true;
        }

        var explain = count > 0 && _explains.HasAny(_time);
        var verdict = FirstFlight.Judge(_keys, _arrived.AsSpan(0, Math.Max(0, count)), explain, out var mark);
        switch (verdict)
        {
            case AdmissionVerdict.Proven:
                Admit(arrived, mark, watched);
                return true;
            case AdmissionVerdict.Incomplete when (events & (EpollEvents.ReadHangUp | EpollEvents.HangUp | EpollEvents.Error)) == EpollEvents.None:
                return false;
            case AdmissionVerdict.Incomplete:
                Refuse(arrived.Descriptor, AdmissionRefusal.Closed);
                return true;
            case AdmissionVerdict.Foreign:
                Refuse(arrived.Descriptor, AdmissionRefusal.Foreign);
                return true;
            default:
                if (explain && _explains.TryTake(_time) && verdict == AdmissionVerdict.OtherKey)
                    _faults.OtherKey(AddressOf(arrived.From));
                Refuse(arrived.Descriptor, AdmissionRefusal.NotProven);
                return true;
        }
    }

    private void Admit(in Waiting arrived, ulong mark, bool watched)
    {
        if (_debts.IsInDebt(ShareOf(arrived.From)))
        {
            Refuse(arrived.Descriptor, AdmissionRefusal.Unfinished);
            return;
        }

        ref var remembered = ref _proofs[mark & (RememberedProofs - 1)];
        if (remembered == mark)
        {
            Refuse(arrived.Descriptor, AdmissionRefusal.Replayed);
            return;
        }

        remembered = mark;
        if (watched)
            _epoll.Remove(arrived.Descriptor);
        _counts.Admit();
        arrived.Admit(arrived.Descriptor, arrived.From);
    }

    private void Refuse(int descriptor, AdmissionRefusal refusal)
    {
        _counts.Refuse(refusal);
        _refusedSome = true;
        // A reset: what is closed here shall not go on as a half-closed connection in the kernel. With bytes unread it is one anyway.
        if (refusal is AdmissionRefusal.Silent or AdmissionRefusal.Displaced)
            TcpSocket.Abort(descriptor);
        else
            TcpSocket.Close(descriptor);
    }

    private static AddressShare ShareOf(in InetEndpoint from) =>
        from.Address.IsIPv6 ? AddressShare.OfIPv6(from.Address.Bits) : AddressShare.OfIPv4((uint)from.Address.Bits);

    private static Multiaddr AddressOf(in InetEndpoint from) => Multiaddr.FromEndPoint(from.ToIPEndPoint());

    private sealed class Opened(Doorkeeper door, Listener listener) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            var closed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            door.Post(() =>
            {
                door._listeners = door._listeners.Remove(listener);
                listener.Socket.Dispose();
                closed.TrySetResult();
            });
            await closed.Task;
        }
    }

    [LoggerMessage(6061, LogLevel.Debug, "Connections to the tunnel's port wait: {Reason}")]
    private static partial void LogNoDescriptor(ILogger logger, string reason);
}
