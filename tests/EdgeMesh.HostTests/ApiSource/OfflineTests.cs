using System.Diagnostics;
using EdgeMesh.Testing.ApiServer;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.ApiSource;

/// <summary>A node that reboots where nobody answers.</summary>
public sealed class OfflineTests(ITestOutputHelper output)
{
    [Fact]
    public async Task ANodeThatRebootsOfflineForwardsAtOnceSaysSoAndGoesLiveWithoutAGap()
    {
        await using var node = await RebootedAsync(_ => { });
        var watch = Stopwatch.StartNew();
        await node.RestartAgentAsync();
        await node.Node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        output.WriteLine($"forwarding from the cache {watch.Elapsed.TotalSeconds:0.00} s after the start");

        Assert.Equal(200, (await node.Agent.GetAsync("/readyz")).Status);
        await node.UntilOriginAsync("cache");
        var status = (await node.Lab.AgentCommandAsync("status", "--config-file", node.Lab.ConfigFile)).Succeeded().Output;
        Assert.Matches(@"from the cache on disk, \d+ s old: the source has\s+not answered yet", status);
        await node.UntilLoggedAsync("Running from the cache: 1 services as of ");

        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client");
        await node.StartApiAsync();
        await node.UntilOriginAsync("live");
        node.Api.Put(HybridNode.Np);
        await node.Node.UntilRuleAsync("demo/np:http", stands: true, TimeSpan.FromSeconds(10));
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
    }

    [Fact]
    public async Task ADamagedCacheIsOneLineAndTheSourceIsWaitedFor()
    {
        await using var node = await RebootedAsync(n =>
        {
            var bytes = File.ReadAllBytes(n.CacheFile);
            bytes[bytes.Length / 2] ^= 1;
            File.WriteAllBytes(n.CacheFile, bytes);
        });
        await node.RestartWaitingAsync();
        await node.UntilLoggedAsync($"The cache {node.CacheFile} is not used: ");
        Assert.Equal(503, (await node.Agent.GetAsync("/readyz")).Status);
        await node.Node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByKubeProxy);

        await node.StartApiAsync();
        await node.Agent.UntilReadyAsync(TimeSpan.FromSeconds(20));
        await node.Node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        Assert.Equal(1, node.Agent.Log.Split('\n').Count(line => line.Contains("is not used", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("missing", "does not exist: create it or correct the setting")]
    [InlineData("broken", "correct the file")]
    [InlineData("no token", "does not exist")]
    public async Task WithABrokenKubeconfigANodeStillForwardsFromItsCache(string fault, string message)
    {
        await using var node = await RebootedAsync(n =>
        {
            if (fault == "missing")
                File.Delete(n.KubeConfig);
            else if (fault == "broken")
                File.WriteAllText(n.KubeConfig, "apiVersion: v1\nusers: [\n");
            else
                File.Delete(n.TokenFile);
        });
        await node.RestartAgentAsync();
        await node.Node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        await node.UntilOriginAsync("cache");
        await node.UntilFaultAsync(message);
        Assert.Equal(1, node.Warnings("The API server cannot be asked: "));

        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client");
        await node.StartApiAsync();
        node.Api.Token = "third";
        File.WriteAllText(node.TokenFile, "third");
        node.WriteKubeConfig(node.Api.Url);
        await node.UntilOriginAsync("live");
        await node.UntilFaultAsync(null);
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
    }

    [Fact]
    public async Task TheCacheOfAnotherClusterIsNotUsed()
    {
        await using var node = await RebootedAsync(n => n.WriteKubeConfig("http://10.200.0.1:17000"));
        await node.RestartWaitingAsync();
        await node.UntilLoggedAsync("is not used: it is of another cluster or source");
        await node.Node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByKubeProxy);
        Assert.Equal(503, (await node.Agent.GetAsync("/readyz")).Status);
    }

    [Fact]
    public async Task WithoutAKubeconfigAndWithoutACacheTheAgentWaitsAndSaysForWhat()
    {
        await using var node = await RebootedAsync(n =>
        {
            File.Delete(n.KubeConfig);
            File.Delete(n.CacheFile);
        });
        await node.RestartWaitingAsync();
        await node.UntilLoggedAsync("The API server cannot be asked: kubeconfig");
        var (code, why) = await node.Agent.GetAsync("/readyz");
        Assert.Equal(503, code);
        Assert.Contains("does not exist", why, StringComparison.Ordinal);

        await node.StartApiAsync();
        node.Api.Token = "first";
        node.WriteKubeConfig(node.Api.Url);
        await node.Agent.UntilReadyAsync(TimeSpan.FromSeconds(20));
        await node.Node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
    }

    /// <summary>The agent has run and kept its cache; then the node went down, and the API server is out of reach.</summary>
    private static async Task<ClusterNode> RebootedAsync(Action<ClusterNode> meanwhile)
    {
        var node = await ClusterNode.StartAsync(AccessKind.Token, HybridNode.Web);
        try
        {
            await node.Node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
            Assert.Equal(0, await node.Agent.StopAsync());
            // A reboot leaves neither rules nor the device.
            (await node.Lab.AgentCommandAsync("cleanup", "--config-file", node.Lab.ConfigFile)).Succeeded();
            await node.StopApiAsync();
            meanwhile(node);
            return node;
        }
        catch
        {
            await node.DisposeAsync();
            throw;
        }
    }
}
