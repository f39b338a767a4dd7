using System.Text;
using System.Text.RegularExpressions;

namespace EdgeMesh.Testing.Lab;

/// <summary>One of the two ways in which the iptables programs speak to the kernel.</summary>
public enum IptablesVariant
{
    Nft,
    Legacy,
}

public sealed partial class NamespaceLab
{
    /// <param name="iptables"><c>iptables</c> or <c>ip6tables</c>.</param>
    public async Task<NatTable> NatAsync(IptablesVariant variant, string iptables = "iptables")
    {
        var saved = (await RunAsync("node", $"{Program(variant, iptables)}-save", "-t", "nat")).Succeeded();
        return new NatTable([.. saved.Output.Split('\n')]);
    }

    public async Task IptablesAsync(IptablesVariant variant, params string[] arguments) =>
        (await RunAsync("node", Program(variant, "iptables"), ["-w", "5", .. arguments])).Succeeded();

    /// <summary>The nat table without rules and without chains that somebody made, in one transaction: between a flush and a
    /// removal of chains the agent would have put its own back.</summary>
    public async Task EmptyNatAsync(IptablesVariant variant) =>
        (await RunWithInputAsync("node", "*nat\nCOMMIT\n", Program(variant, "iptables") + "-restore", "-w", "5")).Succeeded();

    /// <summary>What every kubelet leaves on a node, kube-proxy or not: a chain that tells which variant of iptables is in use.</summary>
    public Task StartKubeletAsync(IptablesVariant variant) => IptablesAsync(variant, "-t", "mangle", "-N", "KUBE-KUBELET-CANARY");

    /// <summary>What kube-proxy does in a full sync: a nat jump of its own that is missing goes in at position 1; one that is there stays where it is.</summary>
    public async Task KubeProxySyncAsync(IptablesVariant variant)
    {
        foreach (var chain in (string[])["PREROUTING", "OUTPUT"])
        {
            string[] jump = [chain, "-m", "comment", "--comment", "kubernetes service portals", "-j", "KUBE-SERVICES"];
            if ((await RunAsync("node", Program(variant, "iptables"), ["-w", "5", "-t", "nat", "-C", .. jump])).ExitCode != 0)
                await IptablesAsync(variant, ["-t", "nat", "-I", .. jump]);
        }
    }

    /// <summary>Every rule and every chain that somebody made: both variants, both families, all tables, and native nftables;
    /// without counters, so that two of these can be compared. An empty built-in table is the same as none:
    /// the kernel makes one as soon as anybody looks.</summary>
    public async Task<string> PacketFilterAsync()
    {
        var text = new StringBuilder();
        foreach (var program in (string[])["iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"])
        {
            var table = "";
            foreach (var line in (await RunAsync("node", program)).Succeeded().Output.Split('\n'))
            {
                if (line.StartsWith('*'))
                    table = line[1..];
                if (line.StartsWith('-') || (line.StartsWith(':') && !line.Contains(" ACCEPT ", StringComparison.Ordinal)))
                    text.Append($"{program} {table}: {Counters().Replace(line, "")}\n");
            }
        }

        // Tables that the iptables programs keep are shown above.
        foreach (var line in (await RunAsync("node", "nft", "list", "tables")).Succeeded().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.Split(' ') is [_, var family, var name] && name is not ("nat" or "filter" or "mangle" or "raw" or "security"))
                text.Append(Counters().Replace((await RunAsync("node", "nft", "list", "table", family, name)).Succeeded().Output, ""));
        }

        return text.ToString();
    }

    private static string Program(IptablesVariant variant, string iptables) =>
        $"{iptables}-{(variant == IptablesVariant.Nft ? "nft" : "legacy")}";

    [GeneratedRegex(@"\[\d+:\d+\]|counter packets \d+ bytes \d+ ?")]
    private static partial Regex Counters();
}
