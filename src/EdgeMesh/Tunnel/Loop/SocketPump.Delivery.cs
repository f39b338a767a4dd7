using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>The end of a connection whose local socket has not taken everything yet: as on the direct path, whose
/// loop does the same.</summary>
internal abstract partial class SocketPump
{
    /// <summary>How long what came before a reset may stay without progress.</summary>
    private const int DeliveryLimitMilliseconds = 30_000;

    /// <inheritdoc/>
    public bool LookAtDelivery()
    {
        if (!_delivering)
            return false;
        if (_localGone)
            return LookAtLastBytes();
        if (_kept is null && TcpSocket.Unacknowledged(Descriptor) == 0)
            return CloseAfterDelivery(abort: _streamGone);
        var left = (_kept?.Count ?? 0) + TcpSocket.Unacknowledged(Descriptor);
        if (left < _undelivered)
            _deliveredAt = Loop.Now;
        _undelivered = left;
        if ((_streamGone && Loop.Now - _deliveredAt >= DeliveryLimitMilliseconds) || IsLocalSilent())
            return CloseAfterDelivery(abort: true);
        return true;
    }

    /// <summary>What a local side sent before it was reset goes out as the stream takes it. Nobody waits for an answer any more, so
    /// a reader that pauses cannot keep the place for as long as it likes.</summary>
    private bool LookAtLastBytes()
    {
        if (BytesOut != _undelivered)
            (_undelivered, _deliveredAt) = (BytesOut, Loop.Now);
        if (Loop.Now - _deliveredAt < DeliveryLimitMilliseconds)
            return true;
        Break(TunnelEndOf.Local);
        return false;
    }

    /// <summary>Now and then: a local side that is gone while bytes are on their way to it is given up.</summary>
    public void LookAtLocal()
    {
        if (_carrying && Descriptor >= 0 && IsLocalSilent())
            Break(TunnelEndOf.Local);
    }

    private bool IsLocalSilent() => TcpSocket.ReadPeer(Descriptor).IsGone(Loop.Options.Watch);

    private bool CloseAfterDelivery(bool abort)
    {
        CloseLocal(_streamGone ? TunnelEndOf.Stream : TunnelEndOf.Both, abort);
        return false;
    }

    /// <summary>The stream was reset: so will be the local socket, once it has what came before.</summary>
    private void Deliver()
    {
        if (_kept is null && TcpSocket.Unacknowledged(Descriptor) == 0)
            CloseLocal(TunnelEndOf.Stream, abort: true);
        else
            WaitForDelivery();
    }

    /// <summary>Both ends have been passed on. A slow reader's socket stays until the kernel has delivered the rest: once it is
    /// closed, the kernel gives up after about three minutes of a closed window.</summary>
    private void CloseDelivered()
    {
        if (!_wasBlocked || TcpSocket.Unacknowledged(Descriptor) == 0)
        {
            CloseLocal(TunnelEndOf.Both, abort: false);
            return;
        }

        TcpSocket.ShutdownWrite(Descriptor);
        WaitForDelivery();
    }

    private void WaitForDelivery()
    {
        if (_delivering)
            return;
        (_delivering, _deliveredAt, _undelivered) = (true, Loop.Now, long.MaxValue);
        Loop.AwaitDelivery(this);
    }
}
