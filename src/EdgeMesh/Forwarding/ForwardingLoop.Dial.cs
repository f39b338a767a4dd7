using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Forwarding;

internal sealed unsafe partial class ForwardingLoop
{
    private const EpollEvents EverythingOnce =
        EpollEvents.In | EpollEvents.Out | EpollEvents.ReadHangUp | EpollEvents.Priority | EpollEvents.EdgeTriggered;

    /// <summary>Short connections end before this and are spared the five calls.</summary>
    private const int WatchPeerAfterMilliseconds = 10_000;

    private void BeginDial(Connection connection, Route route)
    {
        connection.Dial = _freeDials.TryPop(out var dial) ? dial : new Dial(_options.DialLimits.Length);
        connection.Dial.Begin(route, _context.NowMicroseconds());
        _shares.BeginPending(connection);
        Counters.PendingDials++;
        if (ReadFirstBytes(connection, out var count))
            DialNext(connection, connection.Dial, count);
    }

    /// <summary>A client's request is usually here as soon as it is accepted, and the way to a near endpoint stands when the
    /// call that makes it returns: then the request goes out at once, in the packet that ends the handshake. False when
    /// the client is gone, and with it the connection.</summary>
    /// <param name="count">Bytes in the loop's buffer.</param>
    private bool ReadFirstBytes(Connection connection, out int count)
    {
        ref var flow = ref connection.ToEndpoint;
        fixed (byte* buffer = _buffer)
            count = TcpSocket.Receive(connection.ClientDescriptor, buffer, RelayResources.BufferSize);
        if (count > 0)
        {
            Count(connection, ref flow, count, isToEndpoint: true);
            flow.Bulk = flow.Readable = count == RelayResources.BufferSize;
            return true;
        }

        if (count < 0 && count != -Errno.EAGAIN)
        {
            Release(connection, ConnectionOutcome.ClientReset);
            return false;
        }

        flow.Ended = count == 0;
        flow.Readable = count != 0;
        count = 0;
        return true;
    }

    /// <param name="inBuffer">The client's first bytes, as long as they stand in the loop's buffer only.</param>
    private void DialNext(Connection connection, Dial dial, int inBuffer = 0)
    {
        while (!dial.IsExhausted && TryChoose(connection, dial, out var endpoint))
        {
            if (TryCarry(connection, dial, endpoint, inBuffer))
                return;
            var limit = (long)_options.DialLimits[dial.Attempts].TotalMilliseconds;
            dial.Try(endpoint);
            Counters.DialAttempts++;
            connection.Endpoint = endpoint;
            var descriptor = TcpSocket.Connect(endpoint.Address, _options.DialMark, inBuffer > 0 || connection.ToEndpoint.Buffer is not null);
            if (descriptor >= 0)
            {
                connection.EndpointDescriptor = descriptor;
                var failure = inBuffer > 0 ? TrySendFirstBytes(connection, ref inBuffer) : -Errno.EAGAIN;
                if (failure is 0 or -Errno.EAGAIN)
                {
                    var answered = failure == 0;
                    failure = _epoll.Add(descriptor, EverythingOnce, DataOf(connection, isClient: false));
                    if (failure == 0 && answered)
                    {
                        DialSucceeded(connection, dial, EpollEvents.None);
                        return;
                    }
                }

                if (failure == 0)
                {
                    _wheel.Set(connection, _now + limit);
                    if (!_tickIsFast)
                        SetTick();
                    return;
                }

                DropEndpoint(connection);
                descriptor = failure;
            }

            var reason = ReasonOf(-descriptor);
            CountFailure(connection, dial, endpoint, reason);
            if (reason == DialFailure.NoDescriptor)
            {
                // The next endpoint would need one too.
                Release(connection, ConnectionOutcome.NoDescriptor);
                return;
            }
        }

        Release(connection, ConnectionOutcome.DialFailed);
    }

