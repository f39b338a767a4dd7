using System.Collections.Immutable;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter;

/// <summary>Stands where no backend can be used yet, and says why: the reconciler then tries again, and <c>status</c> tells.</summary>
public sealed class WaitingBackend(string reason) : IPortalBackend
{
    public string Name => "none yet";

    public ImmutableArray<IpFamily> Families => [];

    public Task<SyncResult> SyncAsync(IReadOnlyList<FamilyPortals> desired, CancellationToken cancellationToken) => Task.FromException<SyncResult>(Fault());

    public Task<RepairResult> RepairAsync(CancellationToken cancellationToken) => Task.FromException<RepairResult>(Fault());

    public Task<ImmutableArray<JumpPosition>> InspectAsync(CancellationToken cancellationToken) => Task.FromResult(ImmutableArray<JumpPosition>.Empty);

    public Task WithdrawListenersAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task RemoveAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    private NetfilterException Fault() => new($"No rules can be set yet: {reason}") { IsTransient = true };
}
