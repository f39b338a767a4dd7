using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Kernels;

/// <summary>Endpoints on another node behind a device that makes packets larger: WireGuard as Calico, Cilium and flannel use it, and
/// VXLAN as flannel does, on a node without bridge netfilter.</summary>
[Trait(Ring.Name, Ring.OnlyKernels)]
public sealed class RemoteEndpointTests
{
    /// <summary>More than a window and many segments of full size.</summary>
    private const int Bytes = 512 << 10;

    private static readonly ManifestService _far = HybridNode.Web with { Endpoints = [LabAddresses.RemotePod] };

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft, Through.Kernel)]
    [InlineData(KubeProxyRules.IptablesNft, Through.Userspace)]
    [InlineData(KubeProxyRules.Nftables, Through.Kernel)]
    public async Task AnEndpointBehindWireGuardIsReachedWithSegmentsOfFullSize(KubeProxyRules kubeProxy, Through through)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = kubeProxy });
        await ConnectByWireGuardAsync(lab);
        await IsReachedAsync(lab, kubeProxy, through);
        var carried = (await lab.RunAsync("node", "wg", "show", "wg0", "transfer")).Succeeded().Output.Split('\t');
        Assert.True(long.Parse(carried[2], System.Globalization.CultureInfo.InvariantCulture) > Bytes, $"WireGuard carried {carried[2]} bytes");
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft, Through.Kernel)]
    [InlineData(KubeProxyRules.IptablesNft, Through.Userspace)]
    [InlineData(KubeProxyRules.Nftables, Through.Kernel)]
    public async Task AnEndpointBehindVxlanIsReachedWithSegmentsOfFullSize(KubeProxyRules kubeProxy, Through through)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions
        {
            KubeProxy = kubeProxy,
            Host = LabHost.Bridge with { BridgeNetfilter = false, ToOtherNode = LabWay.Vxlan, StrictReversePath = true },
        });
        await IsReachedAsync(lab, kubeProxy, through);
    }

    private static async Task IsReachedAsync(NamespaceLab lab, KubeProxyRules kubeProxy, Through through)
    {
        lab.Manifests.Write(_far);
        await lab.StartAgentAsync(new AgentOptions { Config = NodeSetup.Beside(kubeProxy, through).Config });
        foreach (var from in (string[])["client", "node"])
        {
            var answer = await Eventually.SeesAsync(
                () => lab.AskAsync(from, HybridNode.WebAddress, TimeSpan.FromSeconds(2)), answer => answer.Port == HybridNode.ByAgent, TimeSpan.FromSeconds(10));
            Assert.Equal("outside", answer.Pod);
            using var connection = await lab.ConnectAsync(from, HybridNode.WebAddress);
            await Tunnel.Transfer.EchoAsync(connection, Bytes, TimeSpan.FromSeconds(20).Here());
        }
    }

    /// <summary>The pods of the two nodes reach each other through wg0 alone.</summary>
    private static async Task ConnectByWireGuardAsync(NamespaceLab lab)
    {
        var keys = new Dictionary<string, (string Private, string Public)>(StringComparer.Ordinal);
        foreach (var role in (string[])["node", "outside"])
        {
            var secret = (await CommandResult.RunAsync("wg", ["genkey"])).Succeeded().Output.Trim();
            keys[role] = (secret, (await CommandResult.RunAsync("wg", ["pubkey"], secret + "\n")).Succeeded().Output.Trim());
        }

        foreach (var (role, other, endpoint, pods) in new[]
        {
            ("node", "outside", LabAddresses.Outside, "10.244.1.0/24"),
            ("outside", "node", LabAddresses.Node, "10.244.0.0/24"),
        })
        {
            var file = Path.Combine(lab.Folder, $"{role}.key");
            await File.WriteAllTextAsync(file, keys[role].Private);
            (await lab.RunAsync(role, "ip", "link", "add", "wg0", "type", "wireguard")).Succeeded();
            (await lab.RunAsync(role, "wg", "set", "wg0", "listen-port", "51820", "private-key", file,
                "peer", keys[other].Public, "allowed-ips", $"{pods},{endpoint}/32", "endpoint", $"{endpoint}:51820")).Succeeded();
            (await lab.RunAsync(role, "ip", "link", "set", "wg0", "mtu", "1420", "up")).Succeeded();
            (await lab.RunAsync(role, "ip", "route", "replace", pods, "dev", "wg0")).Succeeded();
        }
    }
}
