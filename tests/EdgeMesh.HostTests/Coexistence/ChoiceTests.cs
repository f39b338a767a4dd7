using System.Text.Json;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Coexistence;

/// <summary>In which iptables the rules are.</summary>
public sealed class ChoiceTests
{
    [Fact]
    public async Task KubeletsHintGivesWayToTheRulesOfAKubeProxyThatStartsLater()
    {
        await using var node = await HybridNode.StartAsync(new NodeSetup(KubeProxyRules.None, RulesIn.IptablesNft, Through.Kernel), HybridNode.Web);
        Assert.Equal("iptables-nft", await BackendAsync(node));

        await node.Lab.StartKubeProxyAsync(KubeProxyRules.IptablesLegacy);

        await Eventually.SeesAsync(() => BackendAsync(node), backend => backend == "iptables-legacy", TimeSpan.FromSeconds(20));
        await Eventually.SeesAsync(() => node.Lab.NatAsync(IptablesVariant.Legacy), HybridNode.IsFirst, TimeSpan.FromSeconds(10));
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        await Eventually.SeesAsync(
            () => node.Lab.NatAsync(IptablesVariant.Nft), nat => nat.JumpPosition("PREROUTING", HybridNode.Container) == 0, TimeSpan.FromSeconds(20), "the rules that nobody needs are gone");

        Assert.Equal(0, await node.Agent.StopAsync());
        await node.RestartAgentAsync();
        Assert.Equal("iptables-legacy", await BackendAsync(node));
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);
    }

    [Fact]
    public async Task WhoWritesWithNftDoesNotWaitForTheLockOfIptables()
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.IptablesLegacy });
        lab.Manifests.Write(HybridNode.Web);
        // A lock of this lab's own: the one of the machine would stop everybody who uses iptables on it.
        var file = Path.Combine(lab.Folder, "xtables.lock");
        // Without sharing, .NET takes the file by flock(2), as iptables does.
        await using var held = new FileStream(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);

        await lab.StartAgentAsync(new AgentOptions
        {
            Config = new AgentConfig { Backend = "nftables" },
            Environment = new Dictionary<string, string?> { ["XTABLES_LOCKFILE"] = file },
        });

        Assert.Equal(HybridNode.ByAgent, (await lab.AskAsync("client", HybridNode.WebAddress)).Port);
    }

    private static async Task<string?> BackendAsync(HybridNode node)
    {
        using var status = JsonDocument.Parse((await node.Agent.GetAsync("/status")).Body);
        return status.RootElement.GetProperty("rules").GetProperty("backend").GetString();
    }
}
