using System.Collections.Immutable;
using EdgeMesh.Agent.Options;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using EdgeMesh.Netfilter.Nftables;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

/// <summary>The chosen rule backend with what depends on the choice.</summary>
/// <param name="FoundAtFirstSync">What the first sync removed or could not remove; empty before.</param>
/// <param name="RemoveOthers">Removes what others than this one left, once its own rules stand; says what it could not.</param>
/// <param name="Heartbeat">What keeps its user-mode rules in force; null where there are none.</param>
internal sealed record ChosenBackend(
    RuleChoice Choice, IPortalBackend Backend, IHeartbeat? Heartbeat, ImmutableHashSet<BackendChoice> KernelChoices,
    Func<ImmutableArray<string>> FoundAtFirstSync, Func<CancellationToken, Task<ImmutableArray<string>>> RemoveOthers,
    NftablesLink? Link = null, DirectChanges? Direct = null) : IDisposable
{
    public bool IsLegacy => Backend.Name == "iptables-legacy";

    public void Dispose()
    {
        (Heartbeat as IDisposable)?.Dispose();
        Direct?.Dispose();
        Link?.Dispose();
    }
}

/// <summary>Chooses who carries the rules, and removes what the others left behind.</summary>
/// <param name="senders">Tells changes of ours from those of others.</param>
/// <param name="runs">The programs that this starts.</param>
internal sealed class RuleBackends(EdgeProxyOptions options, OwnSenders senders, ProgramRuns runs, ILoggerFactory loggers, TimeProvider time)
{
    private static readonly ImmutableArray<string> NftCommand = ["nft"];
    private static readonly TimeSpan AliveTimeout = TimeSpan.FromSeconds(4);

    private readonly HostCommands _host = new(time, runs, KernelTables.Chains);

    /// <param name="seen">What the iptables of this machine told before; null at the start.</param>
    /// <exception cref="NetfilterException">What time does not cure: nothing is installed that could carry rules.</exception>
    public async Task<RuleChoice> ChooseAsync(IptablesFinding? seen, CancellationToken cancellationToken)
    {
        var commands = await PlainNames.FindAsync(_host, cancellationToken);
        var iptables = new IptablesChoice(commands, time);
        var nft = options.Backend == RuleBackend.Iptables
            ? new NftablesAbility([], "the configuration says iptables", KubeProxyTable: false)
            : await NftablesProbe.AskAsync(NftCommand, KernelTables.Stands, cancellationToken);
        if (options.Backend == RuleBackend.Nftables)
        {
            return nft.Families.IsEmpty && !_host.Exists("nft")
                ? throw new NetfilterException($"modules.edgeProxy.backend is nftables, but nft cannot be used here: {nft.WhyNot} Install the package nftables, or choose iptables.")
                : Nftables(nft, "the configuration says so");
        }

        if (options.Backend == RuleBackend.Iptables)
            return await IptablesAsync(iptables, "the configuration says so", seen, cancellationToken);
        var decision = BackendDecision.Decide(new BackendFacts(nft.KubeProxyTable, iptables.IsInstalled ? ["iptables"] : [], nft.Families.Length > 0));
        switch (decision.Backend)
        {
            case BackendKind.Nftables:
                return Nftables(nft, decision.Reason);
            case BackendKind.None when _host.Exists("nft"):
                return Nftables(nft, decision.Reason);
            case BackendKind.None:
                throw new NetfilterException($"No rules can be set on this node: {decision.Reason}.");
            default:
                var choice = await IptablesAsync(iptables, decision.Reason, seen, cancellationToken);
                return choice.Kind == BackendKind.None && !choice.IsHeld && !nft.Families.IsEmpty
                    ? Nftables(nft, $"iptables cannot be used here: {choice.Reason}")
                    : choice;
        }
    }

    /// <summary>Opens what the choice needs. Nothing is written.</summary>
    public ChosenBackend Open(RuleChoice choice) => choice.Kind switch
    {
        BackendKind.Nftables => OpenNftables(choice),
        BackendKind.Iptables => OpenIptables(choice, choice.Portals!),
        _ => new ChosenBackend(choice, new WaitingBackend(choice.Reason), null, [], () => [], _ => Task.FromResult(ImmutableArray<string>.Empty)),
    };

    /// <summary>Removes the rules of every backend and of every release; for <c>cleanup</c>. What one of them cannot do keeps
    /// none of the others from being done.</summary>
    /// <returns>What may have been left behind, and why.</returns>
    public static async Task<ImmutableArray<string>> RemoveAllAsync(TimeProvider time, CancellationToken cancellationToken)
    {
        var faults = new List<string>();
        faults.AddRange(await IptablesPortals.RemoveEverywhereAsync(new HostCommands(time, chains: KernelTables.Chains), cancellationToken));
        faults.AddRange(await RemoveNftablesAsync(time, runs: null, cancellationToken));
        try
        {
            foreach (var ipv6 in (bool[])[false, true])
                ServiceRoutes.Remove(ipv6);
            // The kernel is asked itself: a program that is missing, or of another kind than wrote the rules, has removed nothing.
            faults.AddRange(StandingChains.Find(IsOurs).GroupBy(chain => (chain.IsLegacy, chain.Family, chain.Table)).Select(LeftIn));
        }
        catch (NetlinkException fault)
        {
            faults.Add($"what is left of the agent's rules could not be looked at: {fault.Message}");
        }

        return [.. faults];
    }

    private static bool IsOurs(string table, string chain) =>
        table == NftablesBackend.TableName || (table is "nat" or "filter" && (chain.StartsWith("EDGEMESH-", StringComparison.Ordinal) || chain == "EDGE-MESH"));

