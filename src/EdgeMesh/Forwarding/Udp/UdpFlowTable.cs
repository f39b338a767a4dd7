using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Forwarding.Udp;

/// <summary>The flows of one loop: found by client, found by id (for poll events), and in the order of their last use.
/// Every operation is O(1). Ids are never used twice, so an event of a socket that is gone finds nothing.</summary>
internal sealed class UdpFlowTable(int capacity)
{
    private readonly Dictionary<InetEndpoint, UdpFlow> _byClient = [];
    private readonly Dictionary<ulong, UdpFlow> _byId = [];
    private UdpFlow? _newest;
    private ulong _lastId;

    internal int Count => _byClient.Count;

    internal bool IsFull => _byClient.Count >= capacity;

    /// <summary>The flow that was idle longest.</summary>
    internal UdpFlow? Oldest { get; private set; }

    internal ulong NextId() => ++_lastId;

    internal UdpFlow? Find(in InetEndpoint client) => _byClient.GetValueOrDefault(client);

    internal UdpFlow? Find(ulong id) => _byId.GetValueOrDefault(id);

    internal void Add(UdpFlow flow, ulong id, long now)
    {
        if (IsFull)
            throw new InvalidOperationException("The flow table is full; the oldest flow has to be closed first.");
        flow.Id = id;
        flow.LastActive = now;
        _byClient.Add(flow.Client, flow);
        _byId.Add(id, flow);
        Append(flow);
    }

    internal void Remove(UdpFlow flow)
    {
        if (!_byId.Remove(flow.Id))
            return;
        _byClient.Remove(flow.Client);
        Unlink(flow);
    }

    internal void Touch(UdpFlow flow, long now)
    {
        flow.LastActive = now;
        if (ReferenceEquals(flow, _newest))
            return;
        Unlink(flow);
        Append(flow);
    }

    private void Append(UdpFlow flow)
    {
        flow.Older = _newest;
        flow.Newer = null;
        if (_newest is not null)
            _newest.Newer = flow;
        _newest = flow;
        Oldest ??= flow;
    }

    private void Unlink(UdpFlow flow)
    {
        if (flow.Older is not null)
            flow.Older.Newer = flow.Newer;
        else
            Oldest = flow.Newer;
        if (flow.Newer is not null)
            flow.Newer.Older = flow.Older;
        else
            _newest = flow.Older;
        flow.Older = flow.Newer = null;
    }
}
