using EdgeMesh.Testing.ApiServer;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.ApiSource;

/// <summary>The ways of KubeEdge's metaServer, before the real program.</summary>
public sealed class MetaServerTests
{
    [Fact]
    public async Task CorruptedSlicesAreNotUsedAndALostEventIsHealedByTheListAfterAWatchEnds()
    {
        await using var node = await ClusterNode.StartAsync(AccessKind.MetaServer, HybridNode.Web);
        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client", "node");
        Assert.DoesNotContain(node.Api.Requests, r => r.Plural is "endpointslices" or "nodes");
        Assert.DoesNotContain("127.0.0.1:8081", (await node.StatusAsync()).ToJsonString(), StringComparison.Ordinal);

        node.Api.LoseEventsOf("services", "np");
        node.Api.Put(HybridNode.Np);
        node.Api.DropConnections();
        await node.Node.UntilRuleAsync("demo/np:http", stands: true, TimeSpan.FromSeconds(15));

        // The replay of everything at each new watch changes nothing.
        Assert.Equal(0, node.Warnings("EdgeMesh.Kubernetes"));
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
    }
}
