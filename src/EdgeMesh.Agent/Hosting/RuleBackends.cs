using System.Collections.Immutable;
using EdgeMesh.Agent.Options;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using EdgeMesh.Netfilter.Nftables;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

/// <summary>The chosen rule backend with what depends on the choice.</summary>
/// <param name="Reason">Why this one; for the log and for status.</param>
/// <param name="FoundAtFirstSync">What the first sync removed or could not remove; empty before.</param>
/// <param name="Senders">Tells changes of ours from those of others.</param>
/// <param name="Heartbeat">What keeps its user-mode rules in force; null where the kernel cannot do it.</param>
internal sealed record ChosenBackend(
    IPortalBackend Backend, string Reason, IHeartbeat? Heartbeat, ImmutableHashSet<BackendChoice> KernelChoices, bool IsLegacy, OwnSenders Senders,
    ImmutableArray<string> Notices, Func<ImmutableArray<string>> FoundAtFirstSync, NftablesLink? Link = null, DirectChanges? Direct = null) : IDisposable
{
    public void Dispose()
    {
        Direct?.Dispose();
        Link?.Dispose();
    }
}

/// <summary>Chooses who carries the rules, and removes what the others left behind.</summary>
internal static class RuleBackends
{
    private static readonly ImmutableArray<string> NftCommand = ["nft"];
    private static readonly TimeSpan AliveTimeout = TimeSpan.FromSeconds(4);

    public static async Task<ChosenBackend> ChooseAsync(EdgeProxyOptions options, ILoggerFactory loggers, TimeProvider time, CancellationToken cancellationToken)
    {
        var senders = new OwnSenders();
        var commands = new HostCommands(time, senders.Add);
        var iptables = new IptablesChoice(commands, time);
        var nft = await NftablesProbe.AskAsync(NftCommand, cancellationToken);
        var (kind, reason) = options.Backend switch
        {
            RuleBackend.Iptables => (BackendKind.Iptables, "the configuration says so"),
            RuleBackend.Nftables => (BackendKind.Nftables, "the configuration says so"),
            _ => Decide(BackendDecision.Decide(new BackendFacts(nft.KubeProxyTable, iptables.IsInstalled ? ["iptables"] : [], nft.Families.Length > 0))),
        };
        if (kind == BackendKind.None)
            throw new AgentStartException($"No rules can be set on this node: {reason}.");
        if (kind == BackendKind.Nftables && nft.Families.IsEmpty)
            throw new AgentStartException($"modules.edgeProxy.backend is nftables, but nft cannot be used here: {nft.WhyNot}. Install the package nftables, or choose iptables.");

        var link = kind == BackendKind.Nftables ? OpenLink() : null;
        if (link is not null)
            senders.Keep(link.Address);
        var direct = link is null ? null : new DirectChanges(link.Send, loggers.CreateLogger<DirectChanges>());
        var nftables = new NftablesBackend(NftCommand, nft.Families, time, senders.Add, direct is null ? null : direct.Send);
        if (kind == BackendKind.Nftables)
        {
            if (iptables.IsInstalled)
                await (await iptables.CreateAsync(options.ChainPrefix, null, cancellationToken)).RemoveAsync(cancellationToken);
            NftSetName[] Sets(string name) => [.. nft.Families.Select(family => new NftSetName(
                family == IpFamily.IPv4 ? NftFamily.IPv4 : NftFamily.IPv6, NftablesBackend.TableName, name))];
            var heartbeat = new NftHeartbeat(Sets(NftablesBackend.HeartbeatSet), [6, 17, 132], AliveTimeout, Sets(NftablesBackend.LeaseSet), options.RuleLease);
            return new ChosenBackend(
                nftables, reason, heartbeat, [.. Enum.GetValues<BackendChoice>()], IsLegacy: false, senders, [], () => [], link, direct);
        }

        if (!nft.Families.IsEmpty)
            await nftables.RemoveAsync(cancellationToken);
        var found = await iptables.DetectAsync(cancellationToken);
        var portals = await iptables.CreateAsync(options.ChainPrefix, found.Variant, cancellationToken);
        return new ChosenBackend(
            portals,
            $"{reason}; {portals.Name}: {found.Reason}",
            new XtRecentHeartbeat(),
            [.. Enum.GetValues<BackendChoice>().Where(choice => portals.Families.All(family => portals.CanExpress(family, choice, 2)))],
            found.Variant == IptablesVariant.Legacy,
            senders,
            portals.HeartbeatAvailable
                ? []
                : ["this kernel has no xt_recent: rules that need the agent stay in force when it is killed or hangs; load the module xt_recent, or set modules.edgeProxy.backend to nftables"],
            () => portals.Notices);
    }

    /// <summary>Removes the rules of every backend and of every release; for <c>cleanup</c>. What one of them cannot do keeps
    /// none of the others from being done.</summary>
    /// <returns>What may have been left behind, and why.</returns>
    public static async Task<ImmutableArray<string>> RemoveAllAsync(TimeProvider time, CancellationToken cancellationToken)
    {
        var faults = new List<string>();
        faults.AddRange(await IptablesPortals.RemoveEverywhereAsync(new HostCommands(time), cancellationToken));
        var nft = await NftablesProbe.AskAsync(NftCommand, cancellationToken);
        // A kernel without nf_tables has no table of ours.
        foreach (var family in nft.Families)
        {
            try
            {
                await new NftablesBackend(NftCommand, [family], time).RemoveAsync(cancellationToken);
            }
            catch (NetfilterException fault)
            {
                faults.Add(fault.Message);
            }
        }

        foreach (var ipv6 in (bool[])[false, true])
            ServiceRoutes.Remove(ipv6);
        return [.. faults];
    }

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

    private static (BackendKind Kind, string Reason) Decide(BackendDecision decision) => (decision.Backend, decision.Reason);
}
