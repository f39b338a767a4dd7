using System.Collections.Immutable;
using EdgeMesh.Net;

namespace EdgeMesh.Netfilter.Iptables;

/// <summary>Finds which iptables this machine's kube-proxy uses, and what the kernel can do.</summary>
public sealed class IptablesChoice(ICommands commands, TimeProvider time)
{
    /// <summary>Whether any iptables is installed.</summary>
    public bool IsInstalled => Enum.GetValues<IptablesVariant>().Any(v => Commands(v, IpFamily.IPv4).Exists);

    /// <summary>A family that cannot be used now is in <see cref="IptablesPortals.Lost"/>, with the reason.</summary>
    /// <param name="variant">Null: the one that kube-proxy uses, see <see cref="DetectAsync"/>.</param>
    /// <exception cref="NetfilterException">No family can be used.</exception>
    public async Task<IptablesPortals> CreateAsync(ChainPrefix prefix, IptablesVariant? variant, CancellationToken cancellationToken)
    {
        var chosen = variant ?? (await DetectAsync(cancellationToken)).Variant;
        var capabilities = ImmutableDictionary.CreateBuilder<IpFamily, IptablesCapabilities>();
        var lost = ImmutableSortedDictionary.CreateBuilder<IpFamily, NetfilterException>();
        foreach (var family in Enum.GetValues<IpFamily>())
        {
            var tables = Commands(chosen, family);
            // Whatever holds the one family back by a lock holds the other back too: it is not waited for twice.
            if (lost.Values.FirstOrDefault(fault => fault.IsTransient) is { } held)
            {
                lost[family] = held;
                continue;
            }

            try
            {
                if (!tables.Exists)
                    throw new NetfilterException($"{IptablesCommands.Name(chosen, family)} is not installed: install the package `iptables`, or choose another backend.") { IsMissing = true };
                capabilities[family] = await ProbeAsync(tables, family, cancellationToken);
            }
            catch (NetfilterException fault)
            {
                lost[family] = fault;
            }
        }

        if (capabilities.Count == 0)
            throw lost[IpFamily.IPv4];
        return new IptablesPortals(commands, chosen, prefix, time, capabilities.ToImmutable()) { Lost = lost.ToImmutable() };
    }

    /// <summary>The one in which kube-proxy has written; else the one that kubelet hints at, else who has more KUBE- chains,
    /// else what the name <c>iptables</c> means on this machine, else whichever is installed.</summary>
    /// <param name="standing">What was found before; it holds for as long as kube-proxy is not seen elsewhere.</param>
    public async Task<IptablesFinding> DetectAsync(CancellationToken cancellationToken, IptablesFinding? standing = null)
    {
        var marks = ImmutableArray.CreateBuilder<KubeProxyMarks>();
        foreach (var variant in Enum.GetValues<IptablesVariant>().Where(v => Commands(v, IpFamily.IPv4).Exists))
            marks.Add(await MarksAsync(variant, cancellationToken));
        if (marks.Count == 0)
            throw new NetfilterException("No iptables was found: neither iptables-nft nor iptables-legacy is installed. Install the package `iptables`, or set the backend to nftables.") { IsMissing = true };
        var all = marks.ToImmutable();
        return KubeProxyMarks.Decide(all, standing) ?? await SystemDefaultAsync(all, cancellationToken);
    }

    private async Task<KubeProxyMarks> MarksAsync(IptablesVariant variant, CancellationToken cancellationToken)
    {
        var marks = new KubeProxyMarks(variant, Canary: false, Services: false, Hint: null, Chains: 0);
        foreach (var family in Enum.GetValues<IpFamily>())
        {
            var tables = Commands(variant, family);
            if (!tables.Exists)
                continue;
            // A table of 10,000 services takes a second to print, and its names are all that counts.
            var standing = tables.Chains();
            // One by one: a table that iptables cannot read must not hide what the others tell.
            foreach (var table in (string[])["mangle", "nat", "filter"])
            {
                var names = (standing?.Where(name => name.Table == table).Select(name => name.Chain) ?? (await SaveOrEmptyAsync(tables, table, cancellationToken)).Names(table))
                    .ToHashSet(StringComparer.Ordinal);
                marks = marks with
                {
                    Canary = marks.Canary || names.Contains("KUBE-PROXY-CANARY"),
                    Services = marks.Services || (table == "nat" && names.Contains("KUBE-SERVICES")),
                    Hint = marks.Hint ?? (table == "mangle" ? names.FirstOrDefault(name => name is "KUBE-KUBELET-CANARY" or "KUBE-IPTABLES-HINT") : null),
                    // Chains of older EdgeMesh releases carry the prefix too, and say nothing about kube-proxy.
                    Chains = marks.Chains + (table == "mangle" ? 0 : names.Count(IsOfKubernetes)),
                };
            }
        }

        return marks;
    }

    private static bool IsOfKubernetes(string chain) =>
        chain.StartsWith("KUBE-", StringComparison.Ordinal)
        && !chain.StartsWith("KUBE-PORTALS-", StringComparison.Ordinal)
        && !chain.StartsWith("KUBE-NODEPORT-", StringComparison.Ordinal);

    private async Task<IptablesFinding> SystemDefaultAsync(ImmutableArray<KubeProxyMarks> marks, CancellationToken cancellationToken)
    {
        if (!commands.Exists("iptables"))
            return new IptablesFinding(IptablesVariant.Nft, "newer than the other, and nothing here uses either", marks);
        var version = await commands.RunAsync("iptables", ["--version"], input: null, TimeSpan.FromSeconds(10), cancellationToken);
        return version.Output.Contains("nf_tables", StringComparison.Ordinal)
            ? new IptablesFinding(IptablesVariant.Nft, "`iptables` is it on this machine", marks)
            : new IptablesFinding(IptablesVariant.Legacy, "`iptables` is it on this machine", marks);
    }

    private static async Task<SavedTables> SaveOrEmptyAsync(IptablesCommands tables, string table, CancellationToken cancellationToken)
    {
        try
        {
            return await tables.SaveAsync([table], cancellationToken);
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
        catch (NetfilterException fault) when (!fault.IsTransient)
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
