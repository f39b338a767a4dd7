using EdgeMesh.LibP2P.Connections;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>A session over a stream of another session: through a relay, which reads none of it.</summary>
internal sealed class StreamSession : TunnelSession
{
    private readonly Carrier _carrier;
    private readonly PeerStream _stream;

    public StreamSession(TunnelSession outer, ConnectionDrive drive, PeerStream stream)
        : base(outer.Loop, drive)
    {
        _stream = stream;
        _carrier = new Carrier(this, outer);
    }

    public void Start()
    {
        Begin();
        if (_stream.TryPassTo(_carrier))
            return;
        Drive.Fail(new IOException("the stream through the relay was lost"));
        MarkDirty();
    }

    /// <summary>The outer session has room again.</summary>
    public override void OnTurn()
    {
        _carrier.IsWaiting = false;
        MarkDirty();
    }

    protected override int Transmit(ReadOnlySpan<byte> bytes) => _carrier.Send(bytes);

    protected override bool TrySealInPlace() => _carrier.TrySeal();

    protected override void CloseTransport() => _carrier.Reset();

    /// <summary>The outer stream.</summary>
    private sealed class Carrier(StreamSession session, TunnelSession outer) : StreamSink
    {
        public bool IsWaiting { get; set; }

        public int Send(ReadOnlySpan<byte> bytes)
        {
            if (IsGone)
                return 0;
            var sent = Write(bytes);
            // Otherwise it is the window that is full, and its opening is told.
            if (sent < bytes.Length && outer.Drive.SendRoom == 0 && !IsWaiting)
            {
                IsWaiting = true;
                outer.WaitForRoom(session);
            }

            return sent;
        }

        /// <summary>The next message right into a frame of the outer session, which has just the room for it.</summary>
        public bool TrySeal()
        {
            if (Drive is not { } drive)
                return false;
            lock (drive.Gate)
            {
                var count = session.Drive.Seal(Reserve(int.MaxValue));
                if (count == 0)
                    return false;
                Commit(count);
                return true;
            }
        }

        protected override void OnData(Span<byte> data)
        {
            // The streams inside have windows of their own: everything is taken at once.
            session.Arrive(data);
            Consumed(data.Length);
        }

        protected override void OnEnded() => End("the peer closed the connection through the relay");

        protected override void OnReset() => End("the connection through the relay was lost");

        protected override void OnWritable() => session.MarkDirty();

        private void End(string reason)
        {
            session.Drive.Fail(new IOException(reason));
            session.MarkDirty();
        }
    }
}
