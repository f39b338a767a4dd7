using System.Collections.Immutable;
using System.Runtime.InteropServices;
using EdgeMesh.Kubernetes.Api;

namespace EdgeMesh.Catalog;

/// <summary>Chooses the usable endpoints of one service port as kube-proxy does, each address family by itself:
/// conditions, then hints, then traffic policy. An endpoint is an address, a port and a node: container networks of two
/// nodes may use the same addresses.</summary>
internal static class EndpointSelection
{
    public readonly record struct Selected(ImmutableArray<ServiceEndpoint> Endpoints, EndpointChoice Choice);

    /// <param name="candidates">All that the cluster says of the port; the list is used up.</param>
    /// <param name="local">internalTrafficPolicy: Local.</param>
    public static Selected Select(List<EndpointCandidate> candidates, bool local)
    {
        if (local)
            candidates.RemoveAll(candidate => !candidate.Listed.IsLocal);
        KeepEachOnce(candidates);

        var all = CollectionsMarshal.AsSpan(candidates);
        var split = 0;
        while (split < all.Length && !all[split].Address.Address.IsIPv6)
            split++;

        var selected = ImmutableArray.CreateBuilder<ServiceEndpoint>(all.Length);
        var choice4 = Add(selected, all[..split], local);
        var choice6 = Add(selected, all[split..], local);
        return new Selected(selected.DrainToImmutable(), choice4 == EndpointChoice.None ? choice6 : choice4);
    }

    private static EndpointChoice Add(ImmutableArray<ServiceEndpoint>.Builder selected, ReadOnlySpan<EndpointCandidate> family, bool local)
    {
        // Hints do not apply to Local: this node's endpoints are as near as it gets.
        var choice = local ? EndpointChoice.LocalOnly : ByHints(family);
        var before = selected.Count;
        foreach (ref readonly var candidate in family)
        {
            if (candidate.Listed.Use == EndpointUse.Ready && Matches(candidate, choice))
                selected.Add(candidate.ToEndpoint());
        }

        if (selected.Count > before)
            return choice;

        foreach (ref readonly var candidate in family)
        {
            if (candidate.Listed.Use == EndpointUse.ServesItsLast)
                selected.Add(candidate.ToEndpoint());
        }

        if (local)
            return EndpointChoice.LocalOnly;
        return selected.Count > before ? EndpointChoice.ServingWhileTerminating : EndpointChoice.None;
    }

    private static bool Matches(in EndpointCandidate candidate, EndpointChoice choice) => choice switch
    {
        EndpointChoice.NodeHints => candidate.Listed.NodeHint == HintMatch.NamesThis,
        EndpointChoice.ZoneHints => candidate.Listed.ZoneHint == HintMatch.NamesThis,
        _ => true,
    };

    /// <summary>All or nothing: one ready endpoint without hints, or hints that never name this node, and every endpoint is used.</summary>
    private static EndpointChoice ByHints(ReadOnlySpan<EndpointCandidate> family)
    {
        bool everyNode = true, everyZone = true, myNode = false, myZone = false;
        foreach (ref readonly var candidate in family)
        {
            var listed = candidate.Listed;
            if (listed.Use != EndpointUse.Ready)
                continue;
            everyNode &= listed.NodeHint != HintMatch.NoHint;
            everyZone &= listed.ZoneHint != HintMatch.NoHint;
            if (!everyNode && !everyZone)
                break;
            myNode |= listed.NodeHint == HintMatch.NamesThis;
            myZone |= listed.ZoneHint == HintMatch.NamesThis;
        }

        return everyNode && myNode ? EndpointChoice.NodeHints
            : everyZone && myZone ? EndpointChoice.ZoneHints
            : EndpointChoice.AllReady;
    }

    /// <summary>One address on one node may be listed more than once: in two slices while a pod moves between them, or for
    /// the pod that was there before, which keeps its entry although the address has gone to another pod. Then the best
    /// counts: one that is ready, else one that still serves, else the first by slice. Afterwards the same is asked of
    /// one address on several nodes.</summary>
    private static void KeepEachOnce(List<EndpointCandidate> candidates)
    {
        candidates.Sort(ByAddressAndNode);
        var kept = 0;
        for (var i = 0; i < candidates.Count; i++)
        {
            if (kept == 0 || candidates[kept - 1].Address != candidates[i].Address || candidates[kept - 1].Listed.Node != candidates[i].Listed.Node)
                candidates[kept++] = candidates[i];
        }

        candidates.RemoveRange(kept, candidates.Count - kept);
        for (int from = kept = 0; from < candidates.Count;)
        {
            var to = from + 1;
            while (to < candidates.Count && candidates[to].Address == candidates[from].Address)
                to++;
            kept = KeepOfOneAddress(candidates, from, to, kept);
            from = to;
        }

        candidates.RemoveRange(kept, candidates.Count - kept);
    }

    /// <summary>One address on several nodes: those that are not in use say nothing where another is, and who did not say on
    /// which node it is says nothing beside those who did. Where one of them is this node, the address leads to this
    /// node's own: it serves the node's clients, and others are brought to theirs by their own nodes.</summary>
    private static int KeepOfOneAddress(List<EndpointCandidate> candidates, int from, int to, int kept)
    {
        if (to - from == 1)
        {
            candidates[kept] = candidates[from];
            return kept + 1;
        }

        var best = EndpointUse.None;
        for (var i = from; i < to; i++)
            best = candidates[i].Listed.Use < best ? candidates[i].Listed.Use : best;
        bool here = false, named = false;
        for (var i = from; i < to; i++)
        {
            var listed = candidates[i].Listed;
            here |= listed.Use == best && listed.IsLocal;
            named |= listed.Use == best && listed.Node is not null;
        }

        for (var i = from; i < to; i++)
        {
            var listed = candidates[i].Listed;
            if (listed.Use == best && (!here || listed.IsLocal) && (!named || listed.Node is not null))
                candidates[kept++] = candidates[i];
        }

        return kept;
    }

    private static int ByAddressAndNode(EndpointCandidate a, EndpointCandidate b)
    {
        var order = a.Address.Address.IsIPv6.CompareTo(b.Address.Address.IsIPv6);
        if (order == 0)
            order = a.Address.Address.Bits.CompareTo(b.Address.Address.Bits);
        if (order == 0)
            order = a.Address.Port.CompareTo(b.Address.Port);
        if (order == 0)
            order = string.CompareOrdinal(a.Listed.Node, b.Listed.Node);
        if (order == 0)
            order = a.Listed.Use.CompareTo(b.Listed.Use);
        return order != 0 ? order : a.Listed.Order.CompareTo(b.Listed.Order);
    }
}
