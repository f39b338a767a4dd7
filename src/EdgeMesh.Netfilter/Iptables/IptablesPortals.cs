using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>Portals in the nat table of iptables. Chosen and made by <see cref="IptablesChoice"/>.</summary>
public sealed class IptablesPortals : IPortalBackend
{
    // Reading a whole table may take one part in so many of the time; in between only the hook and portal chains are read.
    private const int FullReadShare = 500;
    private static readonly TimeSpan CheapRead = TimeSpan.FromMilliseconds(50);

    // The address that every release so far gave its device; rules that lead there are EdgeMesh's.
    private static readonly InetAddress UsualListener = InetAddress.Parse("169.254.96.16");

    private readonly ICommands commands;
    private readonly IptablesVariant variant;
    private readonly ChainNames names;
    private readonly TimeProvider time;
    private readonly Dictionary<IpFamily, FamilyState> families = [];

    internal IptablesPortals(
        ICommands commands, IptablesVariant variant, ChainPrefix prefix, TimeProvider time, IReadOnlyDictionary<IpFamily, IptablesCapabilities> capabilities)
    {
        this.commands = commands;
        this.variant = variant;
        this.time = time;
        names = new ChainNames(prefix);
        foreach (var (family, capable) in capabilities)
            families[family] = new FamilyState(new IptablesCommands(commands, variant, family), capable);
        Families = [.. families.Keys.Order()];
        Capabilities = capabilities.ToImmutableDictionary();
    }

    public string Name => variant == IptablesVariant.Nft ? "iptables-nft" : "iptables-legacy";

    public ImmutableArray<IpFamily> Families { get; }

    public ImmutableDictionary<IpFamily, IptablesCapabilities> Capabilities { get; }

    /// <summary>False where the kernel has no xt_recent: then rules that need this process stay in force when it dies without a word.</summary>
    public bool HeartbeatAvailable => Capabilities.Values.All(c => c.Recent);

    /// <summary>Families that this machine cannot do now, and why.</summary>
    public ImmutableSortedDictionary<IpFamily, NetfilterException> Lost { get; internal init; } = ImmutableSortedDictionary<IpFamily, NetfilterException>.Empty;

    /// <summary>What an operator should know about the first sync: left-overs that were removed or could not be. One line each.</summary>
    public ImmutableArray<string> Notices { get; private set; } = [];

    /// <summary>Whether the kernel path of this backend can do it; if not, the planner keeps the service port in user mode.</summary>
    public bool CanExpress(IpFamily family, BackendChoice choice, int endpoints) =>
        Capabilities.TryGetValue(family, out var capable) && capable.CanExpress(choice, endpoints);

    public async Task<SyncResult> SyncAsync(IReadOnlyList<FamilyPortals> desired, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(desired);
        var result = new SyncResult(Changed: false, 0, 0);
        foreach (var portals in desired)
        {
            if (!families.TryGetValue(portals.Family, out var state))
                continue;
            var sent = await SyncAsync(state, portals, cancellationToken);
            result = new SyncResult(result.Changed || sent.Changed, result.RulesAdded + sent.RulesAdded, result.RulesRemoved + sent.RulesRemoved);
        }

        return result with { Incomplete = Incomplete };
    }

    public Task<RepairResult> RepairAsync(CancellationToken cancellationToken) => RepairAsync([], cancellationToken);

    public async Task<RepairResult> RepairAsync(IReadOnlyCollection<string> touchedChains, CancellationToken cancellationToken)
    {
        var repairs = ImmutableArray.CreateBuilder<string>();
        foreach (var state in families.Values)
        {
            if (state.Applied is not { } applied)
                continue;
            await KeepFilterAsync(state, applied, stood: null, repairs, cancellationToken, look: true);
            if (!FullReadIsDue(state) && await LooksInOrderAsync(state, applied, touchedChains, cancellationToken))
                continue;
            var saved = await ReadAsync(state, ["nat"], cancellationToken);
            var found = new List<string>();
            var transaction = Reconciliation.FromKernel(saved, applied, names, found);
            if (transaction.IsEmpty)
                continue;
            await state.Commands.RestoreAsync(transaction, cancellationToken);
            repairs.AddRange(found);
        }

        return repairs.Count == 0 && Incomplete is null ? RepairResult.InOrder : new RepairResult(repairs.ToImmutable()) { Incomplete = Incomplete };
    }

