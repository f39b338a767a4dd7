using EdgeMesh.Balancing;
using EdgeMesh.Catalog;
using EdgeMesh.Fairness;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;

namespace EdgeMesh.Forwarding;

internal sealed unsafe partial class ForwardingLoop
{
    /// <summary>Accepted at one time, so that a flood of new connections does not starve those that exist.</summary>
    private const int MostAcceptedAtOnce = 64;

    private const int PauseMilliseconds = 100;

    // Asking an empty queue costs the kernel a socket that it makes and drops. So only as many are asked for as were there
    // of late; the listener is level-triggered and tells of the rest.
    private int _acceptAtOnce = 1;

    private TcpListenSocket[] _listeners;
    private bool _isAccepting;
    private bool _listenersPaused;
    private long _pausedUntil;

    // Spent to accept and reset one more connection when no descriptor is left: else the queue would stay ready for ever.
    private DescriptorHandle? _reserve = DescriptorHandle.TryReserve();

    private void ListenForConnections()
    {
        for (var i = 0; i < _listeners.Length; i++)
        {
            var failure = _epoll.Add(_listeners[i].Descriptor, EpollEvents.In, FirstListenerData + (ulong)i);
            // Some may be watched already where another could not be, and all are tried again.
            if (failure < 0 && failure != -Errno.EEXIST)
                throw new IOException($"The listener {_listeners[i].Endpoint} cannot be watched: {Errno.Describe(-failure)}.");
        }

        _isAccepting = true;
    }

    private void AcceptBatch(int listenerIndex)
    {
        if (listenerIndex >= _listeners.Length)
            return;
        var listener = _listeners[listenerIndex];
        var most = _acceptAtOnce;
        for (var i = 0; i < most; i++)
        {
            var descriptor = TcpSocket.Accept(listener.Descriptor, out var client);
            if (descriptor >= 0)
            {
                Counters.Accepted++;
                AdmitOrFault(listener, descriptor, client);
                continue;
            }

            switch (-descriptor)
            {
                case Errno.EAGAIN:
                    _acceptAtOnce = Math.Max(i, 1);
                    return;
                case Errno.EMFILE or Errno.ENFILE when TryShedWithReserve(listener):
                case Errno.EINTR or Errno.ECONNABORTED or Errno.EPROTO or Errno.EPERM:
                    // The connection was gone before it was taken, or a firewall forbade it: the next may be well (accept(2)).
                    continue;
                default:
                    PauseListeners();
                    return;
            }
        }

        _acceptAtOnce = Math.Min(most * 2, MostAcceptedAtOnce);
    }

    private void AdmitOrFault(TcpListenSocket listener, int descriptor, InetEndpoint client, bool isShort = false)
    {
        try
        {
            var connection = Admit(listener, descriptor, client, isShort, out var route);
            if (connection is null)
                return;
            try
            {
                BeginDial(connection, route!);
            }
            catch (Exception e)
            {
                Fault(connection, e);
            }
        }
        catch (Exception e)
        {
            TcpSocket.Abort(descriptor);
            Fault(null, e);
        }
    }

    /// <summary>Null when the client was refused, and its descriptor is closed; else the connection owns it.</summary>
    private Connection? Admit(TcpListenSocket listener, int descriptor, InetEndpoint client, bool isShort, out Route? route)
    {
        route = null;
        if (_options.OriginalDestination(descriptor, listener.IsIPv6, out var destination) < 0 || destination == listener.Endpoint)
        {
            Refuse(descriptor, client, RefusalReason.NotRedirected, null);
            return null;
        }

        var key = new TransportAddress(destination, TransportProtocol.Tcp);
        if (!_context.Routes().Routes.TryGetValue(key, out route))
        {
            Refuse(descriptor, client, RefusalReason.NoRoute, null);
            return null;
        }

        var service = ServiceOf(route, key);
        if (route.Endpoints.IsEmpty)
        {
            service.Failed++;
            Refuse(descriptor, client, RefusalReason.NoEndpoints, service);
            return null;
        }

        if (WhyNoRoom(client, service, isShort) is { } limit)
        {
            Refuse(descriptor, client, limit, service);
            return null;
        }

        return Take(descriptor, client, service);
    }

