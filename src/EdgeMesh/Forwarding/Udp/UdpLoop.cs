using System.Collections.Concurrent;
using EdgeMesh.Balancing;
using EdgeMesh.Catalog;
using EdgeMesh.Fairness;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Supervision;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Forwarding.Udp;

/// <summary>One thread that serves one listener and its flows. The way of a datagram, in the order of the methods:
/// listener -> flow (opened by what conntrack says) -> endpoint; and endpoint -> flow -> listener -> client, where
/// conntrack puts the service's address back.</summary>
internal sealed partial class UdpLoop : IDisposable
{
    private const ulong ListenerData = ulong.MaxValue - 1;
    private const ulong WakeData = ulong.MaxValue;
    private const string LoopName = "forwarding-udp";
    private const int EventsPerWait = 64;
    private const int MillisecondsBetweenSweeps = 1000;
    private const int MillisecondsBetweenSweepsWhileDraining = 100;
    private const int DrainIdleMilliseconds = 1000;

    /// <summary>nf_conntrack_proto_udp.c: an answered flow that still moves after two seconds is a stream.</summary>
    private const int AssuredAfterMilliseconds = 2000;

    // Without a bound per event a sender that is faster than the loop would starve all others.
    private const int BatchesPerEvent = 4;

    private readonly InetEndpoint _address;
    private readonly UdpForwarderOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly Supervisor? _supervisor;
    private readonly DatagramSocket _listener;
    private readonly Epoll _epoll;
    private readonly WakeEvent _wake;
    private readonly DatagramBatch _batch;
    private readonly ConntrackLookup? _conntrack;
    private readonly UdpOriginalDestination _originalDestination;
    private readonly UdpFlowTable _flows;
    private readonly AffinityTables _affinities;
    private readonly Random _random = new();
    private readonly ConcurrentDictionary<ServicePortName, UdpService> _services = new();
    private readonly TaskCompletionSource _drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Thread _thread;
    private readonly long _idleMilliseconds;
    private readonly long _unassuredMilliseconds;
    private readonly long _revalidateMilliseconds;
    private readonly FairShares _shares = new();

    private RouteTable _routes;
    private RouteTable _sweptRoutes;
    private long _now;
    private long _nextSweep;
    private bool _lookupFailureLogged;
    private bool _socketFailureLogged;
    private volatile bool _receive;
    private volatile bool _stopAccepting;
    private volatile bool _stop;

    /// <param name="inherited">Null: it opens a socket of its own.</param>
    internal UdpLoop(InetEndpoint address, DatagramSocket? inherited, UdpForwarderOptions options, AffinityTables affinities, RouteTable routes, TimeProvider clock, ILogger logger, Supervisor? supervisor = null)
    {
        _address = address;
        _options = options;
        _affinities = affinities;
        _clock = clock;
        _logger = logger;
        _supervisor = supervisor;
        _routes = _sweptRoutes = routes;
        _flows = new UdpFlowTable(options.MaxFlows);
        _idleMilliseconds = (long)options.IdleTimeout.TotalMilliseconds;
        _unassuredMilliseconds = Math.Min(_idleMilliseconds, (long)options.UnassuredTimeout.TotalMilliseconds);
        _revalidateMilliseconds = (long)options.RevalidateAfter.TotalMilliseconds;
        _receive = inherited is null;
        _listener = inherited ?? DatagramSocket.Listen(address, options.ListenerBufferBytes, options.Mark);
        try
        {
            _conntrack = options.OriginalDestination is null ? new ConntrackLookup() : null;
            _originalDestination = options.OriginalDestination ?? AskConntrack;
            _epoll = new Epoll(EventsPerWait);
            _wake = new WakeEvent();
            _epoll.Add(_wake.Descriptor, EpollEvents.In, WakeData);
            var failure = _epoll.Add(_listener.Descriptor, _receive ? EpollEvents.In : EpollEvents.None, ListenerData);
            if (failure < 0)
                throw new IOException($"The UDP listener {address} cannot be watched: {DatagramErrors.Describe(-failure)}.");
        }
        catch
        {
            _wake?.Dispose();
            _epoll?.Dispose();
            _conntrack?.Dispose();
            _listener.Dispose();
            throw;
        }

        _batch = new DatagramBatch(options.BatchSize);
        _thread = new Thread(Run) { IsBackground = true, Name = address.Address.IsIPv6 ? "udp-ipv6" : "udp-ipv4" };
    }

