using System.Diagnostics;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Scale;

/// <summary>What one service that somebody made as large as he could costs the real program.</summary>
[Collection(Alone.Name)]
public sealed class ServiceCostTests(ITestOutputHelper output)
{
    private const int Ports = 2_000;
    private const int Endpoints = 200;

    private static readonly TimeSpan Goal = TimeSpan.FromSeconds(2);

    [Theory]
    [InlineData("iptables")]
    [InlineData("nftables")]
    public async Task TwoThousandPortsOfTwoHundredEndpointsHereAreInForceWithinTwoSeconds(string backend)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.IptablesNft });
        lab.Manifests.Write(HybridNode.Web);
        var agent = await lab.StartAgentAsync(new AgentOptions { Config = new AgentConfig { Backend = backend } });
        var times = new List<TimeSpan>();
        // As a whole, and then one endpoint less of it each time.
        for (var round = 0; round < 3; round++)
        {
            var (spent, syncs, processor) = (await SpentAsync(), await agent.MetricAsync("edgemesh_sync_proxy_rules_total"), Worked());
            var watch = Stopwatch.StartNew();
            lab.Manifests.Write(Large(Endpoints - round));
            await Eventually.SeesAsync(() => agent.MetricAsync("edgemesh_sync_proxy_rules_total"), now => now > syncs, TimeSpan.FromSeconds(60));
            var sync = TimeSpan.FromSeconds(await SpentAsync() - spent);
            var worked = Worked() - processor;
            // What other programs of this machine have it wait for is no cost of it.
            times.Add(sync < worked ? sync : worked);
            output.WriteLine($"{backend}: {Ports} ports of {Endpoints - round} endpoints: sync {sync.TotalSeconds:F2} s, {watch.Elapsed.TotalSeconds:F2} s after the file was written, {worked.TotalSeconds:F2} s of processor time, reading with it; {agent.Facts.OwnBytes >> 20} MB");
        }

        times.Sort();
        Assert.InRange(times[1], TimeSpan.Zero, Goal);
        Assert.Equal(200, (await agent.GetAsync("/livez")).Status);
        Assert.Equal(HybridNode.ByAgent, (await lab.AskAsync("client", HybridNode.WebAddress)).Port);

        TimeSpan Worked() => agent.Facts.ProcessorTime + agent.Facts.ChildrenTime;

        Task<double> SpentAsync() => agent.MetricAsync("edgemesh_sync_proxy_rules_duration_seconds_sum");
    }

    private static ManifestService Large(int endpoints) => new()
    {
        Name = "large",
        ClusterIPs = ["10.96.55.1"],
        Ports = [.. Enumerable.Range(1, Ports).Select(i => new ManifestPort($"p{i}", i, 10_000 + i))],
        Endpoints = [.. Enumerable.Range(1, endpoints).Select(i => $"10.244.7.{i}")],
    };
}
