using System.Collections.Immutable;

namespace EdgeMesh.Netfilter.Nftables;

public enum BackendKind
{
    /// <summary>Neither can be used here.</summary>
    None,
    Iptables,
    Nftables,
}

/// <summary>What the choice of a backend depends on.</summary>
/// <param name="KubeProxyUsesNftables">A table of kube-proxy stands.</param>
/// <param name="IptablesVariants">Usable ones, as in <c>iptables-nft</c>, <c>iptables-legacy</c>; may be empty.</param>
/// <param name="NftUsable">nft is there and the kernel takes a nat table from it.</param>
public sealed record BackendFacts(bool KubeProxyUsesNftables, ImmutableArray<string> IptablesVariants, bool NftUsable);

/// <summary>The backend for <c>backend: auto</c>.</summary>
/// <param name="Reason">For the log and for <c>status</c>.</param>
public sealed record BackendDecision(BackendKind Backend, string Reason)
{
    public static BackendDecision Decide(BackendFacts facts)
    {
        ArgumentNullException.ThrowIfNull(facts);
        var iptables = !facts.IptablesVariants.IsDefaultOrEmpty;
        return (facts.KubeProxyUsesNftables, iptables, facts.NftUsable) switch
        {
            (true, _, true) => new(BackendKind.Nftables, "kube-proxy uses nftables here, and only a table with a lower priority stays before its rules"),
            (true, true, false) => new(BackendKind.Iptables,
                "kube-proxy uses nftables here, but nft is not usable; iptables rules lose against kube-proxy after each of its restarts: install the package nftables"),
            (false, true, _) => new(BackendKind.Iptables, $"{string.Join(" and ", facts.IptablesVariants)} can be used, and kube-proxy does not use nftables here"),
            (false, false, true) => new(BackendKind.Nftables, "no iptables can be used here"),
            (_, false, false) => new(BackendKind.None, "neither iptables nor nft can be used here: install the package iptables or nftables, and run with CAP_NET_ADMIN"),
        };
    }
}
