using EdgeMesh.HostTests.ApiSource;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Names;

/// <summary>An edge node whose file does not speak of names.</summary>
public sealed class EdgeNamesTests
{
    private const string Headless = """
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "demo"}, "spec": {"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "ports": [{"name": "sql", "port": 5432}]}}
        """;

    private const string HeadlessEndpoints = """
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "db", "namespace": "demo", "labels": {"service.kubernetes.io/headless": ""}}, "subsets": [{"addresses": [{"ip": "10.244.0.11", "hostname": "db-0"}], "ports": [{"name": "sql", "port": 5432}]}]}
        """;

    private const string ApiService = """
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default"}, "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"name": "https", "port": 443}]}}
        """;

    [Fact]
    public async Task NamesAreAnsweredWithoutBeingToldToAndAfterARebootOffline()
    {
        await using var node = await ClusterNode.StartAsync(AccessKind.MetaServer, HybridNode.Web);
        node.Api.Put(Headless);
        node.Api.Put(HeadlessEndpoints);
        node.Api.Put(ApiService);
        await AllAnsweredAsync(node);
        await node.Node.UntilRuleAsync("demo/web:http", stands: true, TimeSpan.FromSeconds(15));
        Assert.DoesNotContain(node.Api.Requests, request => request.Plural == "namespaces");
        await Eventually.SeesAsync(async () => (await node.StatusAsync()).ToJsonString(), status => status.Contains("\"default/kubernetes\"", StringComparison.Ordinal), TimeSpan.FromSeconds(20), "it is known to the proxy");
        await node.Node.UntilRuleAsync("default/kubernetes:https", stands: false, TimeSpan.FromSeconds(15));

        Assert.Equal(0, await node.Agent.StopAsync());
        (await node.Lab.AgentCommandAsync("cleanup", "--config-file", node.Lab.ConfigFile)).Succeeded();
        await node.StopApiAsync();
        await node.RestartAgentAsync();
        await AllAnsweredAsync(node);
        var said = (await node.Lab.AgentCommandAsync("dns", "web.demo.svc.cluster.local", "--config-file", node.Lab.ConfigFile)).Succeeded().Output;
        Assert.Contains("NOERROR from zone: this agent knows the names of the cluster", said, StringComparison.Ordinal);
    }

    private static async Task AllAnsweredAsync(ClusterNode node)
    {
        foreach (var (name, address) in ((string, string)[])[("web.demo", "10.96.10.1"), ("db.demo", "10.244.0.11"), ("db-0.db.demo", "10.244.0.11"), ("kubernetes.default", "10.96.0.1")])
        {
            await Eventually.SeesAsync(
                async () => (await node.Lab.RunAsync("client", "dig", "+short", "+tries=1", "+time=2", $"@{NamesNode.Server}", $"{name}.svc.cluster.local", "A")).Output,
                answer => answer == address + "\n", TimeSpan.FromSeconds(20), $"{name} is {address}");
        }
    }
}
