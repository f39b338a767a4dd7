namespace EdgeMesh.LibP2P.Yamux;

/// <summary>The receiving half: header, then what its flags say, then the body, then FIN.</summary>
public sealed partial class YamuxSession
{
    private readonly byte[] _header = new byte[YamuxFrame.HeaderSize];
    private int _headerCount;
    private YamuxStream? _current;
    private uint _bodyLeft;
    private bool _endAfterBody;
    private YamuxEventKind _next;
    private YamuxEventKind _afterNext;

    /// <summary>Takes the next thing out of <paramref name="input"/>; false when all of it has been taken. Whoever gets data may
    /// overwrite it.</summary>
    /// <exception cref="PeerProtocolException">The peer broke the protocol or a bound.</exception>
    public bool TryReceive(ref Span<byte> input, out YamuxEvent happened)
    {
        happened = default;
        while (true)
        {
            if (_next != YamuxEventKind.None)
            {
                happened = new YamuxEvent { Kind = _next, Stream = _current };
                (_next, _afterNext) = (_afterNext, YamuxEventKind.None);
                return true;
            }

            if (_bodyLeft > 0)
            {
                if (input.IsEmpty)
                    return false;
                var length = (int)Math.Min(_bodyLeft, (uint)input.Length);
                var data = input[..length];
                input = input[length..];
                _bodyLeft -= (uint)length;
                // The stream may have been reset here while its data was on the way.
                if (_current is null or { IsGone: true })
                    continue;
                happened = new YamuxEvent { Kind = YamuxEventKind.Data, Stream = _current, Data = data };
                return true;
            }

            if (_endAfterBody)
            {
                _endAfterBody = false;
                if (End() is not { } ended)
                    continue;
                happened = new YamuxEvent { Kind = YamuxEventKind.Ended, Stream = ended };
                return true;
            }

            if (!TryReadHeader(ref input, out var frame))
                return false;
            if (TakeHeader(frame, out happened))
                return true;
        }
    }

    private bool TryReadHeader(ref Span<byte> input, out YamuxFrame frame)
    {
        frame = default;
        if (_headerCount == 0 && input.Length >= YamuxFrame.HeaderSize)
        {
            frame = YamuxFrame.Read(input);
            input = input[YamuxFrame.HeaderSize..];
            return true;
        }

        var taken = Math.Min(YamuxFrame.HeaderSize - _headerCount, input.Length);
        input[..taken].CopyTo(_header.AsSpan(_headerCount));
        input = input[taken..];
        _headerCount += taken;
        if (_headerCount < YamuxFrame.HeaderSize)
            return false;
        _headerCount = 0;
        frame = YamuxFrame.Read(_header);
        return true;
    }

    private bool TakeHeader(YamuxFrame frame, out YamuxEvent happened)
    {
        happened = default;
        _current = null;
        switch (frame.Type)
        {
            case YamuxType.Ping:
                return TakePing(frame, out happened);
            case YamuxType.GoAway:
                _pace.Empty();
                PeerIsLeaving = true;
                happened = new YamuxEvent { Kind = YamuxEventKind.GoAway, Code = frame.Length };
                return true;
            default:
                TakeStreamFrame(frame);
                return false;
        }
    }

    private bool TakePing(YamuxFrame frame, out YamuxEvent happened)
    {
        happened = default;
        if ((frame.Flags & YamuxFlags.Syn) != YamuxFlags.None)
        {
            _pace.Ping();
            Frame(YamuxType.Ping, YamuxFlags.Ack, 0, frame.Length);
            return false;
        }

        if (!IsPingPending || frame.Length != _pingId)
        {
            _pace.Empty();
            return false;
        }

        RoundTrip = _time.GetElapsedTime(_pingSent);
        _pingSent = -1;
        happened = new YamuxEvent { Kind = YamuxEventKind.Pong };
        return true;
    }

    private void TakeStreamFrame(YamuxFrame frame)
    {
        if (frame.Stream == 0)
            throw new PeerProtocolException("a yamux data frame without a stream");
        if ((frame.Flags & YamuxFlags.Syn) != YamuxFlags.None)
            OpenInbound(frame.Stream);
        else
            _current = _streams.GetValueOrDefault(frame.Stream);
        _pace.StreamFrame(frame, _current is not null);

        if (frame.Type == YamuxType.Data)
        {
            _bodyLeft = frame.Length;
            if (frame.Length > (_current?.ReceiveWindow ?? (uint)_options.MaxWindow))
                throw new PeerProtocolException($"the peer sent {frame.Length} bytes into a window of {_current?.ReceiveWindow ?? (uint)_options.MaxWindow}");
        }

        if (_current is not { } stream)
            return;
        if ((frame.Flags & YamuxFlags.Ack) != YamuxFlags.None && !stream.IsInbound && !stream.Acknowledged)
        {
            Acknowledge(stream);
            Then(YamuxEventKind.Acknowledged);
        }

        if ((frame.Flags & YamuxFlags.Rst) != YamuxFlags.None)
        {
            Remove(stream);
            Then(YamuxEventKind.Reset);
        }
        else if (frame.Type == YamuxType.Data)
        {
            if (stream.ReadClosed && frame.Length > 0)
                throw new PeerProtocolException("the peer sent data on a yamux stream that it had ended");
            stream.ReceiveWindow -= frame.Length;
        }
        else if (frame.Length > 0)
        {
            if (frame.Length > uint.MaxValue - stream.SendWindow)
                throw new PeerProtocolException("the peer's yamux window overflows");
            stream.SendWindow += frame.Length;
            Then(YamuxEventKind.Writable);
        }

        _endAfterBody = (frame.Flags & (YamuxFlags.Fin | YamuxFlags.Rst)) == YamuxFlags.Fin;
    }

    private void OpenInbound(uint id)
    {
        if ((id % 2 == 1) == _dialer)
            throw new PeerProtocolException("the peer opened a yamux stream with one of this side's numbers");
        if (_streams.ContainsKey(id))
            throw new PeerProtocolException("the peer opened a yamux stream that is open");
        _pace.Opened();
        // Those that ended since the last one; some of them by this side, where nobody expects the peer's fault.
        for (; _fruitless > 0; _fruitless--)
            _pace.Fruitless();
        if (_inbound >= MaxInboundStreams)
        {
            _pace.Fruitless();
            Frame(YamuxType.WindowUpdate, YamuxFlags.Rst, id, 0);
            return;
        }

        _current = new YamuxStream(id, inbound: true, _time.GetTimestamp());
        _streams.Add(id, _current);
        _inbound++;
        if (!_options.AcknowledgesWithFirstFrame)
            Frame(YamuxType.WindowUpdate, TakeAcknowledgement(_current), id, 0);
        Then(YamuxEventKind.Opened);
    }

    private YamuxStream? End()
    {
        if (_current is not { IsGone: false, ReadClosed: false } stream)
            return null;
        stream.ReadClosed = true;
        if (stream.WriteClosed)
            Remove(stream);
        return stream;
    }

    private void Then(YamuxEventKind kind)
    {
        if (_next == YamuxEventKind.None)
            _next = kind;
        else
            _afterNext = kind;
    }
}
