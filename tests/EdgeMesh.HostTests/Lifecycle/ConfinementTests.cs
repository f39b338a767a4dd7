using System.Globalization;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Lifecycle;

/// <summary>What the program leaves itself of root's rights once it runs.</summary>
public sealed class ConfinementTests
{
    [Fact]
    public async Task EveryThreadOfTheAgentHoldsThreeCapabilitiesAndStandsUnderTheFilter()
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, HybridNode.Web);
        var tasks = Directory.GetDirectories($"/proc/{node.Agent.Id.ToString(CultureInfo.InvariantCulture)}/task");
        Assert.NotEmpty(tasks);
        foreach (var task in tasks)
        {
            var status = (await File.ReadAllLinesAsync(Path.Combine(task, "status"), TestContext.Current.CancellationToken))
                .Select(line => line.Split(':', 2)).ToDictionary(pair => pair[0], pair => pair[1].Trim());
            // CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW.
            foreach (var set in new[] { "CapPrm", "CapEff", "CapBnd" })
                Assert.Equal(1UL << 10 | 1UL << 12 | 1UL << 13, ulong.Parse(status[set], NumberStyles.HexNumber, CultureInfo.InvariantCulture));
            Assert.Equal("1", status["NoNewPrivs"]);
            Assert.Equal("2", status["Seccomp"]);
        }

        var limits = await File.ReadAllLinesAsync($"/proc/{node.Agent.Id.ToString(CultureInfo.InvariantCulture)}/limits", TestContext.Current.CancellationToken);
        Assert.Contains(limits, line => line.StartsWith("Max core file size", StringComparison.Ordinal) && line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[4] == "0");
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft, "userspace")]
    [InlineData(KubeProxyRules.IptablesLegacy, "auto")]
    [InlineData(KubeProxyRules.Nftables, "auto")]
    public async Task UnderTheProfileForContainersTheAgentServesAndStops(KubeProxyRules kubeProxy, string dataPath)
    {
        await using var node = await HybridNode.StartAsync(kubeProxy, lab =>
        {
            lab.Manifests.Write(HybridNode.Web);
            return Task.FromResult(new AgentOptions { Config = new AgentConfig { DataPath = dataPath }, Launcher = SeccompProfile.Launcher(lab.Folder) });
        });

        // Its own filter, and the profile before it.
        Assert.Contains("Seccomp_filters:\t2", await File.ReadAllLinesAsync(
            string.Create(CultureInfo.InvariantCulture, $"/proc/{node.Agent.Id}/status"), TestContext.Current.CancellationToken));
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        await node.UntilAnsweredAsync("node", HybridNode.WebAddress, HybridNode.ByAgent);
        Assert.Equal(0, await node.Agent.StopAsync());
        // Nothing that the profile forbids was missed.
        Assert.DoesNotMatch("EPERM|not permitted|confine", node.Agent.Log);
        Assert.DoesNotMatch("(warn|fail|crit): \\S+ (?!The limit of open files)", node.Agent.Log);
    }
}
