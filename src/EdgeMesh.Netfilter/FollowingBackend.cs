using System.Collections.Immutable;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter;

/// <summary>The backend that carries the rules, and the one that shall carry them from the next sync on. The old one's rules
/// go when the new one's stand, so that there is no moment without any.</summary>
public sealed class FollowingBackend(IPortalBackend first, TimeProvider time, Func<CancellationToken, Task<ImmutableArray<string>>>? removeOthers = null) : IPortalBackend
{
    private static readonly TimeSpan BetweenRemovals = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private volatile IPortalBackend _current = first;
    private volatile Coming? _coming;
    private Func<CancellationToken, Task<ImmutableArray<string>>>? _removeOthers = removeOthers;
    private long? _triedToRemove;
    private Task _removing = Task.CompletedTask;
    private volatile string[] _leftBehind = [];

    public string Name => _current.Name;

    public ImmutableArray<IpFamily> Families => _current.Families;

    /// <summary>What could not be removed yet of those who carried the rules before, and why. It is tried again.</summary>
    public ImmutableArray<string> LeftBehind => [.. _leftBehind];

    /// <summary>From any thread; takes effect with the next sync. A later one takes the place of one that has not arrived.</summary>
    /// <param name="removeOthers">Removes what others than the new one left behind, and says what it could not.</param>
    /// <param name="arrived">Called between two calls of the backend, when the new one's rules stand.</param>
    public void Offer(IPortalBackend next, Func<CancellationToken, Task<ImmutableArray<string>>> removeOthers, Action arrived) =>
        _coming = new Coming(next, removeOthers, arrived);

    public async Task<SyncResult> SyncAsync(IReadOnlyList<FamilyPortals> desired, CancellationToken cancellationToken)
    {
        var result = _coming is { } coming
            ? await ArriveAsync(coming, desired, cancellationToken)
            : await _current.SyncAsync(desired, cancellationToken);
        await RemoveOthersAsync(Patience, cancellationToken);
        return result;
    }

    public Task<RepairResult> RepairAsync(CancellationToken cancellationToken) => RepairAsync([], cancellationToken);

    public async Task<RepairResult> RepairAsync(IReadOnlyCollection<string> touchedChains, CancellationToken cancellationToken)
    {
        var result = await _current.RepairAsync(touchedChains, cancellationToken);
        await RemoveOthersAsync(Patience, cancellationToken);
        return result;
    }

    public Task<ImmutableArray<JumpPosition>> InspectAsync(CancellationToken cancellationToken) => _current.InspectAsync(cancellationToken);

    public Task WithdrawListenersAsync(CancellationToken cancellationToken) => _current.WithdrawListenersAsync(cancellationToken);

    public async Task RemoveAsync(CancellationToken cancellationToken)
    {
        await _current.RemoveAsync(cancellationToken);
        _triedToRemove = null;
        await RemoveOthersAsync(Timeout.InfiniteTimeSpan, cancellationToken);
    }

    private async Task<SyncResult> ArriveAsync(Coming coming, IReadOnlyList<FamilyPortals> desired, CancellationToken cancellationToken)
    {
        // It may be the coming one's place that is still being cleared.
        await _removing.WaitAsync(cancellationToken);
        SyncResult result;
        try
        {
            result = await coming.Backend.SyncAsync(desired, cancellationToken);
        }
        catch (NetfilterException)
        {
            // The rules that stand go on to follow the cluster until the others can take over.
            await _current.SyncAsync(desired, cancellationToken);
            throw;
        }

        Interlocked.CompareExchange(ref _coming, null, coming);
        _current = coming.Backend;
        (_removeOthers, _triedToRemove) = (coming.RemoveOthers, null);
        coming.Arrived();
        return result;
    }

    /// <summary>That somebody else's lock is held, say, must neither keep what is in force from counting as such nor hold up the
    /// next sync: after a moment the removal goes on beside them.</summary>
    private async Task RemoveOthersAsync(TimeSpan patience, CancellationToken cancellationToken)
    {
        if (_removeOthers is not { } remove || !_removing.IsCompleted
            || (_triedToRemove is { } before && time.GetElapsedTime(before) < BetweenRemovals))
        {
            return;
        }

        _triedToRemove = time.GetTimestamp();
        _removing = RemoveAsync(remove, cancellationToken);
        await Task.WhenAny(_removing, Task.Delay(patience, time, cancellationToken));
    }

    private async Task RemoveAsync(Func<CancellationToken, Task<ImmutableArray<string>>> remove, CancellationToken cancellationToken)
    {
        try
        {
            _leftBehind = [.. await remove(cancellationToken)];
        }
        catch (NetfilterException fault)
        {
            _leftBehind = [fault.Message];
        }
        catch (OperationCanceledException)
        {
            // The agent ends; the next one looks again.
            return;
        }

        if (_leftBehind.Length == 0)
            _removeOthers = null;
    }

    private sealed record Coming(
        IPortalBackend Backend, Func<CancellationToken, Task<ImmutableArray<string>>> RemoveOthers, Action Arrived);
}
