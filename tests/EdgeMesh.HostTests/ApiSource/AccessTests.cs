using EdgeMesh.Testing.ApiServer;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.ApiSource;

/// <summary>The real program finds its services at each kind of API server.</summary>
public sealed class AccessTests
{
    [Theory]
    [InlineData(AccessKind.Token)]
    [InlineData(AccessKind.ClientCertificate)]
    [InlineData(AccessKind.InCluster)]
    [InlineData(AccessKind.MetaServer)]
    public async Task ServicesOfTheApiServerAreTakenAndTheLabelGivesThemBack(AccessKind access)
    {
        await using var node = await ClusterNode.StartAsync(access, HybridNode.Web);
        await node.Node.UntilRuleAsync("demo/web:http", stands: true);
        await node.Node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        await node.UntilOriginAsync("live");

        node.Api.Put(HybridNode.Web.Labelled(true));
        await node.Node.UntilRuleAsync("demo/web:http", stands: false);
        await node.Node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByKubeProxy);

        node.Api.Put(HybridNode.Web.Labelled(false));
        node.Api.Put(HybridNode.Np);
        await node.Node.UntilRuleAsync("demo/np:http", stands: true);
        await node.Node.UntilAnsweredAsync("node", "10.96.10.4:80", HybridNode.ByAgent);

        node.Api.Remove(HybridNode.Np);
        await node.Node.UntilRuleAsync("demo/np:http", stands: false);
        Assert.Equal(0, node.Warnings("do not arrive"));
        Assert.True(await node.Agent.MetricAsync("edgemesh_source_lists_total") >= 2);
    }

    [Fact]
    public async Task ATokenThatIsRefusedIsSaidOnceAndANewOneInTheFileIsTakenUp()
    {
        await using var node = await ClusterNode.StartAsync(AccessKind.Token, HybridNode.Web);
        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client");

        node.Api.Token = "second";
        node.Api.DropConnections();
        await node.UntilLoggedAsync("401: it does not accept the agent's token or certificate; check the service account or kubeconfig");
        await node.UntilFaultAsync("401");
        File.WriteAllText(node.TokenFile, "second");

        node.Api.Put(HybridNode.Np);
        await node.Node.UntilRuleAsync("demo/np:http", stands: true, TimeSpan.FromSeconds(15));
        await node.UntilFaultAsync(null);
        Assert.Equal(1, node.Warnings("401"));
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
    }
}
