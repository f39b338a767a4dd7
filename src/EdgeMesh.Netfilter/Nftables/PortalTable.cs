using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Net;
using Step = EdgeMesh.Netfilter.Nftables.NftTransaction.Step;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>What stands in one family's table, and the text that takes it to what is desired. Makes no system call:
/// whoever applies the text throws this object away when the kernel refused it.</summary>
internal sealed class PortalTable
{
    private FamilyPortals settings;
    private readonly IpFamily family;
    private readonly string table;
    private readonly string portalsAdd;
    private readonly string portalsDelete;
    private readonly Dictionary<TransportAddress, Placed> placed = [];
    private readonly Dictionary<TransportProtocol, BackendSlots> slots =
        Enum.GetValues<TransportProtocol>().ToDictionary(protocol => protocol, protocol => new BackendSlots(protocol));

    private readonly HairpinAddresses hairpins = new();
    private readonly Dictionary<string, (string Add, string Delete)> mapCommands = [];
    private int lastGeneration;

    /// <param name="settings">Its listener, its lease and what is marked for masquerading hold for the life of the table; its rules are not read.</param>
    public PortalTable(FamilyPortals settings)
    {
        this.settings = settings with { Rules = [] };
        family = settings.Family;
        table = TableOf(family);
        portalsAdd = $"add element {table} {NftNames.Portals}";
        portalsDelete = $"delete element {table} {NftNames.Portals}";
    }

    /// <summary>The portals that stand.</summary>
    public ImmutableArray<PortalRule> Rules => [.. placed.Values.Select(portal => portal.Rule)];

    public int Count => placed.Count;

    public static string TableOf(IpFamily family) => $"{NftRules.Ip(family)} {NftNames.Table}";

    public bool HasSettingsOf(FamilyPortals desired) =>
        desired.Listener.Equals(settings.Listener) && desired.Lease == settings.Lease
        && desired.Masquerade.MarksAs(settings.Masquerade) && desired.Invalid is null == settings.Invalid is null;

    /// <summary>Without rules.</summary>
    public FamilyPortals Settings => settings;

    private bool MarksAll => settings.Masquerade.All || settings.Masquerade.DependsOnAddresses;

    /// <summary>Writes the chains in which networks stand, where these changed.</summary>
    /// <param name="desired">Has the other settings of this table.</param>
    public void WriteNetworks(NftTransaction transaction, FamilyPortals desired)
    {
        var before = FixedChains().ToDictionary(chain => chain.Name, chain => chain.Rules);
        settings = desired with { Rules = [] };
        foreach (var chain in FixedChains().Where(chain => !before[chain.Name].AsSpan().SequenceEqual(chain.Rules.AsSpan())))
        {
            transaction.Command(Step.Rules, $"flush chain {table} {chain.Name}");
            WriteRules(transaction, Step.Rules, chain.Name, chain.Rules);
        }
    }

    /// <summary>Replaces whatever table stands by an empty one of ours, in the same transaction as what follows.</summary>
    public void WriteReplace(NftTransaction transaction)
    {
        // nft before 1.0.7 has no `destroy`: adding first makes the deletion succeed in either case.
        transaction.Command(Step.Table, $"add table {table}");
        transaction.Command(Step.Table, $"delete table {table}");
        transaction.Command(Step.Table, $"add table {table} {{ comment \"service portals of edgemesh-agent\"; }}");
        var address = NftRules.AddressType(family);
        transaction.Command(Step.Sets, $"add set {table} {NftNames.Alive} {{ type inet_proto; flags timeout; }}");
        transaction.Command(Step.Sets, $"add set {table} {NftNames.Lease} {{ type inet_proto; flags timeout; }}");
        // With the table itself, so that portals are in force from the first moment; from then on the data path renews it.
        transaction.Element(Step.Elements, $"add element {table} {NftNames.Lease}").Append(NftRules.LeaseElements(settings.Lease));
        transaction.Command(Step.Sets, $"add set {table} {NftNames.Hairpin} {{ type {address} . {address}; }}");
        transaction.Command(Step.Sets, $"add map {table} {NftNames.Portals} {{ type {address} . inet_proto . inet_service : verdict; }}");
        foreach (var chain in FixedChains())
        {
            var hook = chain.Hook is null ? string.Empty : $" {{ {chain.Hook} }}";
            var step = chain.Hook is null ? transaction.FixedChains : Step.Hooks;
            transaction.Command(step, $"add chain {table} {chain.Name}{hook}");
            var rules = chain.Hook is not null ? Step.Hooks : step == Step.Chains ? Step.Rules : step;
            WriteRules(transaction, rules, chain.Name, chain.Rules);
        }
    }

