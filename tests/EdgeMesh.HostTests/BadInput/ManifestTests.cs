using EdgeMesh.HostTests.ApiSource;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.BadInput;

/// <summary>Manifests as people write them wrongly, before the real program.</summary>
public sealed class ManifestTests
{
    private const string Good = """
        apiVersion: v1
        kind: Service
        metadata: {name: good, namespace: demo}
        spec: {clusterIP: 10.96.20.1, ports: [{name: http, port: 80}]}
        """;

    [Theory]
    [InlineData("apiVersion: v1\nkind: Service\nmetadata: {name: bad\nspec: x\n", "7|8|9|10", "is not YAML")]
    [InlineData("apiVersion: v1\nkind: Service\nmetadata: {name: bad, namespace: demo}\nspec:\n  ports:\n  - port: http\n", "11", "demo/bad has a value of the wrong type")]
    [InlineData("apiVersion: v1\nkind: Service\nmetadata: {name: bad, namespace: demo}\nspec:\n  ports: many\n", "10", "demo/bad has a value of the wrong type")]
    [InlineData("apiVersion: v1\nkind: Service\nmetadata: {name: bad, namespace: demo}\nspec:\n  ports:\n  - port: 70000\n", "11", "impossible port 70000")]
    [InlineData("apiVersion: v1\nkind: Service\nmetadata: {name: bad, namespace: demo}\nspec:\n  ports:\n  - port: -1\n", "11", "impossible port -1")]
    [InlineData("apiVersion: v1\nkind: Service\nmetadata: {name: bad, namespace: demo}\nspec: {clusterIP: 10.0.0.300}\n", "9", "not an IP address")]
    [InlineData("just text\n", "6", "not a Kubernetes object")]
    public async Task ABadDocumentAmongGoodOnesIsNamedByFileAndLineAndTheGoodOnesStay(string bad, string lines, string message)
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, HybridNode.Web);
        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client");

        // Lines 1 to 4 are the good one, 5 is '---'.
        node.Lab.Manifests.WriteText("mixed.yaml", $"{Good}\n---\n{bad}---\n{Good.Replace("good", "also", StringComparison.Ordinal).Replace("20.1", "20.2", StringComparison.Ordinal)}\n");
        await node.UntilRuleAsync("demo/good:http", stands: true);
        await node.UntilRuleAsync("demo/also:http", stands: true);
        var log = await Eventually.SeesAsync(() => node.Agent.Log, log => log.Contains(message, StringComparison.Ordinal), TimeSpan.FromSeconds(5));
        Assert.Matches($@"warn: .*mixed\.yaml:({lines}) .*{message}", log);

        // A scan that finds the same again is silent.
        node.Lab.Manifests.Write(HybridNode.Np);
        await node.UntilRuleAsync("demo/np:http", stands: true);
        Assert.Equal(1, ClusterNode.Warnings(node.Agent.Log, "mixed.yaml"));
        var status = (await node.Lab.AgentCommandAsync("status", "--config-file", node.Lab.ConfigFile)).Succeeded().Output;
        Assert.Contains("mixed.yaml", status, StringComparison.Ordinal);
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
    }

    [Fact]
    public async Task AServiceWhoseFileBreaksStaysInForceUntilItIsMended()
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, HybridNode.Web);
        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "client");
        node.Lab.Manifests.WriteText("demo-web.yaml", "kind: Service\nspec: [{{{");
        await Eventually.SeesAsync(() => node.Agent.Log, log => log.Contains("demo-web.yaml:", StringComparison.Ordinal), TimeSpan.FromSeconds(5));
        await node.UntilRuleAsync("demo/web:http", stands: true);

        node.Lab.Manifests.Write(HybridNode.Web with { Endpoints = ["10.244.0.12"] });
        await Eventually.SeesAsync(() => node.Lab.AskTimesAsync("client", HybridNode.WebAddress, 4), answers => answers.All(a => a.Pod == "b"), TimeSpan.FromSeconds(5));
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
    }
}
