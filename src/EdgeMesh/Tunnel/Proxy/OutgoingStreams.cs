using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>The place of one stream that this node opens: of its client and of its service.</summary>
internal sealed class StreamPlace(TunnelDestination destination) : ShareMember
{
    internal TunnelDestination Destination { get; } = destination;

    /// <summary>Its stream is to be closed: another has the place.</summary>
    internal GivingWay GivingWay { get; } = new();
}

/// <summary>
/// How many streams this node has open, in all and to each node, and how many it may. Where all are used, whoever has most
/// gives way, as among connections: one pod shall not take a node from all others. Any thread.
/// </summary>
internal sealed class OutgoingStreams(int total, int perNode)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Node> _nodes = new(StringComparer.Ordinal);
    private int _count;
    private long _gaveWay;

    internal int Count => Volatile.Read(ref _count);

    /// <summary>Streams that were closed for others.</summary>
    internal long GaveWay => Volatile.Read(ref _gaveWay);

    /// <summary>Takes a place; false if there is none for this one.</summary>
    /// <param name="now">The agent's clock in milliseconds: the place is in use from here on.</param>
    internal bool TryTake(StreamPlace place, long now)
    {
        var destination = place.Destination;
        ShareMember? givesWay;
        lock (_gate)
        {
            if (!_nodes.TryGetValue(destination.Node, out var node))
                node = new Node();
            var service = node.Services.GetValueOrDefault(destination.Service) ?? new Share(isService: true);
            var (used, limit) = _count >= total ? (total, total) : (node.Count, perNode);
            if (!node.Shares.MayEnter(destination.Client.Address, service, used, limit, loops: 1, pending: false, out givesWay))
                return false;
            if (givesWay is not null)
                Leave((StreamPlace)givesWay, node);
            _nodes[destination.Node] = node;
            node.Services[destination.Service] = service;
            place.LastActive = now;
            node.Shares.Enter(place, destination.Client.Address, service);
            node.Count++;
            _count++;
        }

        if (givesWay is null)
            return true;
        Interlocked.Increment(ref _gaveWay);
        ((StreamPlace)givesWay).GivingWay.Ask();
        return true;
    }

    /// <summary>Nothing if it has given way before.</summary>
    internal void Return(StreamPlace place)
    {
        lock (_gate)
        {
            if (place.OfClient is not null)
                Leave(place, _nodes[place.Destination.Node]);
        }
    }

    private void Leave(StreamPlace place, Node node)
    {
        node.Shares.Leave(place);
        _count--;
        if (--node.Count == 0)
            _nodes.Remove(place.Destination.Node);
        else if (node.Services.Count > 2 * node.Shares.Services + 16)
            node.ForgetIdleServices();
    }

    private sealed class Node
    {
        public FairShares Shares { get; } = new();

        public Dictionary<ServicePortName, Share> Services { get; } = [];

        public int Count { get; set; }

        public void ForgetIdleServices()
        {
            foreach (var (name, share) in Services)
            {
                if (share.Count == 0)
                    Services.Remove(name);
            }
        }
    }
}
