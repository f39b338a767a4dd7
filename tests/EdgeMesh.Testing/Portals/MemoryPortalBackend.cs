using System.Collections.Immutable;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;

namespace EdgeMesh.Testing.Portals;

/// <summary>A backend whose kernel is a dictionary. It behaves: a sync that fails changes nothing, one without a
/// difference sends nothing, and damage done to it is found and repaired.</summary>
public sealed class MemoryPortalBackend : IPortalBackend
{
    private readonly Lock _lock = new();
    private readonly List<string> _journal = [];
    private readonly Queue<string> _damage = new();
    private ImmutableDictionary<(IpFamily Family, TransportAddress Key), PortalRule> _standing =
        ImmutableDictionary<(IpFamily, TransportAddress), PortalRule>.Empty;
    private TaskCompletionSource _written = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile string? _fault;

    public string Name => "memory";

    public ImmutableArray<IpFamily> Families { get; init; } = [IpFamily.IPv4, IpFamily.IPv6];

    /// <summary>While set, every sync and repair fails with this text.</summary>
    public string? Fault
    {
        get => _fault;
        set => _fault = value;
    }

    /// <summary>While set, what is asked for stands but for this.</summary>
    public string? Incomplete { get; set; }

    /// <summary>What happened, in order: <c>sync +1 -0</c>, <c>sync failed</c>, <c>repair 2</c>, <c>withdraw</c>, <c>remove</c>,
    /// and whatever a test notes between.</summary>
    public ImmutableArray<string> Journal
    {
        get
        {
            lock (_lock)
                return [.. _journal];
        }
    }

    public ImmutableDictionary<(IpFamily Family, TransportAddress Key), PortalRule> Standing
    {
        get
        {
            lock (_lock)
                return _standing;
        }
    }

    public void Note(string line)
    {
        TaskCompletionSource signal;
        lock (_lock)
        {
            _journal.Add(line);
            signal = _written;
            _written = new(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        signal.SetResult();
    }

    /// <summary>Somebody else changes our rules; the next repair finds and names it.</summary>
    public void Damage(string what)
    {
        lock (_lock)
            _damage.Enqueue(what);
    }

    /// <summary>Completes when the journal has <paramref name="count"/> lines that start so.</summary>
    public async Task WroteAsync(string start, int count, TimeSpan deadline)
    {
        while (true)
        {
            Task written;
            lock (_lock)
            {
                if (_journal.Count(line => line.StartsWith(start, StringComparison.Ordinal)) >= count)
                    return;
                written = _written.Task;
            }

            await written.WaitAsync(deadline);
        }
    }

    public Task<SyncResult> SyncAsync(IReadOnlyList<FamilyPortals> desired, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(desired);
        if (Fault is { } fault)
        {
            Note("sync failed");
            throw new NetfilterException(fault);
        }

        var coming = desired
            .SelectMany(family => family.Rules.Select(rule => KeyValuePair.Create((family.Family, rule.Key), rule)))
            .ToImmutableDictionary();
        int added, removed;
        lock (_lock)
        {
            added = coming.Count(c => !_standing.TryGetValue(c.Key, out var rule) || !rule.Equals(c.Value));
            removed = _standing.Count(s => !coming.TryGetValue(s.Key, out var rule) || !rule.Equals(s.Value));
            _standing = coming;
        }

        Note($"sync +{added} -{removed}");
        return Task.FromResult(new SyncResult(added + removed > 0, added, removed) { Incomplete = Incomplete });
    }

    public Task<RepairResult> RepairAsync(CancellationToken cancellationToken)
    {
        if (Fault is { } fault)
        {
            Note("repair failed");
            throw new NetfilterException(fault);
        }

        ImmutableArray<string> repairs;
        lock (_lock)
        {
            repairs = [.. _damage];
            _damage.Clear();
        }

        Note($"repair {repairs.Length}");
        return Task.FromResult(new RepairResult(repairs) { Incomplete = Incomplete });
    }

    public Task<ImmutableArray<JumpPosition>> InspectAsync(CancellationToken cancellationToken) =>
        Task.FromResult<ImmutableArray<JumpPosition>>(
            [.. Families.Select(family => new JumpPosition(family, "PREROUTING", "MEMORY-PORTALS", 1, "in front"))]);

    public Task WithdrawListenersAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
            _standing = _standing.Where(s => s.Value.Target is PortalTarget.Backends).ToImmutableDictionary();
        Note("withdraw");
        return Task.CompletedTask;
    }

    public Task RemoveAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
            _standing = _standing.Clear();
        Note("remove");
        return Task.CompletedTask;
    }
}
