using System.Collections.Immutable;
using EdgeMesh.Linux.Sockets;

namespace EdgeMesh.Agent.Hosting.Handover;

/// <summary>What a running agent does when another takes over. Called one after the other.</summary>
internal sealed record HandoverSteps
{
    /// <summary>Nothing of ours writes rules any more; those that stand stay. Gives descriptors of what this agent listens with, which the other is
    /// to have too.</summary>
    public required Func<Task<ImmutableArray<DescriptorHandle>>> FreezeAsync { get; init; }

    /// <summary>The other has failed: go on as before.</summary>
    public required Func<Task> ThawAsync { get; init; }

    /// <summary>Gives up the claim and the admin address.</summary>
    public required Func<Task> ReleaseAsync { get; init; }

    /// <summary>Takes both back, or sees to it that they are taken back as soon as they are free.</summary>
    public required Func<Task> ReclaimAsync { get; init; }

    /// <summary>Leaves all new connections to the other.</summary>
    public required Func<Task> StopAcceptingAsync { get; init; }

    /// <summary>All is handed over.</summary>
    /// <param name="successorGone">Completes when the successor has ended.</param>
    public required Func<Task, Task> FinishAsync { get; init; }
}