    /// <summary>Writes what takes the table from what stands to <paramref name="rules"/>.</summary>
    public (int Added, int Removed) Write(NftTransaction transaction, ImmutableArray<PortalRule> rules)
    {
        var added = new List<PortalRule>();
        var seen = 0;
        var generation = ++lastGeneration;
        var removed = 0;
        var changed = 0;
        foreach (var rule in rules)
        {
            if (!placed.TryGetValue(rule.Key, out var old))
            {
                // Placed once the removals have given their slots back; a second rule of the same key is not looked at.
                placed.Add(rule.Key, new Placed(rule) { Generation = generation });
                added.Add(rule);
                seen++;
                continue;
            }

            if (old.Generation == generation)
                continue;
            old.Generation = generation;
            seen++;
            if (ReferenceEquals(old.Rule, rule) || Same(old.Rule, rule))
                continue;
            removed++;
            if (TryChange(transaction, old, rule))
            {
                changed++;
                continue;
            }

            Remove(transaction, old);
            placed[rule.Key] = new Placed(rule) { Generation = generation };
            added.Add(rule);
        }

        if (seen != placed.Count)
        {
            foreach (var gone in placed.Values.Where(p => p.Generation != generation).ToList())
            {
                Remove(transaction, gone);
                placed.Remove(gone.Rule.Key);
                removed++;
            }
        }

        foreach (var rule in added)
            Add(transaction, placed[rule.Key]);
        hairpins.Write(transaction, table);
        return (added.Count + changed, removed);
    }

    /// <summary>Takes out the portals that need this process.</summary>
    public int WriteWithdraw(NftTransaction transaction)
    {
        var own = placed.Values.Where(p => p.Chain is null).ToList();
        foreach (var portal in own)
        {
            Remove(transaction, portal);
            placed.Remove(portal.Rule.Key);
        }

        foreach (var portal in placed.Values.Where(p => !Clients(p).IsEmpty))
            TryChange(transaction, portal, portal.Rule.WithoutListener());
        hairpins.Write(transaction, table);
        return own.Count;
    }

    /// <summary>Every chain that must stand, with its rules; a hook's line comes first, as in a listing.</summary>
    public IEnumerable<(string Chain, ImmutableArray<string> Lines)> ExpectedChains()
    {
        foreach (var chain in FixedChains())
            yield return (chain.Name, chain.Hook is null ? chain.Rules : [chain.Hook, .. chain.Rules]);
        foreach (var portal in placed.Values)
        {
            if (portal.Chain is null)
                continue;
            yield return (portal.Chain, ServiceRules(portal));
            foreach (var (endpoint, name) in portal.AffinityNames)
                yield return ($"ep-{name}", NftRules.AffinityEndpoint(family, portal.Rule.Key.Protocol, endpoint, name));
        }
    }

    /// <summary>Every element of the portal map, as a listing prints it.</summary>
    public IEnumerable<string> ExpectedPortals() => placed.Values.Select(PortalElement);

    /// <summary>Names of all sets and maps, with how many elements each must have; null: the kernel or the data path fills it.</summary>
    public IEnumerable<(string Name, int? Elements)> ExpectedSets()
    {
        yield return (NftNames.Alive, null);
        yield return (NftNames.Lease, null);
        yield return (NftNames.Hairpin, hairpins.Count);
        yield return (NftNames.Portals, placed.Count);
        var backends = placed.Values.Where(p => p.Run is not null)
            .GroupBy(p => p.Run!.Value.MapName)
            .ToDictionary(g => g.Key, g => g.Sum(p => ((PortalTarget.Backends)p.Rule.Target).Endpoints.Length));
        foreach (var map in mapCommands.Keys)
            yield return (map, backends.GetValueOrDefault(map));
        foreach (var portal in placed.Values)
        {
            foreach (var (_, name) in portal.AffinityNames)
                yield return (NftNames.AffinityPrefix + name, null);
        }
    }

