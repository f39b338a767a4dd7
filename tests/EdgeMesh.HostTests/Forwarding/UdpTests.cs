using System.Net;
using System.Net.Sockets;
using System.Text;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Forwarding;

public sealed class UdpTests
{
    [Theory]
    [InlineData(KubeProxyRules.IptablesNft, "client")]
    [InlineData(KubeProxyRules.IptablesNft, "node")]
    [InlineData(KubeProxyRules.IptablesLegacy, "client")]
    [InlineData(KubeProxyRules.IptablesLegacy, "node")]
    public async Task DatagramsUpToTheLargestComeBackUnchanged(KubeProxyRules rules, string from)
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Beside(rules, Through.Userspace), HybridNode.Dns);

        foreach (var size in (int[])[0, 1, 512, 1472, 1473, 9000, 65_507])
        {
            var datagram = PodServer.Pattern(size);
            Assert.Equal(datagram, await node.Lab.AskUdpAsync(from, HybridNode.DnsAddress, datagram));
        }
    }

    [Fact]
    public async Task FlowsAreSpreadOverBothPodsAndEachKeepsItsPod()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, HybridNode.Dns);
        var pods = new List<string>();
        for (var flow = 0; flow < 10; flow++)
        {
            using var socket = node.Lab.Client.NewSocket(AddressFamily.InterNetwork, SocketType.Dgram);
            await socket.ConnectAsync(IPEndPoint.Parse(HybridNode.DnsAddress));
            var answers = new List<string>();
            for (var i = 0; i < 50; i++)
                answers.Add(Encoding.ASCII.GetString(await NamespaceLab.ExchangeAsync(socket, "WHO"u8.ToArray())));
            var answer = Assert.Single(answers.Distinct());
            Assert.Contains(":5354 ", answer, StringComparison.Ordinal);
            pods.Add(answer[..1]);
        }

        Assert.Equal(["a", "b"], pods.Distinct().Order());
    }

    [Theory]
    [MemberData(nameof(Setups.BesideKubeProxy), MemberType = typeof(Setups))]
    public async Task ARunningFlowMovesWhenTheServiceIsTakenOverAndWhenItIsGivenBack(KubeProxyRules kubeProxy, RulesIn rules, Through through)
    {
        await using var node = await HybridNode.StartAsync(new NodeSetup(kubeProxy, rules, through), HybridNode.Dns.Labelled(true));
        using var socket = node.Lab.Client.NewSocket(AddressFamily.InterNetwork, SocketType.Dgram);
        await socket.ConnectAsync(IPEndPoint.Parse(HybridNode.DnsAddress));
        Assert.Contains(":5353 ", await WhoAsync(socket), StringComparison.Ordinal);

        node.Lab.Manifests.Write(HybridNode.Dns);
        await Eventually.SeesAsync(() => WhoAsync(socket), who => who.Contains(":5354 ", StringComparison.Ordinal), TimeSpan.FromSeconds(5));

        node.Lab.Manifests.Write(HybridNode.Dns.Labelled(true));
        await Eventually.SeesAsync(() => WhoAsync(socket), who => who.Contains(":5353 ", StringComparison.Ordinal), TimeSpan.FromSeconds(5));
    }

    [Theory]
    [MemberData(nameof(Setups.BesideKubeProxy), MemberType = typeof(Setups))]
    public async Task ARunningFlowMovesWhenItsPodLeaves(KubeProxyRules kubeProxy, RulesIn rules, Through through)
    {
        await using var node = await HybridNode.StartAsync(new NodeSetup(kubeProxy, rules, through), HybridNode.Dns);
        using var socket = node.Lab.Client.NewSocket(AddressFamily.InterNetwork, SocketType.Dgram);
        await socket.ConnectAsync(IPEndPoint.Parse(HybridNode.DnsAddress));
        var pod = (await WhoAsync(socket))[..1];

        node.Lab.Manifests.Write(HybridNode.Dns with { Endpoints = [pod == "a" ? "10.244.0.52" : "10.244.0.51"] });

        await Eventually.SeesAsync(() => WhoAsync(socket), who => who[..1] != pod, TimeSpan.FromSeconds(5));
    }

    private static async Task<string> WhoAsync(Socket socket) =>
        Encoding.ASCII.GetString(await NamespaceLab.ExchangeAsync(socket, "WHO"u8.ToArray(), TimeSpan.FromSeconds(1)));
}
