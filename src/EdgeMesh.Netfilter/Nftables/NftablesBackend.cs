using System.Collections.Immutable;
using System.Text.RegularExpressions;
using EdgeMesh.Net;
using Step = EdgeMesh.Netfilter.Nftables.NftTransaction.Step;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>Portals in native tables of our own, <c>ip edgemesh</c> and <c>ip6 edgemesh</c>, whose hooks come before kube-proxy's.
/// Their priority is their place, so there is no order to guard: only objects that somebody removes or edits.</summary>
/// <remarks>The first sync after a start replaces the table that an earlier run left, in one transaction: there is no
/// moment without rules, and the clients' affinity and the heartbeat are carried over. Reading the old table and
/// sending differences would cost more than sending it: nft takes longer to list 10,000 services than to write them.</remarks>
public sealed partial class NftablesBackend : IPortalBackend
{
    /// <summary>The data path adds an element per IP protocol number that it serves, with a time-out of a few seconds, to
    /// <see cref="HeartbeatSet"/> of table <see cref="TableName"/> in both families. Without it the portals that need the
    /// process let connections pass.</summary>
    public const string TableName = NftNames.Table;

    /// <summary><c>type inet_proto; flags timeout</c>: keys are 6, 17 and 132.</summary>
    public const string HeartbeatSet = NftNames.Alive;

    /// <summary>As <see cref="HeartbeatSet"/>, with a time-out of <see cref="FamilyPortals.Lease"/>: without it all portals let connections pass.</summary>
    public const string LeaseSet = NftNames.Lease;

    // A whole listing may take one part in 500 of a core.
    private const int ListingShare = 500;

    // nft starts a listing anew whenever a transaction of anybody comes in between, and the heartbeat is one each second: a listing
    // of 10,000 service ports takes 3 s and so never ends. Beyond this only events and the presence of the fixed objects are used.
    private const int MostListed = 1_000;

    // Below, a second process costs more than it saves.
    private const int WorthBuilding = 200;

    private const int BatchBytes = 512 * 1024;

    private static readonly TimeSpan ProcessDeadline = TimeSpan.FromSeconds(30);

    private readonly INft nft;
    private readonly NftSend? send;
    private readonly Func<IpFamily, string, bool>? tableStands;
    private readonly TimeProvider time;
    private readonly Dictionary<IpFamily, Standing> standing = [];
    private uint sequence;

    /// <param name="command">How to start nft, for example <c>["nft"]</c>.</param>
    /// <param name="runs">Told of each nft process.</param>
    /// <param name="send">Takes small changes straight to the kernel; null: all changes go through nft.</param>
    /// <param name="tableStands">Whether the kernel has a table of this name, as it says itself; null: nft is asked.</param>
    public NftablesBackend(
        ImmutableArray<string> command, ImmutableArray<IpFamily> families, TimeProvider time, ProgramRuns? runs = null, NftSend? send = null,
        Func<IpFamily, string, bool>? tableStands = null)
        : this(new NftProcess(command, ProcessDeadline, runs), families, time, send)
    {
        this.tableStands = tableStands;
    }

    internal NftablesBackend(INft nft, ImmutableArray<IpFamily> families, TimeProvider time, NftSend? send = null)
    {
        this.nft = nft;
        this.send = send;
        this.time = time;
        Families = families;
    }

    public string Name => "nftables";

    public ImmutableArray<IpFamily> Families { get; }

    public async Task<SyncResult> SyncAsync(IReadOnlyList<FamilyPortals> desired, CancellationToken cancellationToken)
    {
        var result = new SyncResult(Changed: false, 0, 0);
        NetfilterException? failure = null;
        foreach (var portals in desired.Where(d => Families.Contains(d.Family)))
        {
            try
            {
                var one = await SyncAsync(portals, cancellationToken);
                result = new SyncResult(
                    result.Changed || one.Changed, result.RulesAdded + one.RulesAdded, result.RulesRemoved + one.RulesRemoved);
            }
            catch (NetfilterException e)
            {
                failure ??= e;
            }
        }

        return failure is null ? result : throw failure;
    }

    public Task<RepairResult> RepairAsync(CancellationToken cancellationToken) => RepairAsync([], cancellationToken);

