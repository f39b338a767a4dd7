namespace EdgeMesh.Netfilter.Nftables;

/// <summary>One change of one table, as the text that <c>nft -f -</c> reads. Whatever the order of the calls, the text
/// stands in the order that the kernel can take at once and cheaply: it compares a new element of a map with every rule
/// that uses the map, so elements come before rules, and it walks all chains behind a hook, so hooks come last.</summary>
internal sealed class NftTransaction : IDisposable
{
    private readonly Utf8Text[] parts;
    private readonly string?[] openLists;

    public NftTransaction()
    {
        parts = new Utf8Text[Enum.GetValues<Step>().Length];
        openLists = new string?[parts.Length];
        for (var i = 0; i < parts.Length; i++)
            parts[i] = new Utf8Text();
    }

    /// <summary>The order in the text.</summary>
    public enum Step
    {
        Table,
        DeletePortals,
        DeleteBackends,
        DeleteHairpins,
        Sets,
        AddBackends,
        AddHairpins,
        Elements,
        Chains,
        Rules,
        AddPortals,
        Hooks,
        DeleteChains,
        DeleteSets,
    }

    public bool IsEmpty => parts.All(part => part.Length == 0);

    public long Length => parts.Sum(part => part.Length);

    public void Command(Step step, string command)
    {
        var text = Open(step, list: null);
        text.Append($"{command}\n");
    }

    /// <summary>The text to add an element to; elements that follow one another under the same command share it.</summary>
    /// <param name="command">For example <c>add element ip edgemesh portals</c>.</param>
    public Utf8Text Element(Step step, string command) => Open(step, command);

    public async Task WriteToAsync(Stream stream, CancellationToken cancellationToken)
    {
        Close();
        foreach (var part in parts)
            await part.WriteToAsync(stream, cancellationToken);
    }

    public override string ToString()
    {
        Close();
        return string.Concat(parts.Select(part => part.ToString()));
    }

    public void Dispose()
    {
        foreach (var part in parts)
            part.Dispose();
    }

    private Utf8Text Open(Step step, string? list)
    {
        var text = parts[(int)step];
        ref var open = ref openLists[(int)step];
        if (list is not null && list == open)
        {
            text.Append(", ");
            return text;
        }

        if (open is not null)
            text.Append(" }\n");
        open = list;
        if (list is not null)
            text.Append($"{list} {{ ");
        return text;
    }

    private void Close()
    {
        for (var i = 0; i < parts.Length; i++)
            Open((Step)i, list: null);
    }
}