    /// <summary>0 when the endpoint has taken (some of) them, so that it is there; else a negated errno, EAGAIN while it has
    /// not answered. What it did not take is the connection's afterwards, unless the attempt has failed.</summary>
    private int TrySendFirstBytes(Connection connection, ref int inBuffer)
    {
        int sent;
        fixed (byte* buffer = _buffer)
            sent = TcpSocket.Send(connection.EndpointDescriptor, buffer, inBuffer);
        if (sent < 0 && sent != -Errno.EAGAIN)
            return sent;
        if (sent < inBuffer)
            KeepUnsent(ref connection.ToEndpoint, Math.Max(sent, 0), inBuffer);
        inBuffer = 0;
        return Math.Min(sent, 0);
    }

    private bool TryChoose(Connection connection, Dial dial, out ServiceEndpoint endpoint)
    {
        if (connection.Service.Balancer.TryChoose(dial.Route, connection.Client.Address, dial.Tried, _now, out endpoint))
            return true;
        // All have been tried. One that did not answer in the short first time may do so in the next, longer one;
        // one that refused will refuse again.
        endpoint = dial.TimedOut.GetValueOrDefault();
        return dial.TimedOut is not null;
    }

    private void DialEvent(Connection connection, EpollEvents events)
    {
        var dial = connection.Dial!;
        if ((events & (EpollEvents.Error | EpollEvents.HangUp)) != EpollEvents.None)
        {
            var error = TcpSocket.TakeError(connection.EndpointDescriptor);
            DropEndpoint(connection);
            CountFailure(connection, dial, connection.Endpoint, ReasonOf(error));
            DialNext(connection, dial);
        }
        else if ((events & EpollEvents.Out) != EpollEvents.None)
        {
            DialSucceeded(connection, dial, events);
        }
    }

    private void DialSucceeded(Connection connection, Dial dial, EpollEvents events)
    {
        connection.Service.Balancer.Succeeded(dial.Route, connection.Client.Address, connection.Endpoint, _now);
        Counters.Dialled(_context.NowMicroseconds() - dial.StartedMicroseconds);
        EndDial(connection, dial);
        BeginRelay(connection, events);
    }

    private void DialTimedOut(Connection connection)
    {
        var dial = connection.Dial!;
        DropEndpoint(connection);
        dial.TimedOut = connection.Endpoint;
        CountFailure(connection, dial, connection.Endpoint, DialFailure.Timeout);
        DialNext(connection, dial);
    }

    private void EndDial(Connection connection, Dial dial)
    {
        connection.Dial = null;
        _shares.EndPending(connection);
        Counters.PendingDials--;
        if (_freeDials.Count < 256)
            _freeDials.Push(dial);
    }

    private void DropEndpoint(Connection connection)
    {
        TcpSocket.Close(connection.EndpointDescriptor);
        connection.EndpointDescriptor = -1;
    }

    private void CountFailure(Connection connection, Dial dial, ServiceEndpoint endpoint, DialFailure reason)
    {
        Counters.DialFailures[(int)reason]++;
        LogDialFailed(_context.Logger, connection.Service.Name, endpoint.Address, reason, dial.Attempts);
        // Only what the endpoint or the way to it caused counts against the endpoint.
        if (reason is DialFailure.Timeout or DialFailure.Refused or DialFailure.Unreachable)
            connection.Service.Balancer.Failed(endpoint, _now);
    }

    private static DialFailure ReasonOf(int errno) => errno switch
    {
        Errno.ETIMEDOUT => DialFailure.Timeout,
        Errno.ECONNREFUSED or Errno.ECONNRESET => DialFailure.Refused,
        Errno.ENETUNREACH or Errno.EHOSTUNREACH or Errno.ENETDOWN => DialFailure.Unreachable,
        Errno.EADDRNOTAVAIL => DialFailure.NoLocalPort,
        Errno.EMFILE or Errno.ENFILE or Errno.ENOMEM or Errno.ENOBUFS => DialFailure.NoDescriptor,
        Errno.EPERM or Errno.EACCES => DialFailure.NotPermitted,
        _ => DialFailure.Other,
    };
}
