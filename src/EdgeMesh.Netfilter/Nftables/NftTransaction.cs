using System.Collections.Immutable;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>One change of one table, as the text that <c>nft -f -</c> reads. Whatever the order of the calls, the text
/// stands in the order that the kernel can take at once and cheaply: it compares a new element of a map with every rule
/// that uses the map, so elements come before rules, and it walks all chains behind a hook, so hooks come last.</summary>
internal sealed class NftTransaction : IDisposable
{
    private readonly Utf8Text[] parts;
    private readonly string?[] openLists;
    private readonly Utf8Text nowhere = new(silent: true);
    private readonly bool either;

    /// <param name="messages">Gets the same change as messages, as far as it can be told in them.</param>
    /// <param name="either">What is told in messages is left out of the text. Then the text up to <see cref="Step.Sets"/> is to
    /// be applied first, the messages after it, and the rest of the text last.</param>
    public NftTransaction(NftMessages? messages = null, bool either = false)
    {
        Messages = messages;
        this.either = either;
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

    public NftMessages? Messages { get; }

    /// <summary>Where chains stand to which messages refer.</summary>
    public Step FixedChains => either ? Step.Sets : Step.Chains;

    public bool IsEmpty => parts.All(part => part.Length == 0);

    public long Length => parts.Sum(part => part.Length);

    /// <summary>Any command, which makes the change one for the nft program.</summary>
    public void Command(Step step, string command)
    {
        if (!either)
            Messages?.GiveUp();
        Line(step, command);
    }

    public void AddChain(string table, string chain)
    {
        Messages?.AddChain(chain);
        if (!either)
            Line(Step.Chains, $"add chain {table} {chain}");
    }

    public void DeleteChain(string table, string chain)
    {
        Messages?.RemoveChain(chain);
        Line(Step.DeleteChains, $"delete chain {table} {chain}");
    }

    public void FlushChain(string table, string chain)
    {
        Messages?.FlushChain(chain);
        Line(Step.Rules, $"flush chain {table} {chain}");
    }

    /// <param name="writeMessages">Writes the same rules as messages.</param>
    public void Rules(string table, string chain, Func<ImmutableArray<string>> rules, Action<NftMessages> writeMessages)
    {
        if (Tell(writeMessages))
            return;
        foreach (var rule in rules())
            Line(Step.Rules, $"add rule {table} {chain} {rule}");
    }

    private void Line(Step step, string command)
    {
        var text = Open(step, list: null);
        text.Append($"{command}\n");
    }

    /// <summary>The text to add an element to; elements that follow one another under the same command share it.</summary>
    /// <param name="command">For example <c>add element ip edgemesh portals</c>.</param>
    public Utf8Text Element(Step step, string command)
    {
        if (!either)
            Messages?.GiveUp();
        return Open(step, command);
    }

    /// <summary>As <see cref="Element(Step, string)"/>.</summary>
    /// <param name="writeMessages">Writes the same element as a message.</param>
    public Utf8Text Element(Step step, string command, Action<NftMessages> writeMessages)
    {
        return Tell(writeMessages) ? nowhere : Open(step, command);
    }

    public Task WriteToAsync(Stream stream, CancellationToken cancellationToken) => WriteToAsync(stream, Step.Table, Step.DeleteSets, cancellationToken);

    /// <param name="from">The first step that is written.</param>
    /// <param name="to">The last one.</param>
    public async Task WriteToAsync(Stream stream, Step from, Step to, CancellationToken cancellationToken)
    {
        Close();
        for (var step = from; step <= to; step++)
            await parts[(int)step].WriteToAsync(stream, cancellationToken);
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
        nowhere.Dispose();
    }

    /// <returns>True when the text need not say it any more.</returns>
    private bool Tell(Action<NftMessages> writeMessages)
    {
        if (Messages is null)
            return false;
        writeMessages(Messages);
        return either && !Messages.TakeBackGiveUp();
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
