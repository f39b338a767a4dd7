using System.Collections.Concurrent;
using EdgeMesh.Catalog;
using EdgeMesh.Fairness;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Forwarding;

/// <summary>Connections to endpoints on other nodes leave the loop, descriptor and all, for the tunnel; one that nobody took
/// comes back, and its next endpoint is tried, direct or on another node.</summary>
internal sealed unsafe partial class ForwardingLoop
{
    // Brought by other threads; the balancers and the connections belong to this one.
    private readonly ConcurrentQueue<(LoopService Service, ServiceEndpoint Endpoint)> _answered = new();
    private readonly ConcurrentQueue<CarriedConnection> _givenBack = new();

    // Looked at before places are counted, and at each tick: nobody is woken for them.
    private readonly ConcurrentQueue<CarriedConnection> _ended = new();

    /// <returns>False: the endpoint is this loop's to dial.</returns>
    private bool TryCarry(Connection connection, Dial dial, ServiceEndpoint endpoint, int inBuffer)
    {
        if (_options.Tunnel is not { } tunnel || dial.Route.NodeOf(endpoint) is not { } node || !tunnel.CanReach(node))
            return false;
        ref var flow = ref connection.ToEndpoint;
        byte[] first = inBuffer > 0 ? _buffer[..inBuffer]
            : flow.Buffer is { } kept ? kept[flow.UnsentStart..flow.UnsentEnd]
            : [];
        dial.Try(endpoint);
        if (dial.Route.ClientIPAffinity is { } idle)
            connection.Service.Balancer.Affinity?.Set(connection.Client.Address, endpoint, (long)idle.TotalMilliseconds, _now);
        var carried = new CarriedConnection(this, connection, dial, first);
        // A share that is never empty meanwhile is not forgotten either.
        _shares.Enter(carried, carried.Client.Address, carried.Service.Share);
        Leave(connection, dial);
        _context.Carried.Begin(carried.Service.Name);
        carried.GoTo(tunnel, node, endpoint);
        return true;
    }

    private void Leave(Connection connection, Dial dial)
    {
        _wheel.Remove(connection);
        EndDial(connection, dial);
        connection.ClientDescriptor = -1;
        Forget(connection);
    }

    private void Learn()
    {
        while (_answered.TryDequeue(out var answered))
            answered.Service.Balancer.Answered(answered.Endpoint);
    }

    private void TakeGivenBack()
    {
        while (_givenBack.TryDequeue(out var carried))
        {
            _context.Carried.GiveBack(carried.Service.Name);
            if (carried.HasGivenWay)
            {
                TcpSocket.Abort(carried.Descriptor);
                continue;
            }

            var connection = Place(carried.Descriptor, carried.Client, carried.Service);
            _shares.Leave(carried);
            try
            {
                Resume(connection, carried);
            }
            catch (Exception e)
            {
                Fault(connection, e);
            }
        }
    }

    /// <summary>Goes on with the search where it left the loop.</summary>
    private void Resume(Connection connection, CarriedConnection carried)
    {
        connection.StartedMilliseconds = carried.StartedMilliseconds;
        ref var flow = ref connection.ToEndpoint;
        flow.Bytes = carried.First.Length;
        flow.Ended = carried.Ended;
        flow.Readable = !carried.Ended;
        connection.Dial = _freeDials.TryPop(out var dial) ? dial : new Dial(_options.DialLimits.Length);
        connection.Dial.Begin(carried.Route, carried.StartedMicroseconds);
        foreach (var endpoint in carried.Tried)
            connection.Dial.Try(endpoint);
        _shares.BeginPending(connection);
        connection.Endpoint = carried.Tried[^1];
        // One that has refused will refuse again.
        connection.Dial.TimedOut = carried.TimedOut == connection.Endpoint ? null : carried.TimedOut;
        Counters.PendingDials++;
        // Limits and departures say nothing about the endpoint.
        if (carried.Refusal is TunnelRefusal.NoSession or TunnelRefusal.NotListed or TunnelRefusal.DialFailed)
        {
            Volatile.Write(ref connection.Service.TunnelFailures, 1);
            connection.Service.Balancer.Failed(connection.Endpoint, _now);
        }

        LogTunnelRefused(_context.Logger, connection.Service.Name, connection.Endpoint.Address, carried.Route.NodeOf(connection.Endpoint), carried.Refusal);
        carried.First.CopyTo(_buffer, 0);
        DialNext(connection, connection.Dial, carried.First.Length);
    }

