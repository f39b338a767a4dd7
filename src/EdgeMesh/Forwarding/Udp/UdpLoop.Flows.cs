using EdgeMesh.Balancing;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Forwarding.Udp;

/// <summary>Life and death of flows.</summary>
internal sealed partial class UdpLoop
{
    private UdpFlow? Open(in InetEndpoint client, int datagrams)
    {
        if (_stopAccepting)
            return Refuse(UdpDropReason.Stopping, datagrams);
        switch (_originalDestination(_address, client, out var original, out var errno))
        {
            case ConntrackAnswer.NotTracked:
                return Refuse(UdpDropReason.NotRedirected, datagrams);
            case ConntrackAnswer.Unavailable:
                if (!_lookupFailureLogged)
                {
                    _lookupFailureLogged = true;
                    LogLookupFailed(DatagramErrors.Describe(errno));
                }

                return Refuse(UdpDropReason.LookupFailed, datagrams);
            default:
                break;
        }

        if (original == _address)
            return Refuse(UdpDropReason.NotRedirected, datagrams);
        var table = Volatile.Read(ref _routes);
        if (!table.Routes.TryGetValue(new TransportAddress(original, TransportProtocol.Udp), out var route))
            return Refuse(UdpDropReason.NoRoute, datagrams);
        if (route.Endpoints.IsEmpty)
            return Refuse(UdpDropReason.NoEndpoints, datagrams);
        if (_flows.IsFull)
            Close(_shares.LeastMissed() as UdpFlow ?? _flows.Oldest!, UdpCloseReason.Evicted);

        var service = ServiceOf(route);
        var refused = Connect(service, route, client, out var endpoint, out var socket, out var tunnelled);
        if (refused is { } reason)
            return Refuse(reason, datagrams);
        var flow = new UdpFlow
        {
            Client = client,
            OriginalDestination = original,
            Service = service,
            Socket = socket!,
            IsTunnelled = tunnelled,
            OpenedAt = _now,
            Route = route,
            Table = table,
            Endpoint = endpoint,
        };
        var id = _flows.NextId();
        if (_epoll.Add(flow.Socket.Descriptor, EpollEvents.In, id) != 0)
        {
            flow.Socket.Dispose();
            return Refuse(UdpDropReason.DescriptorLimit, datagrams);
        }

        if (_flows.Count == 0)
            _nextSweep = _now + MillisecondsBetweenSweeps;
        _flows.Add(flow, id, _now);
        _shares.Enter(flow, client.Address, service.Share);
        RememberClient(flow);
        UdpCounters.Add(ref service.Flows, 1);
        UdpCounters.Add(ref service.Active, 1);
        UdpCounters.Add(ref Counters.Opened, 1);
        UdpCounters.Add(ref Counters.Active, 1);
        return flow;
    }

    /// <returns>Null: connected.</returns>
    private UdpDropReason? Connect(
        UdpService service, Route route, in InetEndpoint client, out ServiceEndpoint endpoint, out DatagramSocket? socket, out bool tunnelled)
    {
        socket = null;
        tunnelled = false;
        List<ServiceEndpoint>? tried = null;
        while (service.Balancer.TryChoose(
            route, client.Address, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(tried), _now, out endpoint))
        {
            // An endpoint that is this listener would make the datagram go round for ever.
            var errno = endpoint.Address == _address ? DatagramErrors.ConnectionRefused
                : TunnelTo(route, endpoint) is { } node ? TryTunnel(service, node, endpoint, client, out socket, out tunnelled)
                : DatagramSocket.TryConnect(endpoint.Address, _options.Mark, out socket);
            switch (errno)
            {
                case 0:
                    return null;
                case DatagramErrors.TooManyInProcess or DatagramErrors.TooManyInSystem:
                case DatagramErrors.NoBufferSpace or DatagramErrors.NoMemory:
                    return UdpDropReason.DescriptorLimit;
                case DatagramErrors.NotPermitted:
                    if (!_socketFailureLogged)
                    {
                        _socketFailureLogged = true;
                        LogMarkRefused(_options.Mark);
                    }

                    return UdpDropReason.AllEndpointsFailed;
                default:
                    EndpointFailed(service, endpoint);
                    (tried ??= []).Add(endpoint);
                    break;
            }
        }

        return UdpDropReason.AllEndpointsFailed;
    }

