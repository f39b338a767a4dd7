using System.Collections.Concurrent;
using EdgeMesh.Linux;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Forwarding;

/// <summary>Connections to endpoints on other nodes leave the loop, descriptor and all, for the tunnel.</summary>
internal sealed unsafe partial class ForwardingLoop
{
    // What other threads learned about endpoints; the balancers belong to this thread.
    private readonly ConcurrentQueue<(LoopService Service, InetEndpoint Endpoint, bool Answered)> _learned = new();

    /// <returns>False: the endpoint is this loop's to dial.</returns>
    private bool TryCarry(Connection connection, Dial dial, InetEndpoint endpoint, int inBuffer)
    {
        if (_options.Tunnel is not { } tunnel || dial.Route.NodeOf(endpoint) is not { } node || !tunnel.CanReach(node))
            return false;
        ref var flow = ref connection.ToEndpoint;
        byte[] first = inBuffer > 0 ? _buffer[..inBuffer]
            : flow.Buffer is { } kept ? kept[flow.UnsentStart..flow.UnsentEnd]
            : [];
        var descriptor = connection.ClientDescriptor;
        var ended = flow.Ended;
        var service = connection.Service;
        var trip = new CarriedConnection(this, service, dial.Route, connection.Client, [.. dial.Tried], first.Length);
        trip.Remember(endpoint);
        Leave(connection, dial);
        _context.Carried.Begin(service.Name);
        tunnel.Carry(new TunnelledClient
        {
            Descriptor = descriptor,
            FirstBytes = first,
            Ended = ended,
            Destination = trip.To(node, endpoint),
            Next = trip.Next,
            Finished = trip.Finished,
        });
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
        while (_learned.TryDequeue(out var learned))
        {
            if (!learned.Answered)
                learned.Service.Balancer.Failed(learned.Endpoint, _now);
            else
                learned.Service.Balancer.Answered(learned.Endpoint);
        }
    }

    /// <summary>What the tunnel asks and tells about one connection, from any thread; one call at a time.</summary>
    private sealed class CarriedConnection(
        ForwardingLoop loop, LoopService service, Route route, InetEndpoint client, List<InetEndpoint> tried, int counted)
    {
        public TunnelDestination To(string node, InetEndpoint endpoint) =>
            new(node, endpoint, Catalog.TransportProtocol.Tcp, service.Name, client);

        public void Remember(InetEndpoint endpoint)
        {
            if (!tried.Contains(endpoint))
                tried.Add(endpoint);
            if (route.ClientIPAffinity is { } idle)
                service.Balancer.Affinity?.Set(client.Address, endpoint, (long)idle.TotalMilliseconds, loop._context.NowMilliseconds());
        }

        public TunnelDestination? Next(TunnelDestination refusing, TunnelRefusal refusal)
        {
            LogTunnelRefused(loop._context.Logger, service.Name, refusing.Endpoint, refusing.Node, refusal);
            // Limits and departures say nothing about the endpoint.
            if (refusal is TunnelRefusal.NoSession or TunnelRefusal.NotListed or TunnelRefusal.DialFailed)
                Learn(refusing.Endpoint, answered: false);
            if (tried.Count >= loop._options.DialLimits.Length)
                return null;
            var endpoints = route.Endpoints;
            var start = Random.Shared.Next(endpoints.Length);
            for (var i = 0; i < endpoints.Length; i++)
            {
                var endpoint = endpoints[(start + i) % endpoints.Length];
                if (tried.Contains(endpoint) || route.NodeOf(endpoint) is not { } node || !loop._options.Tunnel!.CanReach(node))
                    continue;
                Remember(endpoint);
                return To(node, endpoint);
            }

            return null;
        }

        public void Finished(TunnelOutcome outcome)
        {
            if (outcome.End is not (TunnelEnd.Refused or TunnelEnd.Stopped) && Volatile.Read(ref service.TunnelFailures) > 0)
                Learn(outcome.Destination.Endpoint, answered: true);
            loop._context.Carried.End(service.Name, outcome, counted);
            LogCarried(loop._context.Logger, service.Name, client, outcome.Destination.Endpoint, outcome.Destination.Node,
                outcome.BytesToEndpoint, outcome.BytesToClient, outcome.End);
        }

        private void Learn(InetEndpoint endpoint, bool answered)
        {
            Volatile.Write(ref service.TunnelFailures, answered ? 0 : 1);
            loop._learned.Enqueue((service, endpoint, answered));
            loop.Wake();
        }
    }
}