    public IEnumerable<(string Name, string? Hook, ImmutableArray<string> Rules)> FixedChains()
    {
        var nobody = new InetEndpoint(settings.Listener.Address, 1);
        yield return (NftNames.Listener, null, NftRules.WhileAlive(settings.Listener));
        yield return (NftNames.Refused, null, NftRules.WhileAlive(nobody));
        yield return (NftNames.Prerouting, NftRules.Hook(NftNames.Prerouting), NftRules.Prerouting(family));
        yield return (NftNames.Output, NftRules.Hook(NftNames.Output), NftRules.Output(family));
        yield return (NftNames.Postrouting, NftRules.Hook(NftNames.Postrouting), NftRules.Postrouting(family, settings.Masquerade));
        if (settings.Invalid is not { } guard)
            yield break;
        yield return (NftNames.Forward, NftRules.Hook(NftNames.Forward), NftRules.Guard(family, guard));
        yield return (NftNames.Input, NftRules.Hook(NftNames.Input), NftRules.Guard(family, guard));
    }

    private static bool Same(PortalRule a, PortalRule b) =>
        a.Comment == b.Comment && (a.Target, b.Target) switch
        {
            (PortalTarget.Backends x, PortalTarget.Backends y) =>
                x.Choice == y.Choice && x.AffinityTimeout == y.AffinityTimeout && x.Endpoints.AsSpan().SequenceEqual(y.Endpoints.AsSpan())
                && x.ThroughListener.AsSpan().SequenceEqual(y.ThroughListener.AsSpan()),
            var (x, y) => x.GetType() == y.GetType(),
        };

    // No endpoints in a kernel-path portal means the same as a refused one.
    private static PortalTarget.Backends? BackendsOf(PortalRule rule) =>
        rule.Target is PortalTarget.Backends { Endpoints.IsDefaultOrEmpty: false } backends ? backends : null;

    private void Add(NftTransaction transaction, Placed portal)
    {
        Validate(portal.Rule);
        if (BackendsOf(portal.Rule) is { } backends)
        {
            portal.Chain = NftNames.ServiceChain(portal.Rule, backends.Choice == BackendChoice.ClientAffinity);
            transaction.AddChain(table, portal.Chain);
            if (backends.Choice == BackendChoice.ClientAffinity)
                AddAffinity(transaction, portal, backends, []);
            else
                TakeSlots(transaction, portal, backends);
            WriteServiceRules(transaction, portal);
        }

        transaction.Element(Step.AddPortals, portalsAdd, m => m.AddPortal(portal.Rule.Key, NftNames.Comment(portal.Rule.Comment), ChainOf(portal)))
            .Append($"{PortalElement(portal)}");
    }

    private void Remove(NftTransaction transaction, Placed portal)
    {
        var key = portal.Rule.Key;
        transaction.Element(Step.DeletePortals, portalsDelete, m => m.RemovePortal(key)).Append($"{key.Address} . {(int)key.Protocol} . {key.Port}");
        if (portal.Chain is null)
            return;
        transaction.DeleteChain(table, portal.Chain);
        var backends = (PortalTarget.Backends)portal.Rule.Target;
        if (portal.Run is { } run)
            ReturnSlots(transaction, run, backends);
        RemoveAffinity(transaction, portal, keep: []);
    }

    /// <summary>Changes the endpoints of a portal without touching its chain, or the chain without touching the portal.</summary>
    private bool TryChange(NftTransaction transaction, Placed portal, PortalRule rule)
    {
        if (BackendsOf(portal.Rule) is not { } old || BackendsOf(rule) is not { } now || portal.Rule.Comment != rule.Comment)
            return false;
        var affinity = now.Choice == BackendChoice.ClientAffinity;
        if (affinity != (old.Choice == BackendChoice.ClientAffinity))
            return false;
        Validate(rule);
        var chain = portal.Chain!;
        var sameRules = false;
        portal.Rule = rule;
        if (affinity)
        {
            var kept = RemoveAffinity(transaction, portal, keep: [.. now.Endpoints.Select(e => NftNames.Affinity(chain, e, now.AffinityTimeout))]);
            AddAffinity(transaction, portal, now, kept);
        }
        else if (portal.Run is { } run && now.Endpoints.Length <= run.Capacity)
        {
            ChangeSlots(transaction, run, old, now);
            sameRules = old.Choice == now.Choice && old.Endpoints.Length == now.Endpoints.Length
                && old.ThroughListener.AsSpan().SequenceEqual(now.ThroughListener.AsSpan());
        }
        else
        {
            ReturnSlots(transaction, portal.Run!.Value, old);
            TakeSlots(transaction, portal, now);
        }

        if (!sameRules)
        {
            transaction.FlushChain(table, chain);
            WriteServiceRules(transaction, portal);
        }

        return true;
    }

