using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Hosts;

/// <summary>Pods that stand on two bridges, as Multus makes them, and services whose endpoints are addresses of the second. A pod
/// answers by its first network whoever is there, past this node where bridged packets do not pass netfilter.</summary>
public sealed class SecondNetworkTests
{
    private static readonly TimeSpan Followed = TimeSpan.FromSeconds(10);

    private static readonly (string Client, bool IPv6, string Service)[] _asked =
        [("client", false, "10.96.31.1:80"), ("client", true, "[fd00:10:96:31::1]:80"), ("a", false, "10.96.31.2:80"), ("a", true, "[fd00:10:96:31::2]:80")];

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    [InlineData(KubeProxyRules.Nftables)]
    public async Task ServicesOnASecondNetworkAreReachedByTheKernelWithAndWithoutBridgeNetfilter(KubeProxyRules kubeProxy)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions
        {
            KubeProxy = kubeProxy,
            KubeProxyServices = [Second(byAgent: false), Own(byAgent: false)],
            Host = LabHost.Bridge with { SecondNetwork = true },
        });
        Assert.Equal(LabAddresses.Client, (await lab.AskAsync("client", _asked[0].Service)).Client);
        lab.Manifests.Write(Second(byAgent: true));
        lab.Manifests.Write(Own(byAgent: true));
        var agent = await lab.StartAgentAsync();
        foreach (var (client, ipv6, service) in _asked.Take(2))
        {
            var answer = await lab.AskAsync(client, service);
            Assert.Equal((HybridNode.ByAgent, ipv6 ? LabAddresses.Client6 : LabAddresses.Client), (answer.Port, answer.Client));
        }

        lab.Node.SetSysctl("bridge/bridge-nf-call-iptables", "0");
        lab.Node.SetSysctl("bridge/bridge-nf-call-ip6tables", "0");
        // With kube-proxy's rules alone nobody is answered now: the client resets what comes from an address that it did not ask. Nor is, with
        // bridge netfilter, a pod that asks for its own other address.
        foreach (var (client, ipv6, service) in _asked)
        {
            await Eventually.SeesAsync(
                () => lab.AskAsync(client, service, TimeSpan.FromSeconds(1)),
                answer => answer.Port == HybridNode.ByAgent && answer.Client == (ipv6 ? LabAddresses.Second6("node") : LabAddresses.Second("node")),
                Followed,
                $"{client} is answered by {service}");
        }

        Assert.Equal(0, await agent.MetricAsync("edgemesh_tcp_connections_total"));
    }

    private static ManifestService Second(bool byAgent) => Service("second", 1, "b", byAgent);

    private static ManifestService Own(bool byAgent) => Service("own", 2, "a", byAgent);

    private static ManifestService Service(string name, int number, string pod, bool byAgent) => new()
    {
        Name = name,
        ClusterIPs = [$"10.96.31.{number}", $"fd00:10:96:31::{number}"],
        Ports = [new ManifestPort("http", 80, byAgent ? HybridNode.ByAgent : HybridNode.ByKubeProxy)],
        Endpoints = [LabAddresses.Second(pod), LabAddresses.Second6(pod)],
    };
}
