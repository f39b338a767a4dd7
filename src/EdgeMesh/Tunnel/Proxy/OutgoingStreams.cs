using EdgeMesh.Catalog;
using EdgeMesh.Fairness;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>The place of one stream that this node opens: of its client and of its service, among those to its node.</summary>
internal sealed class StreamPlace : ShareMember
{
    internal StreamPlace(TunnelDestination destination)
    {
        Destination = destination;
        AmongAll = new Twin(this);
    }

    internal TunnelDestination Destination { get; }

    /// <summary>The same place among those to all nodes.</summary>
    internal Twin AmongAll { get; }

    /// <summary>Its stream is to be closed: another has the place.</summary>
    internal GivingWay GivingWay { get; } = new();

    internal sealed class Twin(StreamPlace place) : ShareMember
    {
        internal StreamPlace Place => place;

        public override long LastActive => place.LastActive;
    }
}

/// <summary>
/// How many streams this node has open, in all and to each node, and how many it may. Where all are used, whoever has most
/// gives way, as among connections: one pod shall not take a node from all others, nor the tunnel. Any thread.
/// </summary>
internal sealed class OutgoingStreams(int total, int perNode)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Pool> _nodes = new(StringComparer.Ordinal);
    private readonly Pool _all = new();
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
        StreamPlace? ofNode, ofAll;
        lock (_gate)
        {
            if (!_nodes.TryGetValue(destination.Node, out var node))
                node = new Pool();
            if (!node.MayEnter(destination, perNode, out var member))
                return false;
            ofNode = (StreamPlace?)member;
            // Whoever goes at its node makes room among all.
            ofAll = null;
            if (ofNode is null)
            {
                if (!_all.MayEnter(destination, total, out member))
                    return false;
                ofAll = ((StreamPlace.Twin?)member)?.Place;
            }

            if ((ofNode ?? ofAll) is { } goes)
                Leave(goes);
            _nodes[destination.Node] = node;
            place.LastActive = now;
            node.Enter(place, destination);
            _all.Enter(place.AmongAll, destination);
            _count++;
        }

        if ((ofNode ?? ofAll) is not { } gone)
            return true;
        Interlocked.Increment(ref _gaveWay);
        gone.GivingWay.Ask();
        return true;
    }

    /// <summary>Nothing if it has given way before.</summary>
    internal void Return(StreamPlace place)
    {
        lock (_gate)
        {
            if (place.OfClient is not null)
                Leave(place);
        }
    }

    private void Leave(StreamPlace place)
    {
        var node = _nodes[place.Destination.Node];
        node.Leave(place);
        _all.Leave(place.AmongAll);
        _count--;
        if (node.Count == 0)
            _nodes.Remove(place.Destination.Node);
    }

    /// <summary>The streams that share one limit.</summary>
    private sealed class Pool
    {
        private readonly FairShares _shares = new();
        private readonly Dictionary<ServicePortName, Share> _services = [];

        public int Count { get; private set; }

        /// <param name="givesWay">Who has to go for it; null: nobody.</param>
        public bool MayEnter(TunnelDestination destination, int limit, out ShareMember? givesWay) =>
            _shares.MayEnter(destination.Client.Address, Service(destination), Count, limit, loops: 1, pending: false, out givesWay);

        public void Enter(ShareMember member, TunnelDestination destination)
        {
            var service = Service(destination);
            _services[destination.Service] = service;
            _shares.Enter(member, destination.Client.Address, service);
            Count++;
        }

        public void Leave(ShareMember member)
        {
            _shares.Leave(member);
            Count--;
            if (_services.Count <= (2 * _shares.Services) + 16)
                return;
            foreach (var (name, share) in _services)
            {
                if (share.Count == 0)
                    _services.Remove(name);
            }
        }

        private Share Service(TunnelDestination destination) => _services.GetValueOrDefault(destination.Service) ?? new Share(isService: true);
    }
}
