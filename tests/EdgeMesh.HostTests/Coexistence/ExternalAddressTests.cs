using System.Text;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Coexistence;

/// <summary>Services at addresses outside of the cluster: externalIPs, and those of a load balancer. kube-proxy's recorded rules know the
/// first of the two.</summary>
public sealed class ExternalAddressTests
{
    private const string ExternalIP = "203.0.113.9";
    private const string LoadBalancerIP = "203.0.113.10";

    private static ManifestService Np { get; } = HybridNode.Np with
    {
        Endpoints = HybridNode.Web.Endpoints,
        ExternalIPs = [ExternalIP],
        LoadBalancerIPs = [LoadBalancerIP, "fd00:203::10"],
        ClusterIPs = [.. HybridNode.Np.ClusterIPs, "fd00:10:96::9"],
    };

    private static ManifestService Dns { get; } = HybridNode.Dns with { ExternalIPs = [ExternalIP] };

    [Theory]
    [MemberData(nameof(Setups.All), MemberType = typeof(Setups))]
    public async Task TheyAreTakenBeforeKubeProxySeesThemAndSpreadOverBothPods(KubeProxyRules kubeProxy, RulesIn rules, Through through)
    {
        await using var node = await HybridNode.StartAsync(new NodeSetup(kubeProxy, rules, through), Np with { Endpoints = [.. Np.Endpoints, .. HybridNode.Six.Endpoints] }, Dns);
        foreach (var from in (string[])["client", "node"])
        {
            foreach (var target in (string[])[$"{ExternalIP}:80", $"{LoadBalancerIP}:80", "[fd00:203::10]:80"])
            {
                var answers = await node.Lab.AskTimesAsync(from, target, 12);
                Assert.All(answers, answer => Assert.Equal(HybridNode.ByAgent, answer.Port));
                Assert.Equal(["a", "b"], answers.Select(answer => answer.Pod).Distinct().Order());
            }

            Assert.Contains(":5354 ", Encoding.ASCII.GetString(await node.Lab.AskUdpAsync(from, $"{ExternalIP}:53", "WHO"u8.ToArray())), StringComparison.Ordinal);
        }

        await node.Agent.StopAsync();
        (await node.Lab.AgentCommandAsync("cleanup")).Succeeded();
        Assert.DoesNotContain("203.0.113.10", await node.Lab.PacketFilterAsync(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.Nftables)]
    public async Task AnotherMachineIsServedToo(KubeProxyRules kubeProxy)
    {
        foreach (var through in (string[])["auto", "userspace"])
        {
            await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = kubeProxy, Host = LabHost.Bridge });
            lab.Manifests.Write(Np);
            await lab.StartAgentAsync(new AgentOptions { Config = new AgentConfig { DataPath = through } });
            (await lab.RunAsync("lan", "ip", "route", "add", "203.0.113.0/24", "via", LabAddresses.Node)).Succeeded();
            Assert.All(await lab.AskTimesAsync("lan", $"{LoadBalancerIP}:80", 6), answer => Assert.Equal(HybridNode.ByAgent, answer.Port));
        }
    }

    [Fact]
    public async Task WhatAPolicyKeepsForKubeProxyIsShownWithItsReason()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Kernel, Np with { ExternalTrafficPolicy = "Local" });
        var nat = await node.NatAsync();
        Assert.Single(nat.Commented(HybridNode.Container, "demo/np:http"));
        var status = (await node.Lab.AgentCommandAsync("status", "--config-file", node.Lab.ConfigFile)).Succeeded().Output;
        Assert.Contains("externalTrafficPolicy is Local", status.ReplaceLineEndings(" "), StringComparison.Ordinal);
    }

    [Fact]
    public async Task AServiceMayGainAndLoseThemWhileItIsServed()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Kernel, HybridNode.Np with { Endpoints = Np.Endpoints });
        await using var clients = AskingClients.Start(node.Lab, HybridNode.NpAddress, "client");
        await node.UntilAnsweredAsync("client", HybridNode.NpAddress, HybridNode.ByAgent);

        node.Lab.Manifests.Write(Np);
        await node.UntilAnsweredAsync("client", $"{LoadBalancerIP}:80", HybridNode.ByAgent);
        node.Lab.Manifests.Write(Np with { LoadBalancerIPs = [], ExternalIPs = [] });
        await Eventually.SeesAsync(
            async () => await node.NatAsync(), nat => nat.Commented(HybridNode.Container, "demo/np:http").Length == 1, TimeSpan.FromSeconds(10), "the addresses are gone from the rules");
        await clients.AllAnsweredAsync(HybridNode.ByAgent);
    }
}
