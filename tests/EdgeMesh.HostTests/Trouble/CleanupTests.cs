using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Trouble;

/// <summary>Cleanup on a host that lacks something: what can be removed is, and "none left" is said only where the kernel says so.</summary>
public sealed class CleanupTests
{
    private const string NoneLeft = "rules: none of the agent's are left";

    [Theory]
    [InlineData(RulesIn.IptablesNft, "left in table ip nat of nf_tables", "iptables-nft")]
    [InlineData(RulesIn.IptablesLegacy, "left in table ip nat of iptables-legacy", "iptables-legacy")]
    [InlineData(RulesIn.Nftables, "left in table ip edgemesh of nf_tables", "nft")]
    public async Task WithoutTheProgramThatRemovesThemRulesAreNamedAndLater(RulesIn rules, string left, string program)
    {
        await using var lab = await WithLeftoversAsync(rules);

        var blind = await CleanupAsync(lab, Programs.Only(lab));
        Assert.Equal(1, blind.ExitCode);
        Assert.Contains(left, blind.Errors, StringComparison.Ordinal);
        Assert.Contains($"the program {program} removes them", blind.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain(NoneLeft, blind.Output, StringComparison.Ordinal);
        // What needs no program is done.
        Assert.Contains("device: edgemesh0 removed", blind.Output, StringComparison.Ordinal);

        var seeing = (await CleanupAsync(lab, [])).Succeeded();
        Assert.Contains(NoneLeft, seeing.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("EDGEMESH", await lab.PacketFilterAsync(), StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task WhereNothingIsLeftNoProgramIsNeededToSaySo()
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { PodServers = false });
        var before = await lab.PacketFilterAsync();
        Assert.Contains(NoneLeft, (await CleanupAsync(lab, Programs.Only(lab))).Succeeded().Output, StringComparison.Ordinal);
        Assert.Equal(before, await lab.PacketFilterAsync());
    }

    [Fact]
    public async Task ALockThatIsHeldIsNamedAndTheRestIsDone()
    {
        await using var lab = await WithLeftoversAsync(RulesIn.IptablesLegacy);
        var file = Path.Combine(lab.Folder, "xtables.lock");
        var holder = await Programs.HoldAsync(lab, file);

        var blocked = await CleanupAsync(lab, ["env", $"XTABLES_LOCKFILE={file}"]);
        Assert.Equal(1, blocked.ExitCode);
        Assert.Contains("xtables lock", blocked.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain(NoneLeft, blocked.Output, StringComparison.Ordinal);
        await holder.KillAsync();
        Assert.Contains(NoneLeft, (await CleanupAsync(lab, ["env", $"XTABLES_LOCKFILE={file}"])).Succeeded().Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("commonConfig: [")]
    [InlineData(null)]
    public async Task NeitherTheConfigurationNorTheHostNameIsNeeded(string? config)
    {
        await using var lab = await WithLeftoversAsync(RulesIn.IptablesNft);
        var file = Path.Combine(lab.Folder, "broken.yaml");
        if (config is not null)
            await File.WriteAllTextAsync(file, config);

        var result = (await CleanupAsync(lab, ["unshare", "--uts", "sh", "-ec", "echo '_Odd Name_.' >/proc/sys/kernel/hostname; exec \"$@\"", "sh"], "--config-file", file)).Succeeded();
        Assert.Contains(NoneLeft, result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("EDGEMESH", await lab.PacketFilterAsync(), StringComparison.Ordinal);
    }

    private static async Task<NamespaceLab> WithLeftoversAsync(RulesIn rules)
    {
        var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.None, PodServers = false });
        if (rules == RulesIn.IptablesLegacy)
            await lab.StartKubeletAsync(IptablesVariant.Legacy);
        lab.Manifests.Write(HybridNode.Web);
        var agent = await lab.StartAgentAsync(new AgentOptions { Config = new() { Backend = rules == RulesIn.Nftables ? "nftables" : "iptables" } });
        Assert.Equal(0, await agent.StopAsync());
        return lab;
    }

    private static Task<CommandResult> CleanupAsync(NamespaceLab lab, string[] launcher, params string[] arguments)
    {
        string[] command = [.. launcher, NamespaceLab.AgentProgram, "cleanup", .. arguments];
        return lab.RunAsync("node", command[0], command[1..]);
    }
}
