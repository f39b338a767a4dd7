using EdgeMesh.Testing.ApiServer;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.ApiSource;

/// <summary>Whatever the API server does, the last good rules stay in force, one line says what is wrong, and the agent is
/// back by itself. A server that says nothing for minutes is left to the in-process tests, which can turn the clock.</summary>
public sealed class FaultTests
{
    public static TheoryData<string, string> Faults => new()
    {
        { "garbage", "not JSON" },
        { "html", "text/html instead of JSON: check that http://10.200.0.1:16443/ is an API server" },
        { "half a line", "" },
        { "503", "503" },
        { "something else", "where v1 ServiceList was expected" },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public async Task AServerThatAnswersWronglyChangesNothingAndIsSaidOnce(string fault, string message)
    {
        await using var node = await ClusterNode.StartAsync(AccessKind.Token, HybridNode.Web);
        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client");

        node.Misbehave(fault switch
        {
            "garbage" => Testing.ApiServer.Misbehave.Body("\u0001\u0002 garbage }{\n"),
            "html" => Testing.ApiServer.Misbehave.Body("<html><body>Please sign in</body></html>", "text/html"),
            "half a line" => Testing.ApiServer.Misbehave.Cut("{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Serv"),
            "503" => Testing.ApiServer.Misbehave.Status(503),
            _ => Testing.ApiServer.Misbehave.Body("""{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}""" + "\n"),
        });
        await node.UntilLoggedAsync("do not arrive: ");
        await node.UntilFaultAsync(message);
        var faults = await node.Agent.MetricAsync("edgemesh_source_faults_total");
        Assert.True(faults >= 3);
        await Eventually.SeesAsync(() => node.Agent.MetricAsync("edgemesh_source_faults_total"), now => now > faults + 3, TimeSpan.FromSeconds(15));
        Assert.InRange(node.Warnings("do not arrive: "), 1, 3);
        Assert.All(
            node.Agent.Log.Split('\n').Where(line => line.Contains("do not arrive: ", StringComparison.Ordinal)).GroupBy(line => line[line.IndexOf("do not", StringComparison.Ordinal)..]),
            same => Assert.Single(same));

        node.Misbehave(null);
        node.Api.Put(HybridNode.Np);
        await node.Node.UntilRuleAsync("demo/np:http", stands: true, TimeSpan.FromSeconds(20));
        await node.UntilFaultAsync(null);
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
    }

    [Fact]
    public async Task ARestartOfTheApiServerIsOneLineAndOneMoreWhenItIsBack()
    {
        await using var node = await ClusterNode.StartAsync(AccessKind.ClientCertificate, HybridNode.Web);
        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client");

        await node.StopApiAsync();
        await node.UntilLoggedAsync("cannot reach https://10.200.0.1:16443/: Connection refused");
        await node.UntilFaultAsync("Connection refused");
        await node.StartApiAsync();
        node.Api.Put(HybridNode.Np);
        await node.Node.UntilRuleAsync("demo/np:http", stands: true, TimeSpan.FromSeconds(20));

        await node.UntilFaultAsync(null);
        await node.UntilLoggedAsync("Services and endpoints arrive again");
        Assert.Equal(1, node.Warnings("Connection refused"));
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
    }

    [Fact]
    public async Task DroppedConnectionsAndAForgottenHistoryAreNotWorthALine()
    {
        await using var node = await ClusterNode.StartAsync(AccessKind.Token, HybridNode.Web);
        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client");

        for (var i = 1; i <= 3; i++)
        {
            node.Api.Store.ForgetHistory();
            node.Api.DropConnections();
            var service = HybridNode.Np with { Name = $"np-{i}", ClusterIPs = [$"10.96.20.{i}"] };
            node.Api.Put(service);
            await node.Node.UntilRuleAsync($"demo/np-{i}:http", stands: true, TimeSpan.FromSeconds(10));
        }

        Assert.Equal(0, node.Warnings("EdgeMesh.Kubernetes"));
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
    }

    [Fact]
    public async Task AnObjectOfTenMegabytesIsNamedAndTheOthersArrive()
    {
        await using var node = await ClusterNode.StartAsync(AccessKind.Token, HybridNode.Web, HybridNode.Np);
        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client");

        node.Api.Put($$$"""{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"demo","annotations":{"big":"{{{new string('x', 10 << 20)}}}"}},"spec":{"clusterIP":"10.96.10.1","ports":[{"name":"http","port":80}]}}""");
        await node.UntilLoggedAsync("Service demo/web is larger than 2 MB: its last good version, if any, stays in force; correct the object");
        node.Api.Put(HybridNode.Np.Labelled(true));
        await node.Node.UntilRuleAsync("demo/np:http", stands: false);

        // A list is read in the same way.
        node.Api.Store.ForgetHistory();
        node.Api.DropConnections();
        node.Api.Put(HybridNode.Np);
        await node.Node.UntilRuleAsync("demo/np:http", stands: true, TimeSpan.FromSeconds(10));
        await node.UntilFaultAsync("demo/web is larger than 2 MB");
        Assert.Equal(1, node.Warnings("demo/web"));
        Assert.InRange(node.Agent.Facts.ResidentBytes, 0, 200 << 20);
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
    }
}
