using System.Collections.Immutable;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>Finds what somebody else changed in a table of ours.</summary>
internal static class TableComparison
{
    private const int MostFindings = 5;

    /// <returns>One sentence per finding, at most five; empty when all is in order.</returns>
    public static ImmutableArray<string> Find(PortalTable expected, NftListing standing)
    {
        var findings = ImmutableArray.CreateBuilder<string>();
        var chains = 0;
        foreach (var (chain, lines) in expected.ExpectedChains())
        {
            chains++;
            if (!standing.Chains.TryGetValue(chain, out var found))
                findings.Add($"chain {chain} was gone");
            else if (!lines.AsSpan().SequenceEqual(found.ToArray()))
                findings.Add($"chain {chain} had {found.Count} lines that are not the {lines.Length} of ours");
        }

        if (standing.Chains.Count > chains)
            findings.Add($"{standing.Chains.Count - chains} chains were there that are not ours");
        foreach (var (name, elements) in expected.ExpectedSets())
        {
            if (!standing.Sets.TryGetValue(name, out var found))
                findings.Add($"set {name} was gone");
            else if (elements is { } count && found.Count != count)
                findings.Add($"set {name} had {found.Count} elements instead of {count}");
        }

        if (findings.Count == 0 && standing.Sets.TryGetValue(NftNames.Portals, out var portals)
            && !new HashSet<string>(portals, StringComparer.Ordinal).SetEquals(expected.ExpectedPortals()))
            findings.Add($"map {NftNames.Portals} had elements that are not ours");
        return [.. findings.Take(MostFindings)];
    }
}