    internal UdpCounters Counters { get; } = new();

    internal ICollection<UdpService> Services => _services.Values;

    internal Task Ended => _ended.Task;

    internal Task Drained => _drained.Task;

    internal void Start() => _thread.Start();

    internal void Use(RouteTable routes)
    {
        Volatile.Write(ref _routes, routes);
        // So that flows of endpoints that are gone close within a sweep, although nothing may arrive.
        _wake.Set();
    }

    internal void StopAccepting()
    {
        _stopAccepting = true;
        _wake.Set();
    }

    /// <summary>Takes datagrams of clients, or leaves them to who has the same socket.</summary>
    internal void Receive(bool receive)
    {
        _receive = receive;
        _wake.Set();
    }

    internal DescriptorHandle? Copy() => _listener.Duplicate();

    internal int KeepForItself()
    {
        _listener.SpreadOverAll();
        _listener.Share(false);
        return BoundPorts.CountAt(_listener.LocalEndpoint, isTcp: false) - 1;
    }

    internal void Stop()
    {
        _stop = true;
        _wake.Set();
    }

    private void Run()
    {
        try
        {
            while (!_stop)
            {
                var ready = _epoll.Wait(NextWait());
                _now = Now();
                for (var i = 0; i < ready; i++)
                {
                    _epoll.EventAt(i, out var data);
                    Serve(data);
                }

                if (_now >= _nextSweep || _stopAccepting)
                    SweepOrFault();
            }
        }
        catch (Exception fault)
        {
            UdpCounters.Add(ref Counters.Faults, 1);
            LogLoopEnded(_address, fault);
            _supervisor?.Report(LoopName, fault);
        }
        finally
        {
            while (_flows.Oldest is { } flow)
                Close(flow, UdpCloseReason.Stopped);
            Dispose();
            _drained.TrySetResult();
            _ended.TrySetResult();
        }
    }

    private void SweepOrFault()
    {
        try
        {
            Sweep();
        }
        catch (Exception fault)
        {
            Count(fault);
            _nextSweep = _now + MillisecondsBetweenSweeps;
        }
    }

    private void Count(Exception fault)
    {
        UdpCounters.Add(ref Counters.Faults, 1);
        if (_supervisor is not null)
            _supervisor.Report(LoopName, fault);
        else
            LogFault(_address, fault);
    }

    private int NextWait()
    {
        if (_stopAccepting)
            return MillisecondsBetweenSweepsWhileDraining;
        // Nothing to expire: sleep until something arrives.
        return _flows.Count == 0 ? -1 : (int)Math.Clamp(_nextSweep - Now(), 0, MillisecondsBetweenSweeps);
    }

    private void Serve(ulong data)
    {
        UdpFlow? flow = null;
        try
        {
            if (data == WakeData)
            {
                _wake.Reset();
                _nextSweep = _now;
                _ = _epoll.Change(_listener.Descriptor, _receive ? EpollEvents.In : EpollEvents.None, ListenerData);
            }
            else if (data == ListenerData)
            {
                ServeListener();
            }
            else if ((flow = _flows.Find(data)) is not null)
            {
                ServeEndpoint(flow);
            }
        }
        catch (Exception fault)
        {
            // A fault costs the flow at most, never the loop.
            Count(fault);
            if (flow is not null)
                Close(flow, UdpCloseReason.Failed);
        }
    }

    // 1. Datagrams of clients.
    private void ServeListener()
    {
        for (var round = 0; round < BatchesPerEvent; round++)
        {
            var count = _batch.Receive(_listener, withSenders: true);
            for (var start = 0; start < count;)
            {
                var end = start + 1;
                while (end < count && _batch.SameSender(start, end))
                    end++;
                if (FlowOf(_batch.Sender(start), end - start) is { } flow)
                    SendToEndpoint(flow, start, end - start);
                start = end;
            }

            if (count < _batch.Capacity)
                return;
        }
    }

