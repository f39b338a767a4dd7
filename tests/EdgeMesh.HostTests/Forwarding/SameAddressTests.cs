using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Forwarding;

/// <summary>Of what a cluster says about one address, that it is ready counts: a failed pod of the host's network leaves a
/// second entry behind, which is not.</summary>
public sealed class SameAddressTests
{
    private const string NotReady = "{addresses: [10.244.0.11], conditions: {ready: false, serving: false, terminating: false}, nodeName: peer-node}";
    private const string Ghost = "{addresses: [10.244.0.11], conditions: {ready: false, serving: false, terminating: true}, nodeName: other-node}";
    private const string Ready = "{addresses: [10.244.0.11], conditions: {ready: true, serving: true, terminating: false}, nodeName: peer-node}";

    [Theory]
    [InlineData(Through.Kernel)]
    [InlineData(Through.Userspace)]
    public async Task AnAddressThatIsReadyAndNotReadyIsServed(Through through)
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, lab =>
        {
            lab.Manifests.WriteText("one-slice.yaml", Service("one-slice", 1) + Slice("one-slice", "a", NotReady, Ready));
            lab.Manifests.WriteText("two-slices.yaml", Service("two-slices", 2) + Slice("two-slices", "a", NotReady) + Slice("two-slices", "b", Ready));
            lab.Manifests.WriteText("ghost.yaml", Service("ghost", 3) + Slice("ghost", "a", Ghost, Ready));
            lab.Manifests.WriteText("both-lists.yaml", Service("both-lists", 4) +
                """
                ---
                apiVersion: v1
                kind: Endpoints
                metadata: {name: both-lists, namespace: demo}
                subsets:
                - addresses: [{ip: 10.244.0.11}]
                  notReadyAddresses: [{ip: 10.244.0.11}, {ip: 10.244.0.99}]
                  ports: [{port: 8081}]

                """);
            return Task.FromResult(new AgentOptions { Config = NodeSetup.Beside(KubeProxyRules.IptablesNft, through).Config });
        });

        foreach (var number in (int[])[1, 2, 3, 4])
            Assert.All(await node.Lab.AskTimesAsync("client", $"10.96.2.{number}:80", 3), answer => Assert.Equal(("a", HybridNode.ByAgent), (answer.Pod, answer.Port)));
    }

    [Fact]
    public async Task OneAddressWithTwoPortsIsTwoEndpoints()
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, lab =>
        {
            lab.Manifests.WriteText("two-ports.yaml", Service("two-ports", 5) + Slice("two-ports", "a", Ready) + Slice("two-ports", "b", Ready).Replace("port: 8081", "port: 9090", StringComparison.Ordinal));
            return Task.FromResult(new AgentOptions());
        });

        var answers = await node.Lab.AskTimesAsync("client", "10.96.2.5:80", 4);

        Assert.Equal([8081, 9090], answers.Select(answer => answer.Port).Distinct().Order());
    }

    private static string Service(string name, int number) =>
        $$"""
        apiVersion: v1
        kind: Service
        metadata: {name: {{name}}, namespace: demo}
        spec: {clusterIP: 10.96.2.{{number}}, ports: [{port: 80, targetPort: 8081}]}

        """;

    private static string Slice(string service, string suffix, params string[] endpoints) =>
        $$"""
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata:
          name: {{service}}-{{suffix}}
          namespace: demo
          labels:
            kubernetes.io/service-name: {{service}}
        addressType: IPv4
        ports: [{name: "", port: 8081, protocol: TCP}]
        endpoints: [{{string.Join(", ", endpoints)}}]

        """;
}
