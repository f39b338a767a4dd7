using System.Collections.Immutable;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>Finds which iptables this machine's kube-proxy uses, and what the kernel can do.</summary>
public sealed class IptablesChoice(ICommands commands, TimeProvider time)
{
    /// <summary>Whether any iptables is installed.</summary>
    public bool IsInstalled => Enum.GetValues<IptablesVariant>().Any(v => Commands(v, IpFamily.IPv4).Exists);

    /// <param name="variant">Null: the one that kube-proxy uses, see <see cref="DetectAsync"/>.</param>
    /// <exception cref="NetfilterException">No iptables is installed, or the kernel refuses its nat table for IPv4.</exception>
    public async Task<IptablesPortals> CreateAsync(ChainPrefix prefix, IptablesVariant? variant, CancellationToken cancellationToken)
    {
        var chosen = variant ?? (await DetectAsync(cancellationToken)).Variant;
        var capabilities = ImmutableDictionary.CreateBuilder<IpFamily, IptablesCapabilities>();
        foreach (var family in Enum.GetValues<IpFamily>())
        {
            var tables = Commands(chosen, family);
            try
            {
                if (tables.Exists)
                    capabilities[family] = await ProbeAsync(tables, family, cancellationToken);
                else if (family == IpFamily.IPv4)
                    throw new NetfilterException($"{IptablesCommands.Name(chosen, family)} is not installed: install the package `iptables`, or choose another backend.");
            }
            catch (NetfilterException) when (family == IpFamily.IPv6)
            {
                // A kernel without IPv6 or without its nat table: the agent then serves IPv4, and says so by Families.
            }
        }

        return new IptablesPortals(commands, chosen, prefix, time, capabilities.ToImmutable());
    }

    /// <summary>As kube-proxy's own images choose: kubelet's or kube-proxy's canary chain, else who has more KUBE- chains,
    /// else what the name <c>iptables</c> means on this machine, else whichever is installed.</summary>
    public async Task<IptablesFinding> DetectAsync(CancellationToken cancellationToken)
    {
        var installed = Enum.GetValues<IptablesVariant>().Where(v => Commands(v, IpFamily.IPv4).Exists).ToList();
        if (installed.Count == 0)
            throw new NetfilterException("No iptables was found: neither iptables-nft nor iptables-legacy is installed. Install the package `iptables`, or set the backend to nftables.");
        if (installed.Count == 1)
            return new IptablesFinding(installed[0], "the only one installed");

        var chains = new Dictionary<IptablesVariant, int>();
        foreach (var variant in installed)
        {
            var kube = 0;
            foreach (var family in Enum.GetValues<IpFamily>())
            {
                var tables = Commands(variant, family);
                if (!tables.Exists)
                    continue;
                var saved = await SaveOrEmptyAsync(tables, cancellationToken);
                if (saved.Names("mangle").FirstOrDefault(c => c is "KUBE-PROXY-CANARY" or "KUBE-KUBELET-CANARY" or "KUBE-IPTABLES-HINT") is { } hint)
                    return new IptablesFinding(variant, $"its mangle table has {hint}");
                // Chains of older EdgeMesh releases carry the prefix too, and say nothing about kube-proxy.
                kube += saved.Names("nat").Concat(saved.Names("filter")).Count(c =>
                    c.StartsWith("KUBE-", StringComparison.Ordinal)
                    && !c.StartsWith("KUBE-PORTALS-", StringComparison.Ordinal)
                    && !c.StartsWith("KUBE-NODEPORT-", StringComparison.Ordinal));
            }

            chains[variant] = kube;
        }

        var most = chains.MaxBy(c => c.Value);
        if (most.Value > 0 && chains.Values.Distinct().Count() > 1)
            return new IptablesFinding(most.Key, $"it has {most.Value} KUBE- chains");
        return await SystemDefaultAsync(cancellationToken);
    }

    private async Task<IptablesFinding> SystemDefaultAsync(CancellationToken cancellationToken)
    {
        if (!commands.Exists("iptables"))
            return new IptablesFinding(IptablesVariant.Nft, "newer than the other, and nothing here uses either");
        var version = await commands.RunAsync("iptables", ["--version"], input: null, TimeSpan.FromSeconds(10), cancellationToken);
        return version.Output.Contains("nf_tables", StringComparison.Ordinal)
            ? new IptablesFinding(IptablesVariant.Nft, "`iptables` is it on this machine")
            : new IptablesFinding(IptablesVariant.Legacy, "`iptables` is it on this machine");
    }

    private static async Task<SavedTables> SaveOrEmptyAsync(IptablesCommands tables, CancellationToken cancellationToken)
    {
        try
        {
            return await tables.SaveAsync(["mangle", "nat", "filter"], cancellationToken);
        }
        catch (NetfilterException)
        {
            // A kernel that has not this one (legacy without ip_tables, say): kube-proxy cannot use it either.
            return SavedTables.Empty;
        }
    }

    /// <summary>Only the kernel knows which extensions it has, and tells when a rule is really sent.</summary>
    private static async Task<IptablesCapabilities> ProbeAsync(IptablesCommands tables, IpFamily family, CancellationToken cancellationToken)
    {
        var recent = PortalText.Heartbeat(family);
        var statistic = new Rule("-m statistic --mode nth --every 2 --packet 0 -j RETURN");
        var cluster = new Rule("-m cluster --cluster-local-nodemask 0x00000001 --cluster-total-nodes 2 --cluster-hash-seed 0x00000001 -j RETURN");
        // In its own chain, which nothing leads to: the kernel wants MASQUERADE to be reachable from POSTROUTING only.
        var randomFully = new Rule("-j MASQUERADE --random-fully");
        if (await TryAsync(tables, [recent, statistic, cluster, randomFully], cancellationToken))
            return IptablesCapabilities.Everything;
        // Without any rule in it: when this fails too, it is the table that is missing and not an extension.
        await SendAsync(tables, [], cancellationToken);
        return new IptablesCapabilities(
            await TryAsync(tables, [recent], cancellationToken),
            await TryAsync(tables, [statistic], cancellationToken),
            await TryAsync(tables, [cluster], cancellationToken),
            await TryAsync(tables, [randomFully], cancellationToken));
    }

    private static async Task<bool> TryAsync(IptablesCommands tables, Rule[] rules, CancellationToken cancellationToken)
    {
        try
        {
            await SendAsync(tables, rules, cancellationToken);
            return true;
        }
        catch (NetfilterException)
        {
            return false;
        }
    }

    /// <summary>Two transactions: iptables-legacy sends only the outcome of one to the kernel.</summary>
    private static async Task SendAsync(IptablesCommands tables, Rule[] rules, CancellationToken cancellationToken)
    {
        var add = new Transaction("nat");
        add.Fill(ChainNames.Probe, rules);
        await tables.RestoreAsync(add, cancellationToken);
        var remove = new Transaction("nat");
        remove.Declare(ChainNames.Probe);
        remove.DeleteChain(ChainNames.Probe);
        await tables.RestoreAsync(remove, cancellationToken);
    }

    private IptablesCommands Commands(IptablesVariant variant, IpFamily family) => new(commands, variant, family);
}

/// <param name="Reason">For the log and for <c>status</c>.</param>
public sealed record IptablesFinding(IptablesVariant Variant, string Reason);
