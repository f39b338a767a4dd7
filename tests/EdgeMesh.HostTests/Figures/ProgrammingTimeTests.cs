using System.Diagnostics;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Figures;

[Collection(Alone.Name)]
public sealed class ProgrammingTimeTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task AServiceChangeReachesTheRulesWithin200MillisecondsAmong100Services(KubeProxyRules rules)
    {
        var services = Enumerable.Range(1, 100)
            .Select(i => HybridNode.Web with { Name = $"many-{i}", ClusterIPs = [$"10.96.20.{i}"] })
            .ToArray();
        await using var node = await HybridNode.StartAsync(rules, services);
        await node.UntilRuleAsync("demo/many-100:http", stands: true);

        var times = new List<TimeSpan>();
        for (var i = 0; i < 20; i++)
        {
            var stands = i % 2 == 1;
            var watch = Stopwatch.StartNew();
            node.Lab.Manifests.Write(services[49].Labelled(!stands));
            await node.UntilRuleAsync("demo/many-50:http", stands);
            times.Add(watch.Elapsed);
        }

        times.Sort();
        output.WriteLine($"from the file to the rule, 100 services, {rules}: median {times[10].TotalMilliseconds:0} ms, 18th of 20 {times[17].TotalMilliseconds:0} ms, longest {times[^1].TotalMilliseconds:0} ms");
        // What is measured includes the program that looks, which a virtual machine may hold up for a moment; twice in twenty that is not ours.
        Assert.InRange(times[17], TimeSpan.Zero, TimeSpan.FromMilliseconds(200));
    }
}
