using System.Diagnostics;
using EdgeMesh.Testing.ApiServer;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.ApiSource;

/// <summary>An edge node whose cloud goes away and comes back, as the operator sees it.</summary>
public sealed class CloudReturnTests(ITestOutputHelper output)
{
    [Fact]
    public async Task APowerCutWithoutTheCloudLosesNothingOfWhatTheCloudSaid()
    {
        await using var node = await ClusterNode.StartAsync(AccessKind.MetaServer, HybridNode.Web, HybridNode.Np);
        await node.Node.UntilRuleAsync("demo/np:http", stands: true);
        await Eventually.HoldsAsync(() => File.Exists(node.CacheFile), TimeSpan.FromSeconds(5));
        await node.Agent.KillAsync();
        // The local database never had one of them, and cannot say so.
        node.Api.Edge.Lose("services", "demo", "np");
        node.Api.Edge.Disconnect();

        await node.RestartAgentAsync();
        await node.UntilOriginAsync("offline");
        await node.Node.UntilRuleAsync("demo/np:http", stands: true);
        Assert.Equal(2, await node.Agent.MetricAsync("edgemesh_source_offline"));
        var (code, body) = await node.Agent.GetAsync("/readyz");
        Assert.Equal(200, code);
        Assert.Matches("offline, facts of [0-9]{2}:[0-9]{2} UTC", body);
        Assert.Matches("offline, facts of [0-9]{2}:[0-9]{2} UTC", (await node.Lab.AgentCommandAsync("status")).Succeeded().Output);
    }

    /// <summary>The waits are those of the product.</summary>
    [Fact]
    public async Task AfterTheCloudsReturnTheTruthIsThereWithinAMinuteAndChangesWithinASecond()
    {
        await using var node = await ClusterNode.StartAsync(AccessKind.MetaServer, HybridNode.Web);
        node.Api.Edge.FirstLocalList = TimeSpan.FromSeconds(LongForm.IsAsked ? 10 : 2);
        node.Api.Edge.Disconnect();
        await Eventually.SeesAsync(async () => (await node.StatusAsync())["source"]!.ToJsonString(), text => text.Contains("offline", StringComparison.Ordinal), TimeSpan.FromSeconds(90));
        node.Api.Put(HybridNode.Np);
        node.Api.Edge.Connect();
        var watch = Stopwatch.StartNew();
        await node.Node.UntilRuleAsync("demo/np:http", stands: true, TimeSpan.FromSeconds(60));
        await node.UntilOriginAsync("live");
        output.WriteLine($"the truth: {watch.Elapsed.TotalSeconds:0.0} s after the cloud's return");

        await Eventually.HoldsAsync(() => node.Api.OpenWatches == 2, TimeSpan.FromSeconds(30));
        watch.Restart();
        node.Api.Remove(HybridNode.Np);
        await node.Node.UntilRuleAsync("demo/np:http", stands: false, TimeSpan.FromSeconds(5));
        output.WriteLine($"a change by the watch: {watch.Elapsed.TotalSeconds:0.00} s");
        Assert.InRange(watch.Elapsed.TotalSeconds, 0, 1);
    }
}
