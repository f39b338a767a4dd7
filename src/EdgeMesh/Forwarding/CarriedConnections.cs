using System.Collections.Concurrent;
using EdgeMesh.Catalog;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Forwarding;

/// <summary>Connections that the loops have given to the tunnel: how many there are, and what they moved. For any thread.</summary>
internal sealed class CarriedConnections
{
    private readonly ConcurrentDictionary<ServicePortName, CarriedService> _services = new();
    private readonly Lock _waitingLock = new();
    private TaskCompletionSource? _waiting;
    private long _active;
    private long _bytesToEndpoints;
    private long _bytesToClients;

    public long Active => Volatile.Read(ref _active);

    public long BytesToEndpoints => Volatile.Read(ref _bytesToEndpoints);

    public long BytesToClients => Volatile.Read(ref _bytesToClients);

    public IEnumerable<KeyValuePair<ServicePortName, CarriedService>> Services => _services;

    public void Begin(ServicePortName service)
    {
        Interlocked.Increment(ref _active);
        Interlocked.Increment(ref _services.GetOrAdd(service, static _ => new CarriedService()).Active);
    }

    /// <param name="counted">Bytes towards the endpoint that the loop has counted itself.</param>
    public void End(ServicePortName name, TunnelOutcome outcome, long counted)
    {
        var service = _services.GetOrAdd(name, static _ => new CarriedService());
        var toEndpoint = Math.Max(0, outcome.BytesToEndpoint - counted);
        Interlocked.Add(ref _bytesToEndpoints, toEndpoint);
        Interlocked.Add(ref _bytesToClients, outcome.BytesToClient);
        Interlocked.Add(ref service.BytesToEndpoints, toEndpoint);
        Interlocked.Add(ref service.BytesToClients, outcome.BytesToClient);
        Leave(service);
    }

    /// <summary>Nobody took it, and the loop has it again.</summary>
    public void GiveBack(ServicePortName name) => Leave(_services.GetOrAdd(name, static _ => new CarriedService()));

    /// <summary>Services that have no connection here and no route any more.</summary>
    public void Forget(Predicate<ServicePortName> exists)
    {
        foreach (var (name, service) in _services)
        {
            if (Volatile.Read(ref service.Active) == 0 && !exists(name))
                _services.TryRemove(name, out _);
        }
    }

    /// <summary>Waits until none is left, or for the limit. No more may begin meanwhile.</summary>
    /// <returns>How many are left.</returns>
    public async Task<long> EndedAsync(TimeSpan limit, TimeProvider time)
    {
        Task none;
        lock (_waitingLock)
        {
            _waiting ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            if (Active == 0)
                _waiting.TrySetResult();
            none = _waiting.Task;
        }

        try
        {
            await none.WaitAsync(limit, time);
        }
        catch (TimeoutException)
        {
            // Told by the number.
        }

        return Active;
    }

    private void Leave(CarriedService service)
    {
        Interlocked.Decrement(ref service.Active);
        if (Interlocked.Decrement(ref _active) > 0)
            return;
        lock (_waitingLock)
            _waiting?.TrySetResult();
    }
}

/// <summary>Of one service port; changed with <see cref="Interlocked"/>.</summary>
internal sealed class CarriedService
{
    public long Active;
    public long BytesToEndpoints;
    public long BytesToClients;
}
