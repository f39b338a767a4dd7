namespace EdgeMesh.Kubernetes.Watching;

/// <summary>Which faults of one source have been said and still stand: a server that is away is away for every kind, and
/// one line says so.</summary>
internal sealed class StandingFaults
{
    /// <summary>More different ones in one outage add nothing.</summary>
    private const int Most = 8;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, HashSet<string>> _kinds = new(StringComparer.Ordinal);

    /// <returns>True when it has not been said since all was well.</returns>
    public bool Say(string kind, string fault)
    {
        lock (_gate)
        {
            if (_kinds.TryGetValue(fault, out var kinds))
            {
                kinds.Add(kind);
                return false;
            }

            return _kinds.Count < Most && _kinds.TryAdd(fault, new(StringComparer.Ordinal) { kind });
        }
    }

    /// <returns>True when this kind was the last one that a fault stood for.</returns>
    public bool Clear(string kind)
    {
        lock (_gate)
        {
            var had = false;
            foreach (var (fault, kinds) in _kinds)
            {
                had |= kinds.Remove(kind);
                if (kinds.Count == 0)
                {
                    _kinds.Remove(fault);
                }
            }

            return had && _kinds.Count == 0;
        }
    }
}
