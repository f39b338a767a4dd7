using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Hosts;

/// <summary>An agent outside of a pod takes the host's name for the node's, and Kubernetes may know the node by another. Then every
/// endpoint seems to be elsewhere, and a pod behind this node's bridge must reach its own service all the same.</summary>
public sealed class WrongNodeNameTests
{
    public static TheoryData<KubeProxyRules, bool> Hosts => new(
        from kubeProxy in (KubeProxyRules[])[KubeProxyRules.IptablesNft, KubeProxyRules.IptablesLegacy, KubeProxyRules.Nftables]
        from hairpin in (bool[])[true, false]
        select (kubeProxy, hairpin));

    [Theory]
    [MemberData(nameof(Hosts))]
    public async Task APodStillReachesItself(KubeProxyRules kubeProxy, bool hairpin)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = kubeProxy, Host = LabHost.Bridge with { Hairpin = hairpin } });
        var itself = Asking.All.Single(asking => asking.Name == "pod, of itself");
        lab.Manifests.Write(itself.Known(byAgent: true));
        await lab.StartAgentAsync(new AgentOptions { NodeName = "peer-node.example.com" });
        foreach (var address in (string[])[itself.ClusterIP(ipv6: false), $"[{itself.ClusterIP(ipv6: true)}]"])
            Assert.Equal(HybridNode.ByAgent, (await lab.AskAsync(itself.From, $"{address}:80")).Port);
    }
}
