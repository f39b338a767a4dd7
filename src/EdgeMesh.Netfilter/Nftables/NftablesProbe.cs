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
    private const string KubeProxy = "kube-proxy";

    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    /// <param name="command">How to start nft, for example <c>["nft"]</c>.</param>
    /// <param name="stands">Whether the kernel has a table of this name, as it says itself; null: nft is asked.</param>
    public static Task<NftablesAbility> AskAsync(ImmutableArray<string> command, Func<IpFamily, string, bool>? stands, CancellationToken cancellationToken) =>
        AskAsync(new NftProcess(command, Deadline), stands, cancellationToken);

    internal static async Task<NftablesAbility> AskAsync(INft nft, Func<IpFamily, string, bool>? stands, CancellationToken cancellationToken)
    {
        var families = ImmutableArray.CreateBuilder<IpFamily>();
        var whyNot = new List<string>();
        var kubeProxy = false;
        NftAnswer? all;
        try
        {
            all = await CanAllAsync(nft, cancellationToken);
        }
        catch (NetfilterException held) when (held.IsTransient)
        {
            // What held it up is not waited for again and again.
            return new NftablesAbility([], held.Message, stands is not null && Enum.GetValues<IpFamily>().Any(family => stands(family, KubeProxy)));
        }

        foreach (var family in Enum.GetValues<IpFamily>())
        {
            try
            {
                var trial = all ?? await CheckAsync(nft, Trial(family), cancellationToken);
                if (trial.Worked)
                    families.Add(family);
                else
                    whyNot.Add($"{family}: {trial.Error.ReplaceLineEndings(" ")}");
                kubeProxy |= stands is not null
                    ? stands(family, KubeProxy)
                    : (await CheckAsync(nft, [$"create table {NftRules.Ip(family)} {KubeProxy}"], cancellationToken)).AlreadyThere > 0;
            }
            catch (NetfilterException e)
            {
                whyNot.Add($"{family}: {e.Message}");
            }
        }

        return new NftablesAbility(families.ToImmutable(), string.Join(' ', whyNot), kubeProxy);
    }

    /// <summary>Both in one question, which nearly every node answers with yes.</summary>
    /// <returns>Null: not both.</returns>
    private static async Task<NftAnswer?> CanAllAsync(INft nft, CancellationToken cancellationToken)
    {
        try
        {
            return await CheckAsync(nft, [.. Enum.GetValues<IpFamily>().SelectMany(Trial)], cancellationToken) is { Worked: true } both ? both : null;
        }
        catch (NetfilterException fault) when (!fault.IsTransient)
        {
            // Each family is asked by itself, and says why.
            return null;
        }
    }

    private static string[] Trial(IpFamily family) =>
    [
        $"add table {NftRules.Ip(family)} edgemesh-probe",
        $"add chain {NftRules.Ip(family)} edgemesh-probe probe {{ {NftRules.Hook(NftNames.Output)} }}",
        $"add rule {NftRules.Ip(family)} edgemesh-probe probe meta l4proto 6 redirect",
    ];

    private static async Task<NftAnswer> CheckAsync(INft nft, string[] commands, CancellationToken cancellationToken)
    {
        using var transaction = new NftTransaction();
        foreach (var command in commands)
            transaction.Command(Step.Table, command);
        return await nft.RunAsync(transaction, checkOnly: true, cancellationToken);
    }
}
