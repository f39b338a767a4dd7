using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Forwarding;

internal sealed unsafe partial class ForwardingLoop
{
    /// <summary>Bytes that one direction may move before the others have their turn.</summary>
    private const int TurnBytes = 1024 * 1024;

    private void BeginRelay(Connection connection, EpollEvents endpointEvents)
    {
        _wheel.Set(connection, _now + WatchPeerAfterMilliseconds);
        // What the client has sent so far goes out before it is registered, and registering tells what came in between.
        Pump(connection, ref connection.ToEndpoint, connection.ClientDescriptor, connection.EndpointDescriptor, isToEndpoint: true);
        if (!connection.IsOpen)
            return;
        if (_epoll.Add(connection.ClientDescriptor, EverythingOnce, DataOf(connection, isClient: true)) < 0)
        {
            Release(connection, ConnectionOutcome.Fault);
            return;
        }

        if (endpointEvents != EpollEvents.None || connection.EndpointGone)
            Relay(connection, isClient: false, endpointEvents);
    }

    private void Relay(Connection connection, bool isClient, EpollEvents events)
    {
        connection.LastActive = _now;
        if (isClient)
            Note(ref connection.ToEndpoint, ref connection.ToClient, events);
        else
            Note(ref connection.ToClient, ref connection.ToEndpoint, events);
        if ((events & EpollEvents.Error) != EpollEvents.None)
            LoseSide(connection, isClient);

        Pump(connection, ref connection.ToEndpoint, connection.ClientDescriptor, connection.EndpointDescriptor, isToEndpoint: true);
        if (!connection.IsOpen)
            return;
        Pump(connection, ref connection.ToClient, connection.EndpointDescriptor, connection.ClientDescriptor, isToEndpoint: false);
        if (!connection.IsOpen)
            return;

        // A side that was lost while its own direction was pumped has perhaps sent something before.
        if (connection.EndpointGone && !connection.ToClient.Closed)
            Pump(connection, ref connection.ToClient, connection.EndpointDescriptor, connection.ClientDescriptor, isToEndpoint: false);
        if (connection.ClientGone && !connection.ToEndpoint.Closed)
            Pump(connection, ref connection.ToEndpoint, connection.ClientDescriptor, connection.EndpointDescriptor, isToEndpoint: true);
        if ((connection.ToEndpoint.Closed && connection.ToClient.Closed) || (connection.ClientGone && connection.EndpointGone))
            Finish(connection);
        else if (connection.ClientGone || connection.EndpointGone)
            Deliver(connection);
    }

    /// <param name="from">The flow whose source the event is about.</param>
    /// <param name="to">The flow whose destination it is.</param>
    private static void Note(ref Flow from, ref Flow to, EpollEvents events)
    {
        const EpollEvents MoreBehind = EpollEvents.ReadHangUp | EpollEvents.HangUp | EpollEvents.Error | EpollEvents.Priority;
        if ((events & (EpollEvents.In | MoreBehind)) != EpollEvents.None)
            from.Readable = true;
        if ((events & MoreBehind) != EpollEvents.None)
        {
            from.ReadOn = true;
            from.EndBehind = (events & MoreBehind & ~EpollEvents.HangUp) == EpollEvents.ReadHangUp;
        }

        if ((events & (EpollEvents.Out | EpollEvents.HangUp | EpollEvents.Error)) != EpollEvents.None)
            to.Blocked = false;
    }

    /// <summary>Moves bytes of one direction until its source is empty, its destination is full, or its turn is over. A side that
    /// turns out to be reset ends the direction to it, and the other one when it is empty.</summary>
    private void Pump(Connection connection, ref Flow flow, int from, int to, bool isToEndpoint)
    {
        if (flow.Closed)
            return;
        for (var left = TurnBytes; ;)
        {
            if (flow.Blocked)
                break;
            int moved;
            if (flow.Buffer is not null || flow.InPipe > 0)
            {
                moved = WriteUnsent(ref flow, to);
                if (moved == -Errno.EAGAIN)
                {
                    flow.Blocked = flow.WasBlocked = true;
                    break;
                }

                if (moved < 0)
                {
                    LoseSide(connection, isClient: !isToEndpoint);
                    return;
                }

                continue;
            }

            if (flow.Ended)
            {
                flow.Closed = true;
                // When the other direction is done too, closing says the same; and a reset is no end of a stream.
                if (!(isToEndpoint ? connection.ToClient.Closed || connection.ClientGone : connection.ToEndpoint.Closed || connection.EndpointGone))
                    TcpSocket.ShutdownWrite(to);
                break;
            }

            if (!flow.Readable)
                break;
            if (left <= 0)
            {
                TakeTurnLater(connection);
                break;
            }

            if (isToEndpoint && flow.Bytes > 0 && !connection.SendsAtOnce)
            {
                connection.SendsAtOnce = true;
                TcpSocket.SendAtOnce(to);
            }

            moved = flow.Bulk && TryLendPipe(connection, ref flow) ? SpliceIn(ref flow, from) : CopyThrough(ref flow, from, to);
            if (moved > 0)
            {
                left -= moved;
                Count(connection, ref flow, moved, isToEndpoint);
            }
            else if (moved == 0)
            {
                flow.Ended = true;
                flow.Readable = false;
            }
            else if (moved == -Errno.EAGAIN)
            {
                flow.Readable = flow.ReadOn = flow.EndBehind = false;
            }
            else
            {
                // Sending and receiving fail alike once a side is reset; which one it was, the source's own state tells.
                var sourceIsGone = flow.Readable;
                LoseSide(connection, isClient: sourceIsGone == isToEndpoint);
                if (!sourceIsGone)
                    return;
                flow.Ended = true;
                flow.Readable = false;
            }
        }

        GiveBackPipe(connection, ref flow);
    }