    private void TakeSlots(NftTransaction transaction, Placed portal, PortalTarget.Backends backends)
    {
        var run = slots[portal.Rule.Key.Protocol].Take(backends.Endpoints.Length);
        portal.Run = run;
        if (run.NewMap)
        {
            var name = run.MapName;
            transaction.Command(Step.Sets, $"add map {table} {name} {{ typeof numgen inc mod 1 : {NftRules.Ip(family)} daddr . {run.Protocol.Name()} dport; }}");
            mapCommands.Add(name, ($"add element {table} {name}", $"delete element {table} {name}"));
        }

        for (var i = 0; i < backends.Endpoints.Length; i++)
            AddSlot(transaction, run, i, backends.Endpoints[i]);
    }

    private void ReturnSlots(NftTransaction transaction, BackendSlots.Run run, PortalTarget.Backends backends)
    {
        for (var i = 0; i < backends.Endpoints.Length; i++)
        {
            DeleteSlot(transaction, run, i);
            hairpins.Remove(backends.Endpoints[i].Address);
        }

        slots[run.Protocol].Return(run);
    }

    private void ChangeSlots(NftTransaction transaction, BackendSlots.Run run, PortalTarget.Backends old, PortalTarget.Backends now)
    {
        for (var i = 0; i < Math.Max(old.Endpoints.Length, now.Endpoints.Length); i++)
        {
            InetEndpoint? before = i < old.Endpoints.Length ? old.Endpoints[i] : null;
            InetEndpoint? after = i < now.Endpoints.Length ? now.Endpoints[i] : null;
            if (before == after)
                continue;
            if (before is { } gone)
            {
                DeleteSlot(transaction, run, i);
                hairpins.Remove(gone.Address);
            }

            if (after is { } come)
                AddSlot(transaction, run, i, come);
        }
    }

    private void AddSlot(NftTransaction transaction, BackendSlots.Run run, int index, InetEndpoint endpoint)
    {
        transaction.Element(Step.AddBackends, mapCommands[run.MapName].Add, m => m.AddBackend(run.MapName, run.Offset + index, endpoint)).Append($"{run.Offset + index} : {endpoint.Address} . {endpoint.Port}");
        hairpins.Add(endpoint.Address);
    }

    private void DeleteSlot(NftTransaction transaction, BackendSlots.Run run, int index) =>
        transaction.Element(Step.DeleteBackends, mapCommands[run.MapName].Delete, m => m.RemoveBackend(run.MapName, run.Offset + index)).Append($"{run.Offset + index}");

    private void AddAffinity(NftTransaction transaction, Placed portal, PortalTarget.Backends backends, HashSet<string> kept)
    {
        var key = portal.Rule.Key;
        portal.AffinityNames = [.. backends.Endpoints.Distinct().Select(e => (e, NftNames.Affinity(portal.Chain!, e, backends.AffinityTimeout)))];
        foreach (var (endpoint, name) in portal.AffinityNames)
        {
            hairpins.Add(endpoint.Address);
            if (kept.Contains(name))
                continue;
            transaction.Command(
                Step.Sets,
                $"add set {table} {NftNames.AffinityPrefix}{name} {{ type {NftRules.AddressType(family)}; size 65535; flags dynamic,timeout; timeout {NftNames.Seconds(backends.AffinityTimeout)}s; }}");
            transaction.Command(Step.Chains, $"add chain {table} ep-{name}");
            WriteRules(transaction, Step.Rules, $"ep-{name}", NftRules.AffinityEndpoint(family, key.Protocol, endpoint, name));
        }
    }

