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
        Counters.PendingDials++;
        DialNext(connection, connection.Dial);
    }

    private void DialNext(Connection connection, Dial dial)
    {
        while (!dial.IsExhausted && TryChoose(connection, dial, out var endpoint))
        {
            var limit = (long)_options.DialLimits[dial.Attempts].TotalMilliseconds;
            dial.Try(endpoint);
            Counters.DialAttempts++;
            connection.Endpoint = endpoint;
            // From here on an endpoint is a descriptor. One that is reached by a stream instead of a route will hand over
            // one end of a socket pair here, and the relay will not know the difference.
            var descriptor = TcpSocket.Connect(endpoint, _options.DialMark);
            if (descriptor >= 0)
            {
                connection.EndpointDescriptor = descriptor;
                var failure = _epoll.Add(descriptor, EverythingOnce, DataOf(connection, isClient: false));
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

    private bool TryChoose(Connection connection, Dial dial, out InetEndpoint endpoint)
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
            connection.Service.Balancer.Succeeded(dial.Route, connection.Client.Address, connection.Endpoint, _now);
            Counters.Dialled(_context.NowMicroseconds() - dial.StartedMicroseconds);
            EndDial(connection, dial);
            BeginRelay(connection, events);
        }
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
        Counters.PendingDials--;
        if (_freeDials.Count < 256)
            _freeDials.Push(dial);
    }

    private void DropEndpoint(Connection connection)
    {
        TcpSocket.Close(connection.EndpointDescriptor);
        connection.EndpointDescriptor = -1;
    }

    private void CountFailure(Connection connection, Dial dial, InetEndpoint endpoint, DialFailure reason)
    {
        Counters.DialFailures[(int)reason]++;
        LogDialFailed(_context.Logger, connection.Service.Name, endpoint, reason, dial.Attempts);
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