    public async Task<ImmutableArray<JumpPosition>> InspectAsync(CancellationToken cancellationToken)
    {
        var positions = ImmutableArray.CreateBuilder<JumpPosition>();
        foreach (var (family, state) in families)
        {
            foreach (var hook in names.Hooks.Where(h => h.MustBeFirst))
            {
                var rules = await RulesOfHookAsync(state, hook.HookChain, cancellationToken);
                var position = rules.TakeWhile(r => !r.LeadsTo(hook.PortalChain)).Count() + 1;
                if (position > rules.Count)
                    position = 0;
                var detail = position switch
                {
                    0 => $"{rules.Count} rules, none leads to {hook.PortalChain}",
                    1 => "first",
                    _ => $"behind `{rules[0].Text}`",
                };
                positions.Add(new JumpPosition(family, hook.HookChain, hook.PortalChain, position, detail));
            }
        }

        return positions.ToImmutable();
    }

    public async Task WithdrawListenersAsync(CancellationToken cancellationToken)
    {
        foreach (var state in families.Values)
        {
            if (state.Applied is { } applied)
            {
                var kept = applied.Source.Rules.Where(r => r.Target is PortalTarget.Backends).Select(r => r.WithoutListener());
                await SyncAsync(state, applied.Source with { Rules = [.. kept] }, cancellationToken);
                continue;
            }

            // Nothing was applied yet by this process: what stands is an earlier one's, and it needs a process too.
            var saved = await ReadAsync(state, ["nat"], cancellationToken);
            var transaction = new Transaction("nat");
            foreach (var chain in (string[])[names.Container, names.Host])
            {
                foreach (var rule in saved.Rules("nat", chain).Where(r => r.Text.Contains(" -j DNAT --to-destination ", StringComparison.Ordinal)))
                    transaction.Delete(chain, rule);
            }

            if (!transaction.IsEmpty)
                await state.Commands.RestoreAsync(transaction, cancellationToken);
        }
    }

    public async Task RemoveAsync(CancellationToken cancellationToken)
    {
        var listeners = Listeners();
        foreach (var state in families.Values)
            (state.Applied, state.Filter, state.FilterFault) = (null, null, null);
        foreach (var either in Enum.GetValues<IptablesVariant>())
        {
            foreach (var family in Enum.GetValues<IpFamily>())
                await RemoveLeftoversAsync(new IptablesCommands(commands, either, family), current: null, listeners, cancellationToken);
        }
    }

    /// <summary>Removes what any release left in the other iptables of this machine.</summary>
    public async Task RemoveFromOtherAsync(CancellationToken cancellationToken)
    {
        var other = variant == IptablesVariant.Nft ? IptablesVariant.Legacy : IptablesVariant.Nft;
        foreach (var family in Enum.GetValues<IpFamily>())
        {
            try
            {
                await RemoveLeftoversAsync(new IptablesCommands(commands, other, family), current: null, Listeners(), cancellationToken);
            }
            catch (NetfilterException fault) when (fault.IsMissing)
            {
                // A kernel without this table has no rule of ours in it.
            }
        }
    }

    /// <summary>Removes what any release left in any iptables of this machine. A program that is missing has nothing to remove;
    /// what one of them cannot do keeps none of the others from being done.</summary>
    /// <returns>What may have been left behind, and why.</returns>
    public static async Task<ImmutableArray<string>> RemoveEverywhereAsync(ICommands commands, CancellationToken cancellationToken)
    {
        var faults = ImmutableArray.CreateBuilder<string>();
        commands = await PlainNames.FindAsync(commands, cancellationToken);
        foreach (var either in Enum.GetValues<IptablesVariant>())
        {
            foreach (var family in Enum.GetValues<IpFamily>())
            {
                try
                {
                    await RemoveLeftoversAsync(new IptablesCommands(commands, either, family), current: null, [UsualListener], cancellationToken);
                }
                catch (NetfilterException fault) when (!fault.IsMissing)
                {
                    faults.Add(fault.Message);
                }
                catch (NetfilterException)
                {
                    // A kernel without this table has no rule of ours in it.
                }
            }
        }

        return faults.ToImmutable();
    }

