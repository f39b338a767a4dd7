namespace EdgeMesh.Kubernetes.Watching;

/// <summary>Counts and the last fault of one kind, written by its reader and read by anybody.</summary>
internal sealed class KindStatus(string kind, TimeProvider time)
{
    private readonly Lock _gate = new();
    private KindHealth _health = new() { Kind = kind, Synced = false };

    private string? _fault;
    private string? _objects;

    public KindHealth Health => Volatile.Read(ref _health);

    public void Listed() => Change(h => h with { Lists = h.Lists + 1, Synced = true, LastSuccess = time.GetUtcNow() });

    public void WatchOpened() => Change(h => h with { Watches = h.Watches + 1 });

    /// <summary>A bookmark: nothing changed, and the server is there.</summary>
    public void Heard() => Change(h => h with { LastSuccess = time.GetUtcNow() });

    public void Event() => Change(h => h with { Events = h.Events + 1, LastSuccess = time.GetUtcNow() });

    public void Fault(string fault)
    {
        _fault = fault;
        Change(h => h with { Faults = h.Faults + 1 });
    }

    public void Recovered()
    {
        if (_fault is not null)
        {
            _fault = null;
            Change(h => h);
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
