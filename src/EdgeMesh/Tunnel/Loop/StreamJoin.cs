using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>Two streams joined at a relay: bytes both ways, each end passed on by itself, a reset behind what was sent before it.
/// What one side does not take is kept, and the other's window stays smaller by it.</summary>
internal sealed class StreamJoin
{
    /// <summary>How long what came before a reset may stay without progress.</summary>
    private const int DeliveryLimitMilliseconds = 30_000;

    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Side _one;
    private readonly Side _other;

    private readonly TunnelLoop _loop;

    private StreamJoin(TunnelSession one, TunnelSession other, long? limit)
    {
        _loop = one.Loop;
        _one = new Side(this, one, limit ?? long.MaxValue);
        _other = new Side(this, other, limit ?? long.MaxValue);
        (_one.Opposite, _other.Opposite) = (_other, _one);
    }

    /// <summary>Joins two streams of sessions of one loop, from any thread, until both directions have ended.</summary>
    /// <param name="limit">Most bytes of each direction; null for no bound.</param>
    /// <exception cref="IOException">One side was lost, or the bound was reached: both are reset.</exception>
    public static async Task RunAsync((TunnelSession Session, PeerStream Stream) one, (TunnelSession Session, PeerStream Stream) other, long? limit, CancellationToken cancellationToken)
    {
        var join = new StreamJoin(one.Session, other.Session, limit);
        join._loop.Post(() => join.Begin(one.Stream, other.Stream), join.Break);
        await using var registration = cancellationToken.Register(() => join._loop.Post(() => join.Break(new OperationCanceledException(cancellationToken)), join.Break));
        await join._ended.Task;
    }

    private void Begin(PeerStream one, PeerStream other)
    {
        if (_ended.Task.IsCompleted)
            return;
        if (!one.TryPassTo(_one) || !other.TryPassTo(_other))
        {
            Break(new IOException("a stream of the relayed connection was lost"));
            return;
        }

        _one.Pass();
        _other.Pass();
    }

    private void Break(Exception reason)
    {
        if (!_ended.TrySetException(reason))
            return;
        _one.Drop();
        _other.Drop();
    }

    /// <summary>One of the two streams, as the source of its direction.</summary>
    private sealed class Side(StreamJoin join, TunnelSession session, long left) : StreamSink, ITurnTaker, IDelivery
    {
        private ByteQueue? _kept;
        private long _left = left;
        private bool _ended;
        private bool _passed;
        private bool _waits;
        private bool _isGone;
        private long _deliveredAt;
        private int _undelivered;

        public Side Opposite { get; set; } = null!;

        private TunnelSession Session => session;

        public bool IsOver => _passed;

        public void OnTurn()
        {
            _waits = false;
            Pass();
        }

        public void OnFault(Exception exception) => join.Break(exception);

        /// <summary>Passes on what is kept, and the end behind it.</summary>
        public void Pass()
        {
            if (Opposite.Drive is null || _passed)
                return;
            if (_kept is { } kept)
            {
                var count = Opposite.Put(kept.Data);
                kept.Consume(count);
                if (count > 0)
                    Consumed(count);
                if (kept.Count > 0)
                {
                    WaitForRoom();
                    return;
                }

                _kept = null;
            }

            if (_isGone)
            {
                // What it sent before has gone out; the reset follows it.
                join.Break(new IOException("one side of the relayed connection was lost"));
                return;
            }

            if (!_ended)
                return;
            _passed = true;
            Opposite.CloseWrite();
            if (Opposite._passed)
                join._ended.TrySetResult();
        }

        public void Drop()
        {
            Reset();
            _kept?.Dispose();
            _passed = true;
        }

        protected override void OnData(Span<byte> data)
        {
            // Nobody is left to take it, and the stream will be reset.
            if (Opposite._isGone)
                return;
            _left -= data.Length;
            if (_left < 0)
            {
                join.Break(new IOException("the relayed connection has carried as many bytes as it may"));
                return;
            }

            var count = 0;
            if (_kept is null && Opposite.Drive is not null)
            {
                count = Opposite.Put(data);
                // Sent now it need not be kept, which would be one more copy.
                if (count < data.Length && Opposite.IsSessionFull)
                {
                    Opposite.Session.SendNow();
                    count += Opposite.Put(data[count..]);
                }
            }

            if (count > 0)
                Consumed(count);
            if (count == data.Length)
                return;
            _kept ??= new ByteQueue(int.MaxValue);
            _kept.Append(data[count..]);
            WaitForRoom();
        }

        protected override void OnEnded()
        {
            _ended = true;
            Pass();
        }

        protected override void OnReset()
        {
            _isGone = true;
            Opposite._kept?.Dispose();
            Opposite._kept = null;
            if (_kept is null || Opposite._isGone)
            {
                join.Break(new IOException("one side of the relayed connection was lost"));
                return;
            }

            (_deliveredAt, _undelivered) = (join._loop.Now, _kept.Count);
            join._loop.AwaitDelivery(this);
            Pass();
        }

        public bool LookAtDelivery()
        {
            if (join._ended.Task.IsCompleted)
                return false;
            Pass();
            if (_kept is { } kept && kept.Count < _undelivered)
                (_deliveredAt, _undelivered) = (join._loop.Now, kept.Count);
            if (join._loop.Now - _deliveredAt >= DeliveryLimitMilliseconds)
                join.Break(new IOException("one side of the relayed connection was lost, and the other does not take what it had sent"));
            return !join._ended.Task.IsCompleted;
        }

        protected override void OnWritable() => Opposite.Pass();

        /// <summary>It is the send buffer of the stream's session that takes no more.</summary>
        private bool IsSessionFull => Session.Drive.SendRoom == 0 && !IsGone;

        private int Put(ReadOnlySpan<byte> data) => Write(data);

        /// <summary>A full window opens with an event of its own; a full send buffer gives turns.</summary>
        private void WaitForRoom()
        {
            if (_waits || !Opposite.IsSessionFull)
                return;
            _waits = true;
            Opposite.Session.WaitForRoom(this);
        }
    }
}