    private HashSet<string> RemoveAffinity(NftTransaction transaction, Placed portal, HashSet<string> keep)
    {
        var kept = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (endpoint, name) in portal.AffinityNames)
        {
            hairpins.Remove(endpoint.Address);
            if (keep.Contains(name))
            {
                kept.Add(name);
                continue;
            }

            transaction.Command(Step.DeleteChains, $"delete chain {table} ep-{name}");
            transaction.Command(Step.DeleteSets, $"delete set {table} {NftNames.AffinityPrefix}{name}");
        }

        portal.AffinityNames = [];
        return kept;
    }

    private ImmutableArray<string> ServiceRules(Placed portal)
    {
        var backends = (PortalTarget.Backends)portal.Rule.Target;
        return portal.Run is { } run
            ? NftRules.Slots(family, portal.Rule.Key.Protocol, backends.Choice, backends.Endpoints.Length, run.Offset, run.MapName, MarksAll, Clients(portal))
            : NftRules.Affinity(family, [.. portal.AffinityNames.Select(a => a.Name)], MarksAll, Clients(portal));
    }

    private static ImmutableArray<InetAddress> Clients(Placed portal) =>
        portal.Rule is { Key.Protocol: not TransportProtocol.Sctp, Target: PortalTarget.Backends backends } ? backends.ThroughListener : [];

    private static string PortalElement(Placed portal)
    {
        var key = portal.Rule.Key;
        return $"{key.Address} . {(int)key.Protocol} . {key.Port} comment \"{NftNames.Comment(portal.Rule.Comment)}\" : goto {ChainOf(portal)}";
    }

    private static string ChainOf(Placed portal) =>
        portal.Chain ?? (portal.Rule.Target is PortalTarget.Listener ? NftNames.Listener : NftNames.Refused);

    private void WriteServiceRules(NftTransaction transaction, Placed portal) => transaction.Rules(table, portal.Chain!, () => ServiceRules(portal), messages =>
    {
        var backends = (PortalTarget.Backends)portal.Rule.Target;
        if (portal.Run is { } run)
            messages.AddSlotRules(portal.Chain!, run.Protocol, backends.Choice, backends.Endpoints.Length, run.Offset, run.MapName, MarksAll, Clients(portal));
        else
            messages.GiveUp();
    });

    /// <summary>Writes those of the named chains anew that are ours.</summary>
    /// <returns>Their names.</returns>
    public ImmutableArray<string> WriteChains(NftTransaction transaction, IReadOnlyCollection<string> names)
    {
        var written = ImmutableArray.CreateBuilder<string>();
        foreach (var chain in FixedChains().Where(chain => names.Contains(chain.Name)))
        {
            written.Add(chain.Name);
            var hook = chain.Hook is null ? string.Empty : $" {{ {chain.Hook} }}";
            transaction.Command(Step.Chains, $"add chain {table} {chain.Name}{hook}");
            transaction.Command(Step.Rules, $"flush chain {table} {chain.Name}");
            WriteRules(transaction, Step.Rules, chain.Name, chain.Rules);
        }

        foreach (var portal in placed.Values.Where(p => p.Chain is not null && names.Contains(p.Chain)))
        {
            written.Add(portal.Chain!);
            transaction.AddChain(table, portal.Chain!);
            transaction.FlushChain(table, portal.Chain!);
            WriteServiceRules(transaction, portal);
        }

        return written.DrainToImmutable();
    }

    private void WriteRules(NftTransaction transaction, Step step, string chain, ImmutableArray<string> rules)
    {
        foreach (var rule in rules)
            transaction.Command(step, $"add rule {table} {chain} {rule}");
    }

    private void Validate(PortalRule rule)
    {
        var wrong = rule.Key.Family != family || (BackendsOf(rule) is { } backends && backends.Endpoints.Any(e => e.Family != family));
        if (wrong)
            throw new ArgumentException($"The portal {rule.Comment} ({rule.Key}) has an address that is not {family}.", nameof(rule));
    }

    private sealed class Placed(PortalRule rule)
    {
        public PortalRule Rule { get; set; } = rule;

        public int Generation { get; set; }

        /// <summary>Null for a portal that leads to a shared chain.</summary>
        public string? Chain { get; set; }

        public BackendSlots.Run? Run { get; set; }

        public ImmutableArray<(InetEndpoint Endpoint, string Name)> AffinityNames { get; set; } = [];
    }
}