    /// <summary>Null: there is room, perhaps made by closing another's connection.</summary>
    /// <param name="isShort">No descriptor is left.</param>
    private RefusalReason? WhyNoRoom(InetEndpoint client, LoopService service, bool isShort)
    {
        var limit = _options.MaxConnections;
        var loops = _context.Loops.Count;
        var active = isShort ? limit : _context.ActiveConnections();
        LeaveEnded();
        if (!_shares.MayEnter(client.Address, service.Share, active, limit, loops, pending: false, out var givesWay))
            return isShort ? RefusalReason.DescriptorLimit : RefusalReason.ConnectionLimit;
        GiveWay(givesWay);
        if (!_shares.MayEnter(client.Address, service.Share, _context.PendingDials(), _options.MaxPendingDials, loops, pending: true, out givesWay))
            return RefusalReason.DialLimit;
        GiveWay(givesWay);
        return null;
    }

    private void GiveWay(ShareMember? member)
    {
        if (member is null)
            return;
        Counters.GaveWay++;
        if (member is Connection connection)
            Release(connection, ConnectionOutcome.GaveWay);
        else
            TakeFromTunnel((CarriedConnection)member);
    }

    private LoopService ServiceOf(Route route, TransportAddress key)
    {
        if (!_services.TryGetValue(route.Service, out var service))
        {
            service = new LoopService(route.Service, new ServiceBalancer(_random, _context.SetAside));
            _services[route.Service] = service;
        }

        if (route.ClientIPAffinity is not null)
            service.Balancer.Affinity = _context.Affinities.Of(route.Service);
        service.LastKey = key;
        return service;
    }

    private void Refuse(int descriptor, InetEndpoint client, RefusalReason reason, LoopService? service)
    {
        // Counted first: whoever sees the reset finds the number.
        Counters.Refused[(int)reason]++;
        TcpSocket.Abort(descriptor);
        LogRefused(_context.Logger, client, service?.Name, reason);
    }

    private bool TryShedWithReserve(TcpListenSocket listener)
    {
        if (_reserve is null)
            return false;
        _reserve.Dispose();
        var descriptor = TcpSocket.Accept(listener.Descriptor, out var client);
        if (descriptor >= 0)
        {
            Counters.Accepted++;
            AdmitOrFault(listener, descriptor, client, isShort: true);
        }

        _reserve = DescriptorHandle.TryReserve();
        // Another thread may have been faster to take the freed number: then the queue cannot be drained now.
        return descriptor >= 0 && _reserve is not null;
    }

    private void PauseListeners()
    {
        _pausedUntil = _now + PauseMilliseconds;
        _listenersPaused = true;
        for (var i = 0; i < _listeners.Length; i++)
            _epoll.Change(_listeners[i].Descriptor, EpollEvents.None, FirstListenerData + (ulong)i);
        if (!_tickIsFast)
            SetTick();
    }

    private void ResumeListeners()
    {
        _reserve ??= DescriptorHandle.TryReserve();
        if (!_listenersPaused || _now < _pausedUntil)
            return;
        _listenersPaused = false;
        for (var i = 0; i < _listeners.Length; i++)
            _epoll.Change(_listeners[i].Descriptor, EpollEvents.In, FirstListenerData + (ulong)i);
    }

    private void CloseListeners()
    {
        if (_listeners.Length == 0)
            return;
        _acceptAtOnce = MostAcceptedAtOnce;
        for (var i = _listeners.Length - 1; i >= 0; i--)
        {
            // A batch is short; the bound is for a peer that connects faster than this loop accepts.
            for (var batch = 0; _acceptRest && batch < 64; batch++)
            {
                var before = Counters.Accepted;
                AcceptBatch(i);
                if (Counters.Accepted == before)
                    break;
            }

            // What another process has too is not forgotten by the kernel when it is closed here.
            _ = _epoll.Remove(_listeners[i].Descriptor);
            _listeners[i].Dispose();
            _listeners = _listeners[..i];
        }

        _listenersClosed.TrySetResult();
    }
}
