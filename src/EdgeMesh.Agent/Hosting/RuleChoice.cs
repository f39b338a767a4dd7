using System.Collections.Immutable;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using EdgeMesh.Netfilter.Nftables;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Who shall carry the rules, as found by one look; nothing is opened or written for it.</summary>
/// <param name="Reason">Why this one; for the log and for status.</param>
/// <param name="Portals">Where it is iptables.</param>
/// <param name="Families">What it can do now.</param>
/// <param name="Missing">One sentence per thing that this node lacks now; it is looked for again.</param>
/// <param name="FollowsKubeProxy">kube-proxy itself is seen to write there; otherwise it may be anywhere, or not have started.</param>
/// <param name="IsHeld">Something was not found out because of a lock or the like, which passes.</param>
internal sealed record RuleChoice(
    BackendKind Kind, string Reason, IptablesPortals? Portals, IptablesFinding? Iptables, ImmutableArray<IpFamily> Families,
    ImmutableArray<string> Missing, bool FollowsKubeProxy, bool IsHeld)
{
    public string Name => Kind switch
    {
        BackendKind.Iptables => Portals!.Name,
        BackendKind.Nftables => "nftables",
        _ => "none yet",
    };

    /// <summary>Equal for choices that lead to the same backend with the same abilities.</summary>
    public string Identity => $"{Name} {string.Join(' ', Families.Select(family => $"{family} {Portals?.Capabilities[family]}"))}";

    /// <summary>Whether it is worth the change: to another backend only where kube-proxy has gone there, and never to less than there is.</summary>
    public bool Supersedes(RuleChoice standing)
    {
        if (standing.Kind == BackendKind.None)
            return Kind != BackendKind.None;
        if (Kind == BackendKind.None || IsHeld || Identity == standing.Identity)
            return false;
        return Name != standing.Name ? FollowsKubeProxy && Families.Length > 0 : standing.Families.All(family => Families.Contains(family));
    }
}
