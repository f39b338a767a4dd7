using System.Collections.Immutable;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter;

/// <summary>Puts portals into the kernel in front of kube-proxy's rules, and keeps them there.
/// Calls may not overlap; the reconciler makes them one after the other.</summary>
public interface IPortalBackend
{
    /// <summary><c>iptables-nft</c>, <c>iptables-legacy</c> or <c>nftables</c>.</summary>
    string Name { get; }

    /// <summary>Families that this machine can do; a family that is missing is said once by whoever chose the backend.</summary>
    ImmutableArray<IpFamily> Families { get; }

    /// <summary>Brings the kernel to <paramref name="desired"/> in one transaction per family, sending only what differs.
    /// A failed transaction changes nothing and throws <see cref="NetfilterException"/>.</summary>
    Task<SyncResult> SyncAsync(IReadOnlyList<FamilyPortals> desired, CancellationToken cancellationToken);

    /// <summary>Compares the kernel with what was last applied and repairs what differs: the place of the jumps,
    /// jumps that are gone, chains that somebody flushed, edited or removed.</summary>
    Task<RepairResult> RepairAsync(CancellationToken cancellationToken);

    /// <summary>The same, when somebody is known to have touched these chains of ours: each of them is looked at, or written anew,
    /// whatever else the repair looks at.</summary>
    Task<RepairResult> RepairAsync(IReadOnlyCollection<string> touchedChains, CancellationToken cancellationToken) => RepairAsync(cancellationToken);

    /// <summary>Where our jumps stand now, for people.</summary>
    Task<ImmutableArray<JumpPosition>> InspectAsync(CancellationToken cancellationToken);

    /// <summary>Takes out the rules that need this process, in one transaction per family; kernel-path portals stay.</summary>
    Task WithdrawListenersAsync(CancellationToken cancellationToken);

    /// <summary>Removes everything of ours, of every older release too, and nothing else.</summary>
    Task RemoveAsync(CancellationToken cancellationToken);
}

/// <param name="Changed">False when the kernel already stood as desired and nothing was sent.</param>
public sealed record SyncResult(bool Changed, int RulesAdded, int RulesRemoved)
{
    /// <summary>What the portals do without meanwhile and why, in words; null: all that was desired stands. Whoever calls repairs soon.</summary>
    public string? Incomplete { get; init; }
}

/// <param name="Repairs">One line per repair for the log, each naming family, chain and what was found; empty when all was in order.</param>
public sealed record RepairResult(ImmutableArray<string> Repairs)
{
    public static RepairResult InOrder { get; } = new([]);

    /// <summary>As <see cref="SyncResult.Incomplete"/>.</summary>
    public string? Incomplete { get; init; }
}

/// <param name="Position">1-based place among the rules of <paramref name="HookChain"/>; 0: missing.
/// For a native nftables chain, its priority is in <paramref name="Detail"/> and the position is 1.</param>
public sealed record JumpPosition(IpFamily Family, string HookChain, string PortalChain, int Position, string Detail);

/// <summary>A call to the kernel's packet filter failed. The message says which command, for what, and what it answered.</summary>
public sealed class NetfilterException : Exception
{
    /// <summary>Time may cure it: a lock that another program holds, a machine that is out of memory or descriptors.</summary>
    public bool IsTransient { get; init; }

    /// <summary>This kernel lacks the family, the table, or nf_tables as a whole, and says so; a module may be loaded later.</summary>
    public bool IsMissing { get; init; }

    public NetfilterException()
    {
    }

    public NetfilterException(string message)
        : base(message)
    {
    }

    public NetfilterException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
