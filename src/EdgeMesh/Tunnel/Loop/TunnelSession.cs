using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Connections;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>One connection to a peer, driven by the loop. While nothing is in flight it holds no buffer.</summary>
internal abstract class TunnelSession : ITurnTaker
{
    /// <summary>More room than the headers of the frames take that open a stream and bring its request.</summary>
    internal const int FrameHeaders = 1024;

    private const int OpenersPerTurn = 64;

    private readonly LiveQueue<ITurnTaker> _waiters = new(static taker => taker.IsOver);
    private readonly LiveQueue<ITurnTaker> _openers = new(static taker => taker.IsOver);
    private readonly Action _markDirty;
    private byte[]? _input;
    private int _inputStart;
    private int _inputEnd;
    private byte[]? _unsent;
    private int _unsentStart;
    private int _unsentEnd;
    private bool _dirty;
    private int _posted;

    protected TunnelSession(TunnelLoop loop, ConnectionDrive drive)
    {
        Loop = loop;
        Drive = drive;
        _markDirty = () =>
        {
            Volatile.Write(ref _posted, 0);
            MarkDirty();
        };
    }

    public TunnelLoop Loop { get; }

    public ConnectionDrive Drive { get; }

    /// <summary>Closed, sinks and all.</summary>
    public bool IsOver { get; private set; }

    /// <summary>Takes a turn when something has arrived, with which a stream may have been acknowledged or ended.</summary>
    public void WaitForStream(ITurnTaker taker) => _openers.Enqueue(taker);

    /// <summary>Takes a turn when there is room to send again.</summary>
    public void WaitForRoom(ITurnTaker taker) => _waiters.Enqueue(taker);

    public abstract void OnTurn();

    public void OnFault(Exception exception)
    {
        Drive.Fail(exception);
        MarkDirty();
    }

    /// <summary>At the end of a turn: sends what has gathered, and closes when the connection has failed.</summary>
    public void Serve()
    {
        _dirty = false;
        if (IsOver)
            return;
        SendNow();
        if (Drive.Connection.Failure is not null)
            Close();
    }

    /// <summary>Sends what has gathered without waiting for the end of the turn, for the sake of the room.</summary>
    public void SendNow()
    {
        try
        {
            Flush();
        }
        catch (Exception e)
        {
            Loop.Fault(e);
            Drive.Fail(e);
        }
    }

    /// <summary>The loop's thread has taken the transport over.</summary>
    protected void Begin()
    {
        Drive.Woken = Wake;
        if (Drive.Ahead.Length > 0)
            Arrive(Drive.Ahead);
        MarkDirty();
    }

    /// <summary>Sends bytes: how many were taken, or a negated errno.</summary>
    protected abstract int Transmit(ReadOnlySpan<byte> bytes);

    /// <summary>Encrypts the next message where it is sent from; false if there is none, or no room for all of it.</summary>
    protected virtual bool TrySealInPlace() => false;

    /// <summary>Closes what the session runs over.</summary>
    protected abstract void CloseTransport();

    /// <summary>Bytes that were read elsewhere; whole messages among them are decrypted where they are.</summary>
    protected void Arrive(Span<byte> bytes)
    {
        if (_input is null && !IsOver)
            bytes = bytes[Receive(bytes)..];
        while (!bytes.IsEmpty && !IsOver)
        {
            var space = InputSpace();
            var count = Math.Min(space.Length, bytes.Length);
            bytes[..count].CopyTo(space);
            bytes = bytes[count..];
            TakeInput(count);
        }
    }

    /// <summary>Where the next bytes are to be read to; at least the length of a message is free.</summary>
    protected Span<byte> InputSpace()
    {
        _input ??= Loop.RentInput();
        if (_input.Length - _inputEnd < 128 * 1024)
        {
            _input.AsSpan(_inputStart, _inputEnd - _inputStart).CopyTo(_input);
            _inputEnd -= _inputStart;
            _inputStart = 0;
        }

        return _input.AsSpan(_inputEnd);
    }

    /// <summary>So many bytes are there now.</summary>
    protected void TakeInput(int count)
    {
        _inputEnd += count;
        _inputStart += Receive(_input.AsSpan(_inputStart, _inputEnd - _inputStart));
        if (_inputStart == _inputEnd)
            ReturnInput();
    }

    /// <summary>Nothing was read after all.</summary>
    protected void GiveInputBack()
    {
        if (_inputStart == _inputEnd)
            ReturnInput();
    }

    protected void MarkDirty()
    {
        if (_dirty || IsOver)
            return;
        _dirty = true;
        Loop.MarkDirty(this);
    }

    private void Wake()
    {
        if (Loop.IsCurrent)
            MarkDirty();
        else if (Interlocked.Exchange(ref _posted, 1) == 0)
            Loop.Post(_markDirty, OnFault);
    }

    /// <summary>Takes what has arrived and says how much of it; all, after a failure, for the rest is of no use.</summary>
    private int Receive(Span<byte> arrived)
    {
        int taken;
        try
        {
            taken = Drive.Receive(arrived);
        }
        catch (Exception e) when (e is PeerProtocolException or IOException)
        {
            Drive.Fail(e);
            return arrived.Length;
        }

        for (var left = Math.Min(OpenersPerTurn, _openers.Count); left > 0; left--)
            Loop.TakeTurnLater(_openers.Dequeue());
        return taken;
    }

    private void Flush()
    {
        while (true)
        {
            if (_unsent is not null && !SendUnsent())
                return;
            if (TrySealInPlace())
                continue;
            var count = Drive.Seal(Loop.SealBuffer);
            if (count == 0)
                break;
            var sent = Transmit(Loop.SealBuffer.AsSpan(0, count));
            if (sent == count)
                continue;
            if (!IsTaken(ref sent))
                return;
            _unsent = Loop.RentUnsent();
            Loop.SealBuffer.AsSpan(sent, count - sent).CopyTo(_unsent);
            _unsentStart = 0;
            _unsentEnd = count - sent;
            return;
        }

        // Each gets a turn of its own, so that none can fill the room of all.
        for (var left = _waiters.Count; left > 0; left--)
            Loop.TakeTurnLater(_waiters.Dequeue());
    }

    private bool SendUnsent()
    {
        var sent = Transmit(_unsent.AsSpan(_unsentStart, _unsentEnd - _unsentStart));
        if (!IsTaken(ref sent))
            return false;
        _unsentStart += sent;
        if (_unsentStart < _unsentEnd)
            return false;
        Loop.ReturnUnsent(_unsent!);
        _unsent = null;
        return true;
    }

    /// <summary>Makes "none at the moment" a count of 0; false after a failure.</summary>
    private bool IsTaken(ref int sent)
    {
        if (sent == -Linux.Sockets.Errno.EAGAIN)
            sent = 0;
        if (sent >= 0)
            return true;
        Drive.Fail(new IOException(Linux.Sockets.Errno.Describe(-sent)));
        return false;
    }

    private void ReturnInput()
    {
        if (_input is { } input)
            Loop.ReturnInput(input);
        _input = null;
        _inputStart = _inputEnd = 0;
    }

    private void Close()
    {
        IsOver = true;
        ReturnInput();
        if (_unsent is { } unsent)
            Loop.ReturnUnsent(unsent);
        _unsent = null;
        try
        {
            CloseTransport();
        }
        finally
        {
            Drive.Finish();
        }

        // Whoever waits for room finds the stream gone.
        while (_waiters.TryDequeue(out var taker) || _openers.TryDequeue(out taker))
            Loop.TakeTurnLater(taker);
    }
}