    private static string LeftIn(IEnumerable<StandingChain> chains)
    {
        var first = chains.First();
        var program = first.Table == NftablesBackend.TableName ? "nft"
            : $"{(first.Family == "ip6" ? "ip6tables" : "iptables")}-{(first.IsLegacy ? "legacy" : "nft")}";
        return $"{chains.Count()} chains of the agent are left in table {first.Family} {first.Table} of {(first.IsLegacy ? "iptables-legacy" : "nf_tables")}, {first.Name} for one; "
            + $"the program {program} removes them: see that it is installed and works, and run this again";
    }

    private static async Task<List<string>> RemoveNftablesAsync(TimeProvider time, ProgramRuns? runs, CancellationToken cancellationToken)
    {
        var faults = new List<string>();
        if (!Enum.GetValues<IpFamily>().Any(family => KernelTables.Stands(family, NftablesBackend.TableName)))
            return faults;
        var nft = await NftablesProbe.AskAsync(NftCommand, KernelTables.Stands, cancellationToken);
        // A kernel without nf_tables has no table of ours.
        foreach (var family in nft.Families)
        {
            try
            {
                await new NftablesBackend(NftCommand, [family], time, runs).RemoveAsync(cancellationToken);
            }
            catch (NetfilterException fault)
            {
                faults.Add(fault.Message);
            }
        }

        return faults;
    }

    private static RuleChoice Nftables(NftablesAbility nft, string reason)
    {
        if (nft.Families.IsEmpty)
            return new RuleChoice(BackendKind.None, $"nft cannot be used: {nft.WhyNot}", null, null, [], [], FollowsKubeProxy: false, IsHeld: false);
        ImmutableArray<string> missing = [.. Enum.GetValues<IpFamily>().Where(family => !nft.Families.Contains(family))
            .Select(family => $"{family} services are left to kube-proxy: nft cannot set rules for them ({nft.WhyNot}); it is tried again")];
        return new RuleChoice(BackendKind.Nftables, reason, null, null, nft.Families, missing, nft.KubeProxyTable, IsHeld: false);
    }

    private async Task<RuleChoice> IptablesAsync(IptablesChoice iptables, string reason, IptablesFinding? seen, CancellationToken cancellationToken)
    {
        var found = await iptables.DetectAsync(cancellationToken, seen);
        try
        {
            return Iptables(await iptables.CreateAsync(options.ChainPrefix, found.Variant, cancellationToken), found, $"{reason}; {{0}}: {found.Reason}");
        }
        catch (NetfilterException fault)
        {
            var held = new RuleChoice(BackendKind.None, fault.Message, null, found, [], [], found.KubeProxyWrote, fault.IsTransient);
            var other = found.Marks.FirstOrDefault(mark => mark.Variant != found.Variant);
            if (fault.IsTransient || found.KubeProxyWrote || other is null)
                return held;
            // Its kernel part is not there, and nobody needs this one.
            try
            {
                var instead = found with { Variant = other.Variant };
                return Iptables(await iptables.CreateAsync(options.ChainPrefix, other.Variant, cancellationToken), instead, $"{reason}; {{0}}: the kernel lacks what the other iptables needs");
            }
            catch (NetfilterException)
            {
                return held;
            }
        }
    }

    private static RuleChoice Iptables(IptablesPortals portals, IptablesFinding found, string reason)
    {
        ImmutableArray<string> missing = [.. portals.Lost.Select(lost => $"{lost.Key} services are left to kube-proxy: {lost.Value.Message} It is tried again.")];
        if (!portals.HeartbeatAvailable)
            missing = missing.Add("this kernel has no xt_recent: rules that need the agent stay in force when it is killed or hangs; load the module xt_recent, or set modules.edgeProxy.backend to nftables");
        return new RuleChoice(
            BackendKind.Iptables, reason.Replace("{0}", portals.Name, StringComparison.Ordinal), portals, found, portals.Families, missing, found.KubeProxyWrote,
            portals.Lost.Values.Any(fault => fault.IsTransient));
    }

    private ChosenBackend OpenNftables(RuleChoice choice)
    {
        var link = OpenLink();
        if (link is not null)
            senders.Keep(link.Address);
        var direct = link is null ? null : new DirectChanges(link.Send, loggers.CreateLogger<DirectChanges>());
        var nftables = new NftablesBackend(NftCommand, choice.Families, time, runs, direct is null ? null : direct.Send, KernelTables.Stands);
        NftSetName[] Sets(string name) => [.. choice.Families.Select(family => new NftSetName(
            family, NftablesBackend.TableName, name))];
        var heartbeat = new NftHeartbeat(Sets(NftablesBackend.HeartbeatSet), [6, 17, 132], AliveTimeout, Sets(NftablesBackend.LeaseSet), options.RuleLease);
        return new ChosenBackend(
            choice, nftables, heartbeat, [.. Enum.GetValues<BackendChoice>()], () => [],
            token => IptablesPortals.RemoveEverywhereAsync(_host, token), link, direct);
    }

    private ChosenBackend OpenIptables(RuleChoice choice, IptablesPortals portals) => new(
        choice, portals, new XtRecentHeartbeat(),
        [.. Enum.GetValues<BackendChoice>().Where(each => portals.Families.All(family => portals.CanExpress(family, each, 2)))],
        () => portals.Notices,
        async token =>
        {
            var faults = await RemoveNftablesAsync(time, runs, token);
            await portals.RemoveFromOtherAsync(token);
            return [.. faults];
        });

    /// <summary>Where it cannot be opened, nft carries every change; it will say itself what is wrong.</summary>
    private static NftablesLink? OpenLink()
    {
        try
        {
            return new NftablesLink();
        }
        catch (NetlinkException)
        {
            return null;
        }
    }
}
