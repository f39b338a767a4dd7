using System.Collections.Immutable;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>What tells, in one iptables of this machine, whether kube-proxy works with it.</summary>
/// <param name="Canary">KUBE-PROXY-CANARY, which kube-proxy looks for to see that nobody flushed its tables.</param>
/// <param name="Services">KUBE-SERVICES in nat, through which all of its rules are reached.</param>
/// <param name="Hint">kubelet's chain, which says what kubelet was built with, and what kube-proxy's images then choose if they ask it.</param>
/// <param name="Chains">Chains of either.</param>
public sealed record KubeProxyMarks(IptablesVariant Variant, bool Canary, bool Services, string? Hint, int Chains)
{
    /// <summary>How sure it is that kube-proxy itself wrote here: a canary alone stays behind where it was removed.</summary>
    public int Weight => (Services ? 2 : 0) + (Canary ? 1 : 0);

    /// <summary>kube-proxy's own marks come before kubelet's hint: the hint is there from boot on, and nobody has to follow it.</summary>
    /// <param name="marks">One per iptables that is installed.</param>
    /// <param name="standing">Which one is in use, and what the marks were when that was decided; null at the start.</param>
    /// <returns>Null: nothing tells them apart.</returns>
    public static IptablesFinding? Decide(ImmutableArray<KubeProxyMarks> marks, IptablesFinding? standing = null)
    {
        if (marks.Length == 1)
            return new IptablesFinding(marks[0].Variant, "the only one installed", marks);
        var written = marks.Where(mark => mark.Weight > 0).ToArray();
        if (standing is not null)
        {
            // Of an older kube-proxy the chains may stand until the machine restarts: the live one is the one that came.
            var came = written.Where(mark => mark.Weight > (standing.Marks.FirstOrDefault(known => known.Variant == mark.Variant)?.Weight ?? 0)).ToArray();
            if (came.Length == 1)
                return Found(came[0], marks);
            if (written.Length == 0 || written.Any(mark => mark.Variant == standing.Variant))
                return standing with { Marks = marks };
        }

        if (written.Length > 0)
            return Found(written.MaxBy(mark => (mark.Weight, mark.Chains, mark.Hint is not null))!, marks);
        if (marks.FirstOrDefault(mark => mark.Hint is not null) is { } hinted)
            return new IptablesFinding(hinted.Variant, $"its mangle table has kubelet's {hinted.Hint}, and kube-proxy has written nowhere yet", marks);
        var most = marks.MaxBy(mark => mark.Chains)!;
        return most.Chains > 0 && marks.Count(mark => mark.Chains == most.Chains) == 1
            ? new IptablesFinding(most.Variant, $"it has {most.Chains} KUBE- chains", marks)
            : null;
    }

    private static IptablesFinding Found(KubeProxyMarks mark, ImmutableArray<KubeProxyMarks> marks) => new(
        mark.Variant, $"kube-proxy uses it: it has {(mark.Services ? "KUBE-SERVICES" : "KUBE-PROXY-CANARY")}", marks);
}

/// <param name="Reason">For the log and for <c>status</c>.</param>
/// <param name="Marks">What it was found by.</param>
public sealed record IptablesFinding(IptablesVariant Variant, string Reason, ImmutableArray<KubeProxyMarks> Marks)
{
    public bool KubeProxyWrote => Marks.Any(mark => mark.Variant == Variant && mark.Weight > 0);
}