    /// <summary>Its place is another's from here on; the tunnel closes it as soon as it can.</summary>
    private void TakeFromTunnel(CarriedConnection carried)
    {
        _shares.Leave(carried);
        carried.GiveWay();
    }

    private void LeaveEnded()
    {
        while (_ended.TryDequeue(out var carried))
            _shares.Leave(carried);
    }

    /// <summary>After the loop's end, on any thread: nobody is left to try another endpoint.</summary>
    private void CutGivenBack()
    {
        while (_givenBack.TryDequeue(out var carried))
        {
            TcpSocket.Abort(carried.Descriptor);
            _context.Carried.GiveBack(carried.Service.Name);
        }
    }

    /// <summary>One connection while the tunnel has it, and what is needed to take it back.</summary>
    private sealed class CarriedConnection(ForwardingLoop loop, Connection connection, Dial dial, byte[] first) : ShareMember
    {
        private readonly long _since = connection.LastActive;
        private TunnelledClient? _inTunnel;

        public LoopService Service { get; } = connection.Service;

        public InetEndpoint Client { get; } = connection.Client;

        public int Descriptor { get; } = connection.ClientDescriptor;

        public long StartedMilliseconds { get; } = connection.StartedMilliseconds;

        /// <summary>The client has sent all that it will.</summary>
        public bool Ended { get; } = connection.ToEndpoint.Ended;

        /// <summary>Read from the client and sent to nobody; no more than a loop's buffer holds.</summary>
        public byte[] First { get; } = first;

        public Route Route { get; } = dial.Route;

        public long StartedMicroseconds { get; } = dial.StartedMicroseconds;

        public ServiceEndpoint? TimedOut { get; } = dial.TimedOut;

        /// <summary>The last one is the one that it is carried to.</summary>
        public ServiceEndpoint[] Tried { get; } = dial.Tried.ToArray();

        /// <summary>Once it was given back.</summary>
        public TunnelRefusal Refusal { get; private set; }

        /// <inheritdoc/>
        public override long LastActive => Math.Max(_since, _inTunnel?.LastActive ?? 0);

        /// <summary>Another has its place.</summary>
        public bool HasGivenWay { get; private set; }

        public void GoTo(ITunnelDialer tunnel, string node, in ServiceEndpoint endpoint)
        {
            _inTunnel = new TunnelledClient
            {
                Descriptor = Descriptor,
                FirstBytes = First,
                Ended = Ended,
                Destination = new TunnelDestination(node, endpoint.Address, TransportProtocol.Tcp, Service.Name, Client),
                Refused = Refused,
                Finished = Finished,
            };
            tunnel.Carry(_inTunnel);
        }

        /// <summary>On the loop's thread.</summary>
        public void GiveWay()
        {
            HasGivenWay = true;
            _inTunnel!.GiveWay();
        }

        /// <summary>From any thread.</summary>
        public void Refused(TunnelRefusal refusal)
        {
            Refusal = refusal;
            loop._givenBack.Enqueue(this);
            if (loop._finished.Task.IsCompleted)
                loop.CutGivenBack();
            else
                loop.Wake();
        }

        /// <summary>From any thread.</summary>
        public void Finished(TunnelOutcome outcome)
        {
            if (outcome.End != TunnelEnd.Stopped && Interlocked.Exchange(ref Service.TunnelFailures, 0) > 0)
            {
                loop._answered.Enqueue((Service, Tried[^1]));
                loop.Wake();
            }

            loop._ended.Enqueue(this);
            loop._context.Carried.End(Service.Name, outcome, First.Length);
            LogCarried(loop._context.Logger, Service.Name, Client, outcome.Destination.Endpoint, outcome.Destination.Node,
                outcome.BytesToEndpoint, outcome.BytesToClient, outcome.End);
        }
    }
}
