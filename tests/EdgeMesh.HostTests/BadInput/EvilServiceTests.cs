using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.BadInput;

/// <summary>Services of somebody who may write services, and means to reach what is the node's own by them.</summary>
public sealed class EvilServiceTests
{
    private const string Evil = """
        apiVersion: v1
        kind: Service
        metadata: {name: read-loopback, namespace: evil}
        spec: {clusterIP: 10.96.20.50, ports: [{name: http, port: 80}]}
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: read-loopback-1, namespace: evil, labels: {kubernetes.io/service-name: read-loopback}}
        addressType: IPv4
        ports: [{name: http, port: 9999}]
        endpoints: [{addresses: [127.0.0.1], conditions: {ready: true}}]
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: read-metadata, namespace: evil}
        spec: {clusterIP: 10.96.20.51, ports: [{name: http, port: 80}]}
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: read-metadata-1, namespace: evil, labels: {kubernetes.io/service-name: read-metadata}}
        addressType: IPv4
        ports: [{name: http, port: 80}]
        endpoints: [{addresses: [169.254.169.254], conditions: {ready: true}}]
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: catch-loopback, namespace: evil}
        spec: {clusterIP: 127.0.0.1, ports: [{name: http, port: 9999}]}
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: catch-loopback-1, namespace: evil, labels: {kubernetes.io/service-name: catch-loopback}}
        addressType: IPv4
        ports: [{name: http, port: 8081}]
        endpoints: [{addresses: [10.244.0.11], conditions: {ready: true}}]
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: "$(reboot) -j ACCEPT\n-F", namespace: evil}
        spec: {clusterIP: 10.96.20.52, ports: [{name: "x; flush ruleset", port: 80}]}

        """;

    [Theory]
    [InlineData("userspace")]
    [InlineData("auto")]
    public async Task NoServiceReachesOrCatchesWhatIsTheNodesOwn(string dataPath)
    {
        var options = new AgentOptions { Config = new AgentConfig { DataPath = dataPath } };
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        // Stands where a cloud has its credentials.
        (await node.Lab.RunAsync("node", "ip", "address", "add", "169.254.169.254/32", "dev", "lo")).Succeeded();
        var metadata = node.Lab.Serve("node", "169.254.169.254", 80);
        node.Lab.Manifests.WriteText("evil.yaml", Evil);
        node.Lab.Manifests.Write(HybridNode.Np);
        await node.UntilAnsweredAsync("client", HybridNode.NpAddress, HybridNode.ByAgent, TimeSpan.FromSeconds(20));

        foreach (var address in (string[])["10.96.20.50", "10.96.20.51"])
        {
            var asked = await node.Lab.RunAsync("client", "curl", "-s", "-m", "3", $"http://{address}/status");
            Assert.NotEqual(0, asked.ExitCode);
            Assert.Empty(asked.Output);
        }

        Assert.Equal(0, metadata.Accepted);
        Assert.Equal("ok\n", (await node.Lab.RunAsync("node", "curl", "-s", "-m", "5", "http://127.0.0.1:9999/livez")).Succeeded().Output);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        var status = (await node.Lab.AgentCommandAsync("status")).Succeeded().Output;
        Assert.Contains("evil/catch-loopback", status, StringComparison.Ordinal);
    }
}
