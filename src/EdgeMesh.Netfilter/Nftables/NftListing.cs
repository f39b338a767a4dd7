namespace EdgeMesh.Netfilter.Nftables;

/// <summary>What <c>nft -nn list table</c> printed, as chains of lines and sets of elements.</summary>
internal sealed class NftListing
{
    public Dictionary<string, List<string>> Chains { get; } = new(StringComparer.Ordinal);

    public Dictionary<string, List<string>> Sets { get; } = new(StringComparer.Ordinal);

    public static NftListing Parse(string text)
    {
        var listing = new NftListing();
        List<string>? chain = null;
        List<string>? set = null;
        var inElements = false;
        foreach (var raw in text.AsSpan().EnumerateLines())
        {
            var line = raw.Trim();
            if (line.IsEmpty)
                continue;
            if (inElements)
            {
                inElements = !AddElements(set!, line);
            }
            else if (Opens(line, "chain "))
            {
                chain = listing.Chains[line[6..^2].ToString()] = [];
            }
            else if (Opens(line, "set ") || Opens(line, "map "))
            {
                set = listing.Sets[line[4..^2].ToString()] = [];
            }
            else if (line is "}")
            {
                chain = set = null;
            }
            else if (chain is not null)
            {
                chain.Add(line.ToString());
            }
            else if (set is not null && line.StartsWith("elements = { "))
            {
                inElements = !AddElements(set, line["elements = { ".Length..]);
            }
        }

        return listing;
    }

    /// <summary>A name stands between the word and the brace: of `chain {`, the blank is not the word's and the brace's at once.</summary>
    private static bool Opens(ReadOnlySpan<char> line, string word) => line.EndsWith(" {") && line[..^2].StartsWith(word);

    /// <summary>Our comments hold no comma and no brace, so neither can be inside an element of ours.</summary>
    /// <returns>True when the list ends with this line.</returns>
    private static bool AddElements(List<string> set, ReadOnlySpan<char> line)
    {
        var last = line.EndsWith(" }");
        if (last)
            line = line[..^2];
        foreach (var part in line.Split(','))
        {
            var element = line[part].Trim();
            if (!element.IsEmpty)
                set.Add(element.ToString());
        }

        return last;
    }
}