    public async Task<RepairResult> RepairAsync(IReadOnlyCollection<string> touchedChains, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(touchedChains);
        var repairs = ImmutableArray.CreateBuilder<string>();
        foreach (var (family, stands) in standing.ToArray())
        {
            // Writing a chain anew is cheaper than finding out what was done to it.
            using var transaction = NewChange(family);
            var written = stands.Table.WriteChains(transaction, touchedChains);
            if (!written.IsEmpty && await TryApplyAsync(transaction, cancellationToken))
                repairs.AddRange(written.Select(chain => $"nftables table {PortalTable.TableOf(family)}: somebody had changed chain {chain}; it was written anew"));
            var findings = await FindAsync(stands, cancellationToken);
            if (findings.IsEmpty)
                continue;
            await ReplaceAsync(stands.Table.Settings with { Rules = stands.Table.Rules }, cancellationToken);
            repairs.AddRange(findings.Select(finding => $"nftables table {PortalTable.TableOf(family)}: {finding}; the table was written anew"));
            await LearnListingAsync(standing[family], repairs, cancellationToken);
        }

        return repairs.Count == 0 ? RepairResult.InOrder : new RepairResult(repairs.ToImmutable());
    }

    public async Task<ImmutableArray<JumpPosition>> InspectAsync(CancellationToken cancellationToken)
    {
        var positions = ImmutableArray.CreateBuilder<JumpPosition>();
        foreach (var family in Families)
        {
            foreach (var hook in new[] { NftNames.Prerouting, NftNames.Output })
            {
                var there = await CountPresentAsync(family, [$"chain {PortalTable.TableOf(family)} {hook}"], cancellationToken) == 1;
                positions.Add(new JumpPosition(
                    family, hook, $"{PortalTable.TableOf(family)} {hook}", there ? 1 : 0, there ? $"priority {NftRules.PortalPriority}" : "missing"));
            }
        }

        return positions.ToImmutable();
    }

    public async Task WithdrawListenersAsync(CancellationToken cancellationToken)
    {
        foreach (var (family, stands) in standing.ToArray())
        {
            using var transaction = new NftTransaction();
            standing.Remove(family);
            stands.Table.WriteWithdraw(transaction);
            if (!transaction.IsEmpty)
                await ApplyAsync(family, transaction, cancellationToken);
            standing[family] = stands;
        }
    }

    public async Task RemoveAsync(CancellationToken cancellationToken)
    {
        foreach (var family in Families)
        {
            using var transaction = new NftTransaction();
            transaction.Command(Step.Table, $"add table {PortalTable.TableOf(family)}");
            transaction.Command(Step.Table, $"delete table {PortalTable.TableOf(family)}");
            await ApplyAsync(family, transaction, cancellationToken);
            standing.Remove(family);
        }
    }

    private async Task<SyncResult> SyncAsync(FamilyPortals desired, CancellationToken cancellationToken)
    {
        if (!standing.TryGetValue(desired.Family, out var stands) || !stands.Table.HasSettingsOf(desired))
            return await ReplaceAsync(desired, cancellationToken);
        using var transaction = NewChange(desired.Family);
        stands.Table.WriteNetworks(transaction, desired);
        // Whatever interrupts this leaves the table object ahead of the kernel; then the next sync replaces the table.
        standing.Remove(desired.Family);
        var (added, removed) = stands.Table.Write(transaction, desired.Rules);
        if (transaction.IsEmpty)
        {
            standing[desired.Family] = stands;
            return new SyncResult(Changed: false, 0, 0);
        }

        await ApplyAsync(desired.Family, transaction, cancellationToken);
        stands.ListingIsReliable = true;
        standing[desired.Family] = stands;
        return new SyncResult(Changed: true, added, removed);
    }

