namespace EdgeMesh.Kubernetes.Watching;

/// <summary>Counts and the last fault of one kind, written by its reader and read by anybody.</summary>
internal sealed class KindStatus(string kind, TimeProvider time)
{
    private readonly Lock _gate = new();
    private KindHealth _health = new() { Kind = kind, Synced = false };

    private string? _fault;
    private string? _objects;

    public KindHealth Health => Volatile.Read(ref _health);

    public void Listed() => Change(h => h with { Lists = h.Lists + 1, Synced = true, LastSuccess = time.GetTimestamp(), CloudAsOf = time.GetUtcNow(), Offline = false, UnreachableSince = null });

    /// <summary>Only the local database of a metaServer answered: the facts go on as of the cloud's last word.</summary>
    /// <returns>True when it is the first such answer.</returns>
    public bool Offline(bool usable)
    {
        var first = !Health.Offline;
        Change(h => h with { Lists = h.Lists + 1, Synced = h.Synced || usable, Offline = true, UnreachableSince = null });
        return first;
    }

    /// <summary>What is known is from a run before, and the cloud said it then.</summary>
    public void Seeded(DateTimeOffset asOf) => Change(h => h with { CloudAsOf = h.CloudAsOf ?? asOf });

    public void WatchOpened() => Change(h => h with { Watches = h.Watches + 1 });

    /// <summary>A bookmark: nothing changed, and the server is there.</summary>
    public void Heard() => Change(h => h with { LastSuccess = time.GetTimestamp() });

    public void Event() => Change(h => h with { Events = h.Events + 1, LastSuccess = time.GetTimestamp() });

    public void Fault(string fault, bool unreachable)
    {
        _fault = fault;
        Change(h => h with { Faults = h.Faults + 1, UnreachableSince = unreachable ? h.UnreachableSince ?? time.GetUtcNow() : null });
    }

    public void Recovered()
    {
        if (_fault is not null)
        {
            _fault = null;
            Change(h => h with { UnreachableSince = null });
        }
    }

    /// <summary>Single objects that cannot be read: stays until they can.</summary>
    public void Objects(string? fault)
    {
        if (_objects != fault)
        {
            _objects = fault;
            Change(h => fault is null ? h : h with { Faults = h.Faults + 1 });
        }
    }

    private void Change(Func<KindHealth, KindHealth> change)
    {
        lock (_gate)
        {
            Volatile.Write(ref _health, change(_health) with { Fault = _fault ?? _objects });
        }
    }
}
