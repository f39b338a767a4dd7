using System.Collections.Immutable;
using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes;
using EdgeMesh.Planning;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Reconciling;

/// <summary>What the user chose that the reconciler depends on; replaced as a whole when the config file changes.</summary>
public sealed record ReconcilerOptions(CatalogPolicy Catalog, PlanningOptions Planning);

/// <summary>What is in force, as one immutable view for status, readiness and metrics.</summary>
public sealed record ReconcilerState
{
    public static ReconcilerState Initial { get; } = new();

    public ClusterFacts? Facts { get; init; }

    /// <summary>The plan that the kernel holds; the one before a failed sync.</summary>
    public ForwardingPlan Plan { get; init; } = ForwardingPlan.Empty;

    /// <summary>What the plan was made with; null: there is no tunnel.</summary>
    public Reachability? Reachability { get; init; }

    /// <summary>Null until rules have been applied once.</summary>
    public DateTimeOffset? LastSync { get; init; }

    public TimeSpan LastSyncDuration { get; init; }

    /// <summary>Why the newest plan is not in force yet; null when it is.</summary>
    public string? Fault { get; init; }

    public DateTimeOffset? FaultSince { get; init; }

    /// <summary>The same by the clock that nobody sets; what decides goes by this one.</summary>
    public long? FaultBegan { get; init; }

    /// <summary>What the rules in force do without meanwhile and why; null when they have all they should.</summary>
    public string? Incomplete { get; init; }

    public long Syncs { get; init; }

    public long SyncsWithChanges { get; init; }

    public long SyncFailures { get; init; }

    public long OrderRepairs { get; init; }

    public DateTimeOffset? LastRepair { get; init; }

    /// <summary>The last repairs, newest last, bounded.</summary>
    public ImmutableArray<string> RecentRepairs { get; init; } = [];

    /// <summary>True while the rules that need this process are deliberately out of the kernel.</summary>
    public bool Withdrawn { get; init; }
}