    // 2. Which flow they belong to; null: dropped and counted.
    private UdpFlow? FlowOf(in InetEndpoint client, int datagrams)
    {
        var flow = _flows.Find(client);
        if (flow is not null && _now - flow.LastActive > _revalidateMilliseconds)
        {
            var answer = _originalDestination(_address, client, out var original, out _);
            if (answer != ConntrackAnswer.Found || original != flow.OriginalDestination)
            {
                Close(flow, UdpCloseReason.Reused);
                flow = null;
            }
        }

        if (flow is not null && !IsStillRouted(flow))
        {
            Close(flow, UdpCloseReason.RouteChanged);
            flow = null;
        }

        if (flow is null)
            return Open(client, datagrams);
        Touch(flow);
        return flow;
    }

    private void Touch(UdpFlow flow)
    {
        flow.IsAssured |= flow.Answered && _now - flow.OpenedAt >= AssuredAfterMilliseconds;
        _flows.Touch(flow, _now);
    }

    private bool IsStillRouted(UdpFlow flow)
    {
        var table = Volatile.Read(ref _routes);
        if (ReferenceEquals(table, flow.Table))
            return true;
        if (!table.Routes.TryGetValue(new TransportAddress(flow.OriginalDestination, TransportProtocol.Udp), out var route)
            || route.Service != flow.Service.Name || !flow.Service.Balancer.Has(route, flow.Endpoint))
        {
            return false;
        }

        // A flow over the tunnel is left alone when the direct way opens; one whose direct way is lost is not of use.
        if (!flow.IsTunnelled && TunnelTo(route, flow.Endpoint) is not null)
            return false;

        flow.Route = route;
        flow.Table = table;
        return true;
    }

    // 3. To the endpoint, and to the next one where it refuses.
    private void SendToEndpoint(UdpFlow flow, int start, int count)
    {
        var end = start + count;
        var attempts = 0;
        while (start < end)
        {
            var sent = _batch.SendConnected(flow.Socket, start, end - start);
            if (sent > 0)
            {
                CountToEndpoint(flow, start, sent);
                start += sent;
                continue;
            }

            switch (-sent)
            {
                case DatagramErrors.WouldBlock or DatagramErrors.NoBufferSpace:
                    Drop(UdpDropReason.NotSent, end - start);
                    return;
                case DatagramErrors.MessageTooLong:
                    Drop(UdpDropReason.NotSent, 1);
                    start++;
                    break;
                default:
                    // Most often the ICMP answer to an earlier datagram; the error is taken by now, so where there is no
                    // other endpoint the same one gets a second chance: it may be up again.
                    if (!MoveToNextEndpoint(flow) && attempts > 0)
                    {
                        Drop(UdpDropReason.AllEndpointsFailed, end - start);
                        Close(flow, UdpCloseReason.Failed);
                        return;
                    }

                    attempts++;
                    break;
            }
        }
    }

    // 4. Datagrams of endpoints, back to the client by the listener.
    private void ServeEndpoint(UdpFlow flow)
    {
        for (var round = 0; round < BatchesPerEvent; round++)
        {
            var count = _batch.Receive(flow.Socket, withSenders: false);
            if (flow.IsTunnelled && TakeEnd(flow.Socket, ref count))
            {
                SendToClient(flow, count);
                // Who refused before the first answer would do so again.
                if (!flow.Answered)
                    EndpointFailed(flow.Service, flow.Endpoint);
                Close(flow, UdpCloseReason.TunnelEnded);
                return;
            }

            if (count <= 0)
            {
                if (count != -DatagramErrors.WouldBlock)
                    MoveToNextEndpoint(flow);
                return;
            }

            SendToClient(flow, count);
            if (count < _batch.Capacity)
                return;
        }
    }

    private void SendToClient(UdpFlow flow, int count)
    {
        if (count == 0)
            return;
        Touch(flow);
        if (!flow.Answered)
        {
            flow.Answered = true;
            flow.Tried = null;
            flow.Service.Balancer.Succeeded(flow.Route, flow.Client.Address, flow.Endpoint, _now);
        }

        for (var start = 0; start < count;)
        {
            var sent = _batch.SendTo(_listener, flow.Client, start, count - start);
            if (sent > 0)
            {
                CountToClient(flow, start, sent);
                start += sent;
                continue;
            }

            // The error is about the first datagram of the rest only.
            Drop(UdpDropReason.NotSent, 1);
            start++;
        }
    }