    private async Task<SyncResult> SyncAsync(FamilyState state, FamilyPortals portals, CancellationToken cancellationToken)
    {
        var applied = state.Applied;
        if (applied is not null && ReferenceEquals(applied.Source, portals))
            return new SyncResult(Changed: false, 0, 0);
        var wanted = PortalTable.Build(portals, names, state.Capabilities, applied);
        var stood = applied is null ? await ReadAsync(state, ["nat", "filter"], cancellationToken) : null;
        var transaction = stood is not null
            ? Reconciliation.FromKernel(stood, wanted, names, [])
            : Reconciliation.FromApplied(applied!, wanted, names);

        // Until the kernel has said yes nobody knows what stands; the next sync then reads it.
        state.Applied = null;
        // What translates must not be in force before what lets it through, and nothing may come between it and the first beat.
        if (wanted.NeedsPostrouting)
            await KeepFilterAsync(state, wanted, stood, repairs: null, cancellationToken);
        var start = time.GetTimestamp();
        if (!transaction.IsEmpty)
            await state.Commands.RestoreAsync(transaction, cancellationToken);
        // What took long to write is long to read: seconds and 100 MB, which the first look after a start need not take.
        if (time.GetElapsedTime(start) is var took && took > state.FullReadTook)
            (state.FullReadTook, state.FullReadAt) = (took, time.GetTimestamp());
        if (stood is not null)
            await RemoveLeftoversAsync(state, stood, wanted, cancellationToken);
        state.Applied = wanted;
        if (!wanted.NeedsPostrouting)
            await KeepFilterAsync(state, wanted, stood, repairs: null, cancellationToken);
        return new SyncResult(!transaction.IsEmpty, transaction.Added, transaction.Removed);
    }

    /// <summary>After our own rules stand, so that there is no moment without any. That somebody else's rules cannot be read
    /// or removed must not keep ours from being in force.</summary>
    /// <param name="stood">What stood before ours: without left-overs in it, 100,000 rules of ours need not be read back.</param>
    private async Task RemoveLeftoversAsync(FamilyState state, SavedTables stood, PortalTable wanted, CancellationToken cancellationToken)
    {
        var family = wanted.Source.Family;
        var listeners = Listeners();
        listeners.Add(wanted.Source.Listener.Address);
        var other = variant == IptablesVariant.Nft ? IptablesVariant.Legacy : IptablesVariant.Nft;
        try
        {
            if (Leftovers.Removal(stood, names, listeners).Count > 0 && await RemoveLeftoversAsync(state.Commands, names, listeners, cancellationToken))
            {
                // Service chains of an earlier run that only the removed chains still led to can go now.
                var rest = Reconciliation.FromKernel(await ReadAsync(state, ["nat"], cancellationToken), wanted, names, []);
                if (!rest.IsEmpty)
                    await state.Commands.RestoreAsync(rest, cancellationToken);
                Notice($"{family}: chains of an older EdgeMesh release or of the other chain prefix were removed from {Name}");
            }

            if (await RemoveLeftoversAsync(new IptablesCommands(commands, other, family), current: null, listeners, cancellationToken))
                Notice($"{family}: chains of an earlier EdgeMesh were removed from {IptablesCommands.Name(other, family)}, since {Name} is in use now");
        }
        catch (NetfilterException e)
        {
            Notice($"{family}: chains of an earlier EdgeMesh could not be removed: {e.Message} They are tried again at the next start; `edgemesh-agent cleanup` removes them too.");
        }
    }

    private string? Incomplete => families.Values.Select(state => state.FilterFault).OfType<string>().FirstOrDefault();

    /// <summary>The few rules that do not translate but filter. That this table cannot be written must not keep the portals from
    /// being in force; whoever called is told, and tries again.</summary>
    private async Task KeepFilterAsync(
        FamilyState state, PortalTable portals, SavedTables? stood, ImmutableArray<string>.Builder? repairs, CancellationToken cancellationToken, bool look = false)
    {
        var source = portals.Source;
        var wanted = FilterRules.Of(source, portals.NeedsPostrouting);
        if (!look && state.Filter is { } known && known.IsSameAs(wanted))
            return;
        // Merely asking for the table would make it where nobody needs it. After a fault nobody knows what it has.
        if (wanted.IsEmpty && (look || stood is null) && state is { FilterFault: null, Filter: null or { IsEmpty: true } })
            return;
        try
        {
            var standing = stood ?? await ReadFilterAsync(state, cancellationToken);
            var found = new List<string>();
            var transaction = wanted.Difference(standing, source.Family, found);
            if (!transaction.IsEmpty)
                await state.Commands.RestoreAsync(transaction, cancellationToken);
            if (look)
                repairs?.AddRange(found);
            (state.Filter, state.FilterFault) = (wanted, null);
        }
        catch (NetfilterException e)
        {
            (state.Filter, state.FilterFault) = (null, $"{source.Family}: the rules of the filter table could not be set: {e.Message}");
        }
    }