    /// <summary>The node through which the tunnel reaches an endpoint; null: datagrams are sent to it directly.</summary>
    private string? TunnelTo(Route route, in ServiceEndpoint endpoint) =>
        _options.Tunnel is { } tunnel && route.NodeOf(endpoint) is { } node && tunnel.CanReach(node) ? node : null;

    private int TryTunnel(
        UdpService service, string node, in ServiceEndpoint endpoint, in InetEndpoint client, out DatagramSocket? socket, out bool tunnelled)
    {
        var descriptor = _options.Tunnel!.TryOpenDatagrams(new TunnelDestination(node, endpoint.Address, TransportProtocol.Udp, service.Name, client));
        tunnelled = descriptor >= 0;
        socket = tunnelled ? DatagramSocket.Own(descriptor) : null;
        return tunnelled ? 0 : -descriptor;
    }

    private UdpFlow? Refuse(UdpDropReason reason, int datagrams)
    {
        Drop(reason, datagrams);
        return null;
    }

    private UdpService ServiceOf(Route route)
    {
        if (!_services.TryGetValue(route.Service, out var service))
        {
            service = new UdpService(route.Service, new ServiceBalancer(_random, _options.SetAside));
            _services[route.Service] = service;
        }

        if (route.ClientIPAffinity is not null)
            service.Balancer.Affinity = _affinities.Of(route.Service);
        return service;
    }

    /// <summary>With affinity the client keeps this endpoint for its next flows, also where the endpoint never answers:
    /// some protocols (syslog) have no answers.</summary>
    private void RememberClient(UdpFlow flow)
    {
        if (flow.Route.ClientIPAffinity is { } idle)
            flow.Service.Balancer.Affinity?.Set(flow.Client.Address, flow.Endpoint, (long)idle.TotalMilliseconds, _now);
    }

    private void Close(UdpFlow flow, UdpCloseReason reason)
    {
        // Sliding: a long flow counts as use until its end.
        if (reason is UdpCloseReason.Idle or UdpCloseReason.Evicted)
            RememberClient(flow);
        _flows.Remove(flow);
        _shares.Leave(flow);
        flow.Socket.Dispose();
        UdpCounters.Add(ref flow.Service.Active, -1);
        UdpCounters.Add(ref Counters.Active, -1);
        UdpCounters.Add(ref Counters.Closed[(int)reason], 1);
        LogClosed(
            flow.Service.Name, flow.Client, flow.Endpoint.Address, flow.BytesToEndpoint, flow.BytesToClient, _now - flow.OpenedAt, reason);
    }

    private void Sweep()
    {
        _nextSweep = _now + MillisecondsBetweenSweeps;
        var longest = _stopAccepting ? DrainIdleMilliseconds : long.MaxValue;
        for (var flow = _flows.Oldest; flow is not null && _now - flow.LastActive >= Math.Min(_unassuredMilliseconds, longest);)
        {
            var next = flow.Newer;
            if (_now - flow.LastActive >= Math.Min(flow.IsAssured ? _idleMilliseconds : _unassuredMilliseconds, longest))
                Close(flow, UdpCloseReason.Idle);
            flow = next;
        }

        var table = Volatile.Read(ref _routes);
        if (!ReferenceEquals(table, _sweptRoutes))
        {
            _sweptRoutes = table;
            CloseUnrouted(table);
            _affinities.Sweep(table, _now);
        }

        if (_stopAccepting && _flows.Count == 0)
            _drained.TrySetResult();
    }

    private void CloseUnrouted(RouteTable table)
    {
        for (var flow = _flows.Oldest; flow is not null;)
        {
            var next = flow.Newer;
            if (!IsStillRouted(flow))
                Close(flow, UdpCloseReason.RouteChanged);
            flow = next;
        }

        if (_services.IsEmpty)
            return;
        var routed = table.Routes.Values.Select(route => route.Service).ToHashSet();
        foreach (var (name, service) in _services)
        {
            if (service.Active == 0 && !routed.Contains(name))
                _services.TryRemove(name, out _);
        }
    }
}
