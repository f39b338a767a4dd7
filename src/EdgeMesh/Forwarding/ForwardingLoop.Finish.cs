using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Forwarding;

/// <summary>How a connection ends:
/// <code>
///   both sides have said their end   -> closed; one whose reader is slow stays open until the kernel has delivered the rest
///   a side was reset                 -> the direction to it is dropped; what it had sent before goes on to the other side,
///                                       and the reset follows when that is acknowledged (a reset takes back what is on its way)
///   a side is silent for too long    -> as a reset
/// </code></summary>
internal sealed unsafe partial class ForwardingLoop
{
    private const int LookAtPeersMilliseconds = 30_000;
    private const int FirstDeliveryMilliseconds = 50;
    private const int LongestDeliveryMilliseconds = 1_000;

    /// <summary>How long what came before a reset may stay without progress. Whoever sent it waits for no answer any more, so a
    /// reader that pauses cannot keep the place for as long as it likes.</summary>
    private const int DeliveryLimitMilliseconds = 30_000;

    private int _delivering;

    /// <summary>A side was reset. Nothing more is read for it.</summary>
    private void LoseSide(Connection connection, bool isClient)
    {
        ref var to = ref isClient ? ref connection.ToClient : ref connection.ToEndpoint;
        ref var from = ref isClient ? ref connection.ToEndpoint : ref connection.ToClient;
        if (isClient)
            connection.ClientGone = true;
        else
            connection.EndpointGone = true;
        var bytes = to.Bytes;
        Empty(connection, ref to);
        to.Bytes = bytes;
        to.Closed = true;
        // Up to the error: the event of its last bytes may have come with that of the reset. Once the error has been told by
        // a call, the next one tells an end.
        from.Readable = from.ReadOn = true;
        from.EndBehind = false;
    }

    private void Finish(Connection connection)
    {
        if (connection.ClientGone || connection.EndpointGone)
            Deliver(connection);
        else if (!IsSlowerThanItsEnd(connection))
            Release(connection, ConnectionOutcome.Closed);
        else if (!connection.IsDelivering)
        {
            // Who is not slow has its end at once.
            TcpSocket.ShutdownWrite(connection.ClientDescriptor);
            TcpSocket.ShutdownWrite(connection.EndpointDescriptor);
            WaitForDelivery(connection);
        }
    }

    /// <summary>A socket that is closed with bytes unsent is left to the kernel, which gives up after about three minutes of a
    /// closed window, also where the peer answers.</summary>
    private static bool IsSlowerThanItsEnd(Connection connection) =>
        (connection.ToClient.WasBlocked && TcpSocket.Unacknowledged(connection.ClientDescriptor) > 0)
        || (connection.ToEndpoint.WasBlocked && TcpSocket.Unacknowledged(connection.EndpointDescriptor) > 0);

    /// <summary>Resets the side that is left once it has everything that came before.</summary>
    private void Deliver(Connection connection)
    {
        var (isOver, delivered) = DeliveryAfterReset(connection);
        if (isOver)
        {
            Release(connection, connection.ClientGone ? ConnectionOutcome.ClientReset : ConnectionOutcome.EndpointReset);
            return;
        }

        if (connection.IsDelivering)
            return;
        connection.Delivered = delivered;
        WaitForDelivery(connection);
    }

    private static (bool IsOver, long Delivered) DeliveryAfterReset(Connection connection)
    {
        if (connection.ClientGone && connection.EndpointGone)
            return (true, 0);
        ref var flow = ref connection.ClientGone ? ref connection.ToEndpoint : ref connection.ToClient;
        var waiting = TcpSocket.Unacknowledged(connection.ClientGone ? connection.EndpointDescriptor : connection.ClientDescriptor);
        return (flow.Closed && waiting == 0, flow.Bytes - flow.InPipe - (flow.UnsentEnd - flow.UnsentStart) - waiting);
    }

    private void WaitForDelivery(Connection connection)
    {
        if (connection.IsDelivering)
            return;
        connection.IsDelivering = true;
        connection.DeliveredAt = _now;
        _delivering++;
        _wheel.Set(connection, _now + FirstDeliveryMilliseconds);
        if (!_tickIsFast)
            SetTick();
    }

    private void LookAtDelivery(Connection connection)
    {
        if (connection.ClientGone || connection.EndpointGone)
        {
            var (isOver, delivered) = DeliveryAfterReset(connection);
            if (delivered > connection.Delivered)
                (connection.Delivered, connection.DeliveredAt) = (delivered, _now);
            if (isOver || _now - connection.DeliveredAt >= DeliveryLimitMilliseconds)
            {
                Release(connection, connection.ClientGone ? ConnectionOutcome.ClientReset : ConnectionOutcome.EndpointReset);
                return;
            }
        }
        else if (!IsSlowerThanItsEnd(connection))
        {
            Release(connection, ConnectionOutcome.Closed);
            return;
        }
        else if (IsAnyPeerGone(connection))
        {
            return;
        }

        var waited = (int)Math.Min(_now - connection.DeliveredAt, LongestDeliveryMilliseconds);
        _wheel.Set(connection, _now + Math.Max(waited, FirstDeliveryMilliseconds));
    }

    /// <summary>A connection that is relayed looks at its peers now and then.</summary>
    private void LookAtPeers(Connection connection)
    {
        if (!connection.IsWatched)
        {
            connection.IsWatched = true;
            TcpSocket.WatchPeer(connection.EndpointDescriptor, _options.PeerWatch);
        }

        if (!IsAnyPeerGone(connection))
            _wheel.Set(connection, _now + LookAtPeersMilliseconds);
    }

    /// <returns>True: it has been released.</returns>
    private bool IsAnyPeerGone(Connection connection)
    {
        var client = TcpSocket.ReadPeer(connection.ClientDescriptor).IsGone(_options.PeerWatch);
        if (!client && !TcpSocket.ReadPeer(connection.EndpointDescriptor).IsGone(_options.PeerWatch))
            return false;
        Release(connection, client ? ConnectionOutcome.ClientReset : ConnectionOutcome.EndpointReset);
        return true;
    }
}
