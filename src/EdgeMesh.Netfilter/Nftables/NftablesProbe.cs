using System.Collections.Immutable;
using EdgeMesh.Net;
using Step = EdgeMesh.Netfilter.Nftables.NftTransaction.Step;

namespace EdgeMesh.Netfilter.Nftables;

/// <summary>What this node can do with nft, and whether kube-proxy does.</summary>
/// <param name="Families">Families for which nft and the kernel take our kind of table; empty: not usable.</param>
/// <param name="WhyNot">What nft answered where a family is missing; empty when none is.</param>
/// <param name="KubeProxyTable">A table <c>ip kube-proxy</c> or <c>ip6 kube-proxy</c> stands.</param>
public sealed record NftablesAbility(ImmutableArray<IpFamily> Families, string WhyNot, bool KubeProxyTable);

/// <summary>Asks nft and the kernel; changes nothing.</summary>
public static class NftablesProbe
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    /// <param name="command">How to start nft, for example <c>["nft"]</c>.</param>
    public static Task<NftablesAbility> AskAsync(ImmutableArray<string> command, CancellationToken cancellationToken) =>
        AskAsync(new NftProcess(command, Deadline), cancellationToken);

    internal static async Task<NftablesAbility> AskAsync(INft nft, CancellationToken cancellationToken)
    {
        var families = ImmutableArray.CreateBuilder<IpFamily>();
        var whyNot = new List<string>();
        var kubeProxy = false;
        foreach (var family in Enum.GetValues<IpFamily>())
        {
            try
            {
                var ip = NftRules.Ip(family);
                var trial = await CheckAsync(
                    nft,
                    [
                        $"add table {ip} edgemesh-probe",
                        $"add chain {ip} edgemesh-probe probe {{ {NftRules.Hook(NftNames.Output)} }}",
                        $"add rule {ip} edgemesh-probe probe meta l4proto 6 redirect",
                    ],
                    cancellationToken);
                if (trial.Worked)
                    families.Add(family);
                else
                    whyNot.Add($"{family}: {trial.Error.ReplaceLineEndings(" ")}");
                kubeProxy |= (await CheckAsync(nft, [$"create table {ip} kube-proxy"], cancellationToken)).AlreadyThere > 0;
            }
            catch (NetfilterException e)
            {
                whyNot.Add($"{family}: {e.Message}");
            }
        }

        return new NftablesAbility(families.ToImmutable(), string.Join(' ', whyNot), kubeProxy);
    }

    private static async Task<NftAnswer> CheckAsync(INft nft, string[] commands, CancellationToken cancellationToken)
    {
        using var transaction = new NftTransaction();
        foreach (var command in commands)
            transaction.Command(Step.Table, command);
        return await nft.RunAsync(transaction, checkOnly: true, cancellationToken);
    }
}
