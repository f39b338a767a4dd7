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
}