    /// <summary>Whether the tunnel has closed its end and nothing is left behind what was read. Each read gives nothing then,
    /// which looks like an empty datagram and is taken out of the count.</summary>
    private bool TakeEnd(DatagramSocket socket, ref int count)
    {
        if (count <= 0 || _batch.Length(count - 1) != 0 || !DatagramPair.IsOtherEndClosed(socket.Descriptor))
            return false;
        while (count > 0 && _batch.Length(count - 1) == 0)
            count--;
        return true;
    }

    /// <returns>False: there is no other endpoint, and the flow stays with its own.</returns>
    private bool MoveToNextEndpoint(UdpFlow flow)
    {
        EndpointFailed(flow.Service, flow.Endpoint);
        if (flow.IsTunnelled)
            return false;
        flow.Answered = false;
        (flow.Tried ??= []).Add(flow.Endpoint);
        while (flow.Service.Balancer.TryChoose(
            flow.Route, flow.Client.Address, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(flow.Tried), _now, out var next))
        {
            if (TunnelTo(flow.Route, next) is not null)
                return false;
            if (flow.Socket.Reconnect(next.Address) == 0)
            {
                LogMoved(flow.Service.Name, flow.Client, flow.Endpoint.Address, next.Address);
                flow.Endpoint = next;
                RememberClient(flow);
                UdpCounters.Add(ref Counters.Moved, 1);
                return true;
            }

            EndpointFailed(flow.Service, next);
            flow.Tried.Add(next);
        }

        // All have failed: the next failure may begin again with any of them.
        flow.Tried = null;
        return false;
    }

    private void EndpointFailed(UdpService service, ServiceEndpoint endpoint)
    {
        UdpCounters.Add(ref Counters.EndpointFailures, 1);
        UdpCounters.Add(ref service.Failed, 1);
        service.Balancer.Failed(endpoint, _now);
    }

    private void CountToEndpoint(UdpFlow flow, int start, int count)
    {
        var bytes = BytesOf(start, count);
        flow.BytesToEndpoint += bytes;
        UdpCounters.Add(ref flow.Service.BytesToEndpoints, bytes);
        UdpCounters.Add(ref Counters.BytesToEndpoints, bytes);
        UdpCounters.Add(ref Counters.DatagramsToEndpoints, count);
    }

    private void CountToClient(UdpFlow flow, int start, int count)
    {
        var bytes = BytesOf(start, count);
        flow.BytesToClient += bytes;
        UdpCounters.Add(ref flow.Service.BytesToClients, bytes);
        UdpCounters.Add(ref Counters.BytesToClients, bytes);
        UdpCounters.Add(ref Counters.DatagramsToClients, count);
    }

    private long BytesOf(int start, int count)
    {
        long bytes = 0;
        for (var i = start; i < start + count; i++)
            bytes += _batch.Length(i);
        return bytes;
    }

    private void Drop(UdpDropReason reason, int datagrams) => UdpCounters.Add(ref Counters.Dropped[(int)reason], datagrams);

    private long Now() => (long)(_clock.GetTimestamp() * 1000.0 / _clock.TimestampFrequency);

    private ConntrackAnswer AskConntrack(in InetEndpoint listener, in InetEndpoint client, out InetEndpoint original, out int errno)
    {
        var answer = _conntrack!.FindOriginalDestination(listener, client, out original);
        errno = _conntrack.LastErrno;
        return answer;
    }

    /// <summary>The thread does this when it ends; only a loop that was never started needs it from outside.</summary>
    public void Dispose()
    {
        // What another process has too is not forgotten by the kernel when it is closed here.
        _ = _epoll.Remove(_listener.Descriptor);
        _listener.Dispose();
        _conntrack?.Dispose();
        _batch.Dispose();
        _wake.Dispose();
        _epoll.Dispose();
    }
}