    /// <summary>A table where none stands need not come in one transaction: nothing leads into it before its hooks, which come
    /// last. So nearly all of it goes straight to the kernel, which takes half the time.</summary>
    /// <returns>Null when it has to go the other way.</returns>
    private async Task<SyncResult?> TryBuildAsync(FamilyPortals desired, CancellationToken cancellationToken)
    {
        if (send is null || desired.Rules.Length < WorthBuilding
            || await StandsAsync(desired.Family, cancellationToken))
        {
            return null;
        }

        var table = new PortalTable(desired);
        var messages = new NftMessages(desired.Family, unlimited: true);
        using var transaction = new NftTransaction(messages, either: true);
        table.WriteReplace(transaction);
        var (added, removed) = table.Write(transaction, desired.Rules);
        if (!(await nft.RunAsync(transaction, checkOnly: false, Step.Table, Step.Sets, cancellationToken)).Worked)
            return null;
        foreach (var batch in messages.ToBatches(BatchBytes, () => ++sequence))
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (send(batch, sequence) != 0)
                return null;
        }

        if (!(await nft.RunAsync(transaction, checkOnly: false, Step.AddBackends, Step.DeleteSets, cancellationToken)).Worked)
            return null;
        standing[desired.Family] = new Standing(table);
        return new SyncResult(Changed: true, added, removed);
    }

    private async Task<SyncResult> ReplaceAsync(FamilyPortals desired, CancellationToken cancellationToken)
    {
        if (await TryBuildAsync(desired, cancellationToken) is { } built)
            return built;
        var table = new PortalTable(desired);
        using var transaction = new NftTransaction();
        table.WriteReplace(transaction);
        var (added, removed) = table.Write(transaction, desired.Rules);
        await CarryOverAsync(table, desired, transaction, cancellationToken);
        await ApplyAsync(desired.Family, transaction, cancellationToken);
        standing[desired.Family] = new Standing(table);
        return new SyncResult(Changed: true, added, removed);
    }

    /// <summary>The heartbeat and the clients' affinity of the table that is about to be replaced.</summary>
    private async Task CarryOverAsync(PortalTable table, FamilyPortals desired, NftTransaction transaction, CancellationToken cancellationToken)
    {
        var name = PortalTable.TableOf(desired.Family);
        if (!await StandsAsync(desired.Family, cancellationToken))
            return;
        var affinity = desired.Rules.Any(r => r.Target is PortalTarget.Backends { Choice: BackendChoice.ClientAffinity });
        var answer = await nft.ListAsync(affinity ? $"table {name}" : $"set {name} {NftNames.Alive}", cancellationToken);
        if (!answer.Worked)
            return;
        var old = NftListing.Parse(answer.Output);
        foreach (var (set, elements) in table.ExpectedSets())
        {
            if (elements is null && set != NftNames.Lease && old.Sets.TryGetValue(set, out var members))
            {
                foreach (var member in members)
                    transaction.Element(Step.Elements, $"add element {name} {set}").Append(member);
            }
        }
    }

    private NftTransaction NewChange(IpFamily family) => new(send is null ? null : new NftMessages(family));

    private async Task ApplyAsync(IpFamily family, NftTransaction transaction, CancellationToken cancellationToken)
    {
        // What the kernel refuses in this form goes through nft as well, whose messages say why.
        if (send is not null && transaction.Messages?.ToBatch(++sequence) is { } batch && send(batch, sequence) == 0)
            return;
        var answer = await nft.RunAsync(transaction, checkOnly: false, cancellationToken);
        if (!answer.Worked)
        {
            throw new NetfilterException(
                $"nft refused a change of table {PortalTable.TableOf(family)}, whose rules stand as before: {FirstLines(answer.Error)} "
                + "The whole table is sent at the next try.");
        }
    }

    /// <returns>False when the table is not as it was applied, so that more than these chains has to be repaired.</returns>
    private async Task<bool> TryApplyAsync(NftTransaction transaction, CancellationToken cancellationToken) =>
        (send is not null && transaction.Messages?.ToBatch(++sequence) is { } batch && send(batch, sequence) == 0)
        || (await nft.RunAsync(transaction, checkOnly: false, cancellationToken)).Worked;

    /// <summary>Compares every chain and element of one family's table with what was last applied.</summary>
    internal Task<ImmutableArray<string>> CompareAsync(IpFamily family, CancellationToken cancellationToken) =>
        CompareAsync(standing[family], cancellationToken);

    private async Task<ImmutableArray<string>> CompareAsync(Standing stands, CancellationToken cancellationToken)
    {
        var answer = await ListTableAsync(stands, cancellationToken);
        if (answer.Worked)
            return TableComparison.Find(stands.Table, NftListing.Parse(answer.Output));
        return answer.NotFound
            ? ["it was gone"]
            : throw new NetfilterException(
                $"nft cannot list table {PortalTable.TableOf(stands.Table.Settings.Family)}: {FirstLines(answer.Error)} It is tried again.");
    }

    private async Task<ImmutableArray<string>> FindAsync(Standing stands, CancellationToken cancellationToken)
    {
        var family = stands.Table.Settings.Family;
        var table = PortalTable.TableOf(family);
        if (stands.ListingIsReliable && stands.Table.Count <= MostListed && (stands.Listed is not { } listed || time.GetElapsedTime(listed) >= stands.ListingRest))
            return await CompareAsync(stands, cancellationToken);

        string[] objects =
        [
            .. stands.Table.FixedChains().Select(chain => $"chain {table} {chain.Name}"),
            $"set {table} {NftNames.Alive} {{ type inet_proto; flags timeout; }}",
            $"set {table} {NftNames.Lease} {{ type inet_proto; flags timeout; }}",
            $"set {table} {NftNames.Hairpin} {{ type {NftRules.AddressType(family)} . {NftRules.AddressType(family)}; }}",
        ];
        var present = await CountPresentAsync(family, objects, cancellationToken);
        return present == objects.Length ? [] : [$"{objects.Length - present} of its {objects.Length} fixed chains and sets were gone"];
    }

    private async Task<NftAnswer> ListTableAsync(Standing stands, CancellationToken cancellationToken)
    {
        var start = time.GetTimestamp();
        var answer = await nft.ListAsync($"table {PortalTable.TableOf(stands.Table.Settings.Family)}", cancellationToken);
        stands.Listed = time.GetTimestamp();
        stands.ListingRest = time.GetElapsedTime(start) * ListingShare;
        return answer;
    }

    /// <summary>A version of nft that prints our rules in other words than we know must not make us write the table for ever.</summary>
    private async Task LearnListingAsync(Standing stands, ImmutableArray<string>.Builder repairs, CancellationToken cancellationToken)
    {
        if (stands.Table.Count > MostListed)
            return;
        var differences = await CompareAsync(stands, cancellationToken);
        if (differences.IsEmpty)
            return;
        stands.ListingIsReliable = false;
        repairs.Add($"nftables table {PortalTable.TableOf(stands.Table.Settings.Family)}: right after it was written, {differences[0]}: "
            + "this version of nft prints rules differently, or somebody edits the table at this moment; until the table is next "
            + "written, only the presence of its chains is watched");
    }

    private async Task<bool> StandsAsync(IpFamily family, CancellationToken cancellationToken) =>
        tableStands?.Invoke(family, TableName) ?? await CountPresentAsync(family, [$"table {PortalTable.TableOf(family)}"], cancellationToken) > 0;

    /// <summary>Asks the kernel to create what should be there, without doing it. Listing one chain instead would make
    /// nft 1.0.6 fetch every set of the table: 1.4 s at 10,000 services, against 0.02 s.</summary>
    private async Task<int> CountPresentAsync(IpFamily family, IEnumerable<string> objects, CancellationToken cancellationToken)
    {
        using var transaction = new NftTransaction();
        foreach (var item in objects)
            transaction.Command(Step.Table, $"create {item}");
        var answer = await nft.RunAsync(transaction, checkOnly: true, cancellationToken);
        if (answer.Worked || answer.NotFound || answer.AlreadyThere > 0)
            return answer.AlreadyThere;
        throw new NetfilterException($"nft cannot say what stands in table {PortalTable.TableOf(family)}: {FirstLines(answer.Error)} It is tried again.");
    }

    private static string FirstLines(string error)
    {
        var text = LineBreaks().Replace(error, " ");
        return text.Length <= 400 ? text : text[..400] + "…";
    }

    [GeneratedRegex(@"\s*\n\s*", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex LineBreaks();

    /// <summary>What one family's table holds since the last transaction that the kernel took.</summary>
    private sealed class Standing(PortalTable table)
    {
        public PortalTable Table { get; } = table;

        /// <summary>When, by the clock that nobody sets; null: never.</summary>
        public long? Listed { get; set; }

        public TimeSpan ListingRest { get; set; }

        public bool ListingIsReliable { get; set; } = true;
    }
}
