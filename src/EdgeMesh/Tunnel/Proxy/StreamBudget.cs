namespace EdgeMesh.Tunnel.Proxy;

/// <summary>How many streams stand, in all and per node, and how many may. Any thread.</summary>
internal sealed class StreamBudget(int total, int perNode)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, int> _byNode = new(StringComparer.Ordinal);
    private int _count;

    internal int Count => Volatile.Read(ref _count);

    internal bool TryTake(string node)
    {
        lock (_gate)
        {
            var ofNode = _byNode.GetValueOrDefault(node);
            if (_count >= total || ofNode >= perNode)
                return false;
            _count++;
            _byNode[node] = ofNode + 1;
            return true;
        }
    }

    internal void Return(string node)
    {
        lock (_gate)
        {
            _count--;
            if (--_byNode[node] == 0)
                _byNode.Remove(node);
        }
    }
}