    /// <summary>Reads into the loop's buffer and writes it out at once; only what does not fit gets a buffer of its own.
    /// Returns the bytes read, 0 at the end, or a negated errno; when it was the destination that failed,
    /// <see cref="Flow.Readable"/> is false.</summary>
    private int CopyThrough(ref Flow flow, int from, int to)
    {
        fixed (byte* buffer = _buffer)
        {
            var count = TcpSocket.Receive(from, buffer, RelayResources.BufferSize);
            if (count <= 0)
                return count;
            if (count == RelayResources.BufferSize)
                flow.Bulk = true;
            else if (flow.EndBehind)
                (flow.Ended, flow.Readable) = (true, false);
            else if (!flow.ReadOn)
                // The socket was empty at that moment, and no end was announced before it: whatever comes makes a new edge.
                flow.Readable = false;

            var sent = TcpSocket.Send(to, buffer, count, endFollows: flow.Ended);
            if (sent < 0 && sent != -Errno.EAGAIN)
            {
                flow.Readable = false;
                return sent;
            }

            if (sent < count)
            {
                sent = Math.Max(sent, 0);
                KeepUnsent(ref flow, sent, count);
                flow.Blocked = flow.WasBlocked = true;
            }

            return count;
        }
    }

    /// <summary>Sets aside what is in the loop's buffer from <paramref name="start"/> to <paramref name="end"/>.</summary>
    private void KeepUnsent(ref Flow flow, int start, int end)
    {
        flow.Buffer = _resources.RentBuffer();
        _buffer.AsSpan(start, end - start).CopyTo(flow.Buffer);
        flow.UnsentStart = 0;
        flow.UnsentEnd = end - start;
    }

    private int WriteUnsent(ref Flow flow, int to)
    {
        int sent;
        if (flow.Buffer is { } unsent)
        {
            fixed (byte* buffer = unsent)
                sent = TcpSocket.Send(to, buffer + flow.UnsentStart, flow.UnsentEnd - flow.UnsentStart);
            if (sent > 0 && (flow.UnsentStart += sent) == flow.UnsentEnd)
            {
                _resources.Return(unsent);
                flow.Buffer = null;
            }

            return sent;
        }

        sent = TcpSocket.SpliceOut(flow.Pipe!, to, flow.InPipe);
        if (sent > 0)
            flow.InPipe -= sent;
        return sent;
    }

    private bool TryLendPipe(Connection connection, ref Flow flow)
    {
        if (flow.Pipe is not null)
            return true;
        // Beyond half of them each client has its share only; the others' bytes are copied.
        var client = connection.OfClient!;
        if (_resources.PipesLent >= _options.PipesPerLoop / 2 && client.Pipes > _options.PipesPerLoop / Math.Max(1, _shares.Clients))
            return false;
        flow.Pipe = _resources.TryRentPipe();
        if (flow.Pipe is null)
            return false;
        client.Pipes++;
        return true;
    }

    private static int SpliceIn(ref Flow flow, int from)
    {
        // The pipe is empty here, so EAGAIN can only mean the socket.
        var count = TcpSocket.SpliceIn(from, flow.Pipe!);
        if (count > 0)
            flow.InPipe = count;
        if (count < RelayResources.BufferSize)
            flow.Bulk = count == -Errno.EAGAIN && flow.Bulk;
        return count;
    }

    private void GiveBackPipe(Connection connection, ref Flow flow)
    {
        if (flow.Pipe is null || flow.InPipe > 0)
            return;
        _resources.Return(flow.Pipe, isEmpty: true);
        flow.Pipe = null;
        connection.OfClient!.Pipes--;
    }

    private void TakeTurnLater(Connection connection)
    {
        if (connection.HasTurn)
            return;
        connection.HasTurn = true;
        _turns.Enqueue((connection, connection.Generation));
    }

    private void Count(Connection connection, ref Flow flow, int bytes, bool isToEndpoint)
    {
        flow.Bytes += bytes;
        if (isToEndpoint)
        {
            Counters.BytesToEndpoints += bytes;
            connection.Service.BytesToEndpoints += bytes;
        }
        else
        {
            Counters.BytesToClients += bytes;
            connection.Service.BytesToClients += bytes;
        }
    }
}
