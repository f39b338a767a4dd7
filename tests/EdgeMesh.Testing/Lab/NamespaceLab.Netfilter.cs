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

    /// <summary>Everything that the packet filter holds: both variants, both families, all tables, and native nftables;
    /// without counters and dates, so that two of these can be compared.</summary>
    public async Task<string> PacketFilterAsync()
    {
        var text = new System.Text.StringBuilder();
        foreach (var program in (string[])["iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"])
            text.Append($"== {program}\n").Append((await RunAsync("node", program)).Succeeded().Output);
        text.Append("== nft\n").Append((await RunAsync("node", "nft", "list", "ruleset")).Succeeded().Output);
        var lines = text.ToString().Split('\n').Where(line => !line.StartsWith('#'));
        return Counters().Replace(string.Join('\n', lines), "");
    }

    private static string Program(IptablesVariant variant, string iptables) =>
        $"{iptables}-{(variant == IptablesVariant.Nft ? "nft" : "legacy")}";

    [GeneratedRegex(@"\[\d+:\d+\]|counter packets \d+ bytes \d+ ?")]
    private static partial Regex Counters();
}