    private static async Task<SavedTables> ReadFilterAsync(FamilyState state, CancellationToken cancellationToken)
    {
        var text = "";
        foreach (var chain in FilterRules.ChainsOfInterest)
            text += await state.Commands.ListAsync(chain, cancellationToken, "filter");
        return SavedTables.Parse(text, "filter");
    }

    private void Notice(string line) => Notices = Notices.Contains(line) || Notices.Length >= 16 ? Notices : Notices.Add(line);

    private static async Task<bool> RemoveLeftoversAsync(
        IptablesCommands commands, ChainNames? current, IReadOnlyCollection<InetAddress> listeners, CancellationToken cancellationToken)
    {
        if (!commands.Exists || commands.Chains()?.Any(name => Leftovers.CanBe(name.Table, name.Chain)) == false)
            return false;
        var removals = Leftovers.Removal(await commands.SaveAsync(["nat", "filter"], cancellationToken), current, listeners);
        foreach (var removal in removals)
            await commands.RestoreAsync(removal, cancellationToken);
        return removals.Count > 0;
    }

    private HashSet<InetAddress> Listeners()
    {
        var listeners = families.Values.Select(s => s.Applied?.Source.Listener.Address).OfType<InetAddress>().ToHashSet();
        listeners.Add(UsualListener);
        return listeners;
    }

    private async Task<SavedTables> ReadAsync(FamilyState state, string[] tables, CancellationToken cancellationToken)
    {
        var start = time.GetTimestamp();
        var saved = await state.Commands.SaveAsync(tables, cancellationToken);
        state.FullReadTook = time.GetElapsedTime(start);
        state.FullReadAt = time.GetTimestamp();
        return saved;
    }

    /// <summary>iptables-legacy reads the whole table whatever it is asked for, so it is asked once for everything.</summary>
    private bool FullReadIsDue(FamilyState state) =>
        variant == IptablesVariant.Legacy
        || state.FullReadTook <= CheapRead
        || time.GetElapsedTime(state.FullReadAt) >= state.FullReadTook * FullReadShare;

    private async Task<bool> LooksInOrderAsync(
        FamilyState state, PortalTable applied, IReadOnlyCollection<string> touchedChains, CancellationToken cancellationToken)
    {
        // The event does not say in which family; asking for one chain is cheap even among 10,000.
        foreach (var chain in touchedChains)
        {
            if (!await StandsAsApplied(chain))
                return false;
        }

        foreach (var hook in names.Hooks.Where(h => h.MustBeFirst || applied.NeedsPostrouting))
        {
            var rules = await RulesOfHookAsync(state, hook.HookChain, cancellationToken);
            if (rules.Count(r => r.LeadsTo(hook.PortalChain)) != 1 || !rules.Contains(hook.Jump) || (hook.MustBeFirst && rules[0] != hook.Jump))
                return false;
            if (!touchedChains.Contains(hook.PortalChain) && !await StandsAsApplied(hook.PortalChain))
                return false;
        }

        return true;

        async Task<bool> StandsAsApplied(string chain)
        {
            var text = await state.Commands.ListAsync(chain, cancellationToken);
            return applied.Has(chain)
                ? text is not null && SavedTables.Parse(text, "nat").Rules("nat", chain).SequenceEqual(applied.Rules(chain))
                : text is null || !names.IsOurs(chain);
        }
    }

    private static async Task<IReadOnlyList<Rule>> RulesOfHookAsync(FamilyState state, string hookChain, CancellationToken cancellationToken) =>
        await state.Commands.ListAsync(hookChain, cancellationToken) is { } text ? SavedTables.Parse(text, "nat").Rules("nat", hookChain) : [];

    private sealed class FamilyState(IptablesCommands commands, IptablesCapabilities capabilities)
    {
        public IptablesCommands Commands { get; } = commands;

        public IptablesCapabilities Capabilities { get; } = capabilities;

        /// <summary>What the kernel has as far as we know; null before the first sync and after a failed one.</summary>
        public PortalTable? Applied { get; set; }

        /// <summary>What of ours the filter table has; null before the first sync and after a failed one.</summary>
        public FilterRules? Filter { get; set; }

        /// <summary>Why the filter table may not have what it should; null when it has.</summary>
        public string? FilterFault { get; set; }

        public TimeSpan FullReadTook { get; set; }

        public long FullReadAt { get; set; }
    }
}
