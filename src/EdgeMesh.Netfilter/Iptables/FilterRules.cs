using EdgeMesh.Net;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>Pure: what of ours shall stand in the filter table of one family, and the text that takes it there. Chains
/// with jumps from the kernel's own: what conntrack calls invalid is looked at first of all, and what a policy would
/// drop last of all, so that no rule of anybody is overruled by an acceptance of ours.</summary>
internal sealed class FilterRules
{
    public static readonly string[] ChainsOfInterest = ["INPUT", "FORWARD", ChainNames.Invalid, ChainNames.Forward, ChainNames.Input];

    private static readonly Rule InvalidJump = new(
        $"-p tcp -m conntrack --ctstate INVALID -m comment --comment \"edgemesh: packets of its connections that would pass untranslated\" -j {ChainNames.Invalid}");

    private static readonly Rule ForwardJump = new($"-m comment --comment \"edgemesh: its connections, which the policy would drop\" -j {ChainNames.Forward}");

    private static readonly Rule InputJump = new($"-m comment --comment \"edgemesh: its listener, which the policy would drop\" -j {ChainNames.Input}");

    private readonly Dictionary<string, Rule[]> chains = new(StringComparer.Ordinal);

    public bool IsEmpty => chains.Count == 0;

    /// <param name="anyKernelPath">Without it nothing is translated and nothing forwarded for us.</param>
    public static FilterRules Of(FamilyPortals family, bool anyKernelPath)
    {
        var rules = new FilterRules();
        if (family.AcceptListener && !family.Rules.IsEmpty)
            rules.chains[ChainNames.Input] = [.. PortalText.AcceptListener(family)];
        if (!anyKernelPath)
            return rules;
        if (family.Invalid is { } guard)
            rules.chains[ChainNames.Invalid] = [.. PortalText.Invalid(guard)];
        if (family.AcceptForwarded)
            rules.chains[ChainNames.Forward] = [.. PortalText.AcceptForwarded];
        return rules;
    }

    public bool IsSameAs(FilterRules other) =>
        chains.Count == other.chains.Count
        && chains.All(chain => other.chains.TryGetValue(chain.Key, out var rules) && rules.AsSpan().SequenceEqual(chain.Value));

    public Transaction Difference(SavedTables standing, IpFamily family, List<string> found)
    {
        var transaction = new Transaction("filter");
        foreach (var (chain, rules) in chains)
        {
            if (standing.HasChain("filter", chain) && standing.Rules("filter", chain).SequenceEqual(rules))
                continue;
            found.Add($"{family}: chain {chain} of the filter table was not as it should be; its {rules.Length} rules written anew");
            transaction.Fill(chain, rules);
        }

        Jump(standing, "INPUT", ChainNames.Invalid, InvalidJump, last: false, family, transaction, found);
        Jump(standing, "FORWARD", ChainNames.Invalid, InvalidJump, last: false, family, transaction, found);
        Jump(standing, "FORWARD", ChainNames.Forward, ForwardJump, last: true, family, transaction, found);
        Jump(standing, "INPUT", ChainNames.Input, InputJump, last: true, family, transaction, found);
        foreach (var chain in (string[])[ChainNames.Invalid, ChainNames.Forward, ChainNames.Input])
        {
            if (chains.ContainsKey(chain) || !standing.HasChain("filter", chain))
                continue;
            transaction.Declare(chain);
            transaction.DeleteChain(chain);
        }

        return transaction;
    }

    /// <summary>Its presence counts and not its place: whoever puts a rule before ours or behind it knows why.</summary>
    private void Jump(
        SavedTables standing, string hook, string chain, Rule jump, bool last, IpFamily family, Transaction transaction, List<string> found)
    {
        var ours = standing.Rules("filter", hook).Where(rule => rule.LeadsTo(chain)).ToList();
        var wanted = chains.ContainsKey(chain);
        if (wanted && ours is [var only] && only == jump)
            return;
        foreach (var rule in ours)
            transaction.Delete(hook, rule);
        if (!wanted)
            return;
        if (last)
            transaction.Append(hook, jump);
        else
            transaction.Insert(hook, 1, jump);
        found.Add($"{family}: {hook} had no jump to {chain}; put {(last ? "at its end" : "in front")}");
    }
}
