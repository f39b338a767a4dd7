using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Kernels;

/// <summary>Devices of kind dummy, as NodeLocal DNSCache, kube-proxy in IPVS mode and early releases of EdgeMesh make them.</summary>
[Trait(Ring.Name, Ring.OnlyKernels)]
public sealed class DummyDeviceTests
{
    [Fact]
    public async Task ADummyDeviceOfTheNameIsNamedWithWhatToDoAndStays()
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.IptablesNft });
        (await lab.RunAsync("node", "ip", "link", "add", "edgemesh0", "type", "dummy")).Succeeded();
        lab.Manifests.Write(HybridNode.Web);

        var agent = await lab.StartAgentAsync(new AgentOptions { WaitUntilReady = false });

        Assert.Equal(1, await agent.Process.WaitForExitAsync(TimeSpan.FromSeconds(20)));
        Assert.Contains("edgemesh0 exists but is not a bridge (it is dummy)", agent.Log, StringComparison.Ordinal);
        Assert.Contains("bridgeDeviceName", agent.Log, StringComparison.Ordinal);
        (await lab.RunAsync("node", "ip", "link", "show", "edgemesh0")).Succeeded();
    }

    [Theory]
    [InlineData(Through.Kernel)]
    [InlineData(Through.Userspace)]
    public async Task AServiceWhoseAddressADeviceOfOthersHasStaysWithThemAndTheOthersAreTaken(Through through)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.IptablesNft });
        (await lab.RunAsync("node", "ip", "link", "add", "nodelocaldns", "type", "dummy")).Succeeded();
        (await lab.RunAsync("node", "ip", "addr", "add", "169.254.20.10/32", "dev", "nodelocaldns")).Succeeded();
        // NodeLocal DNSCache answers at the address of the cluster's DNS service, too.
        (await lab.RunAsync("node", "ip", "addr", "add", "10.96.10.5/32", "dev", "nodelocaldns")).Succeeded();
        lab.Manifests.Write(HybridNode.Web);
        lab.Manifests.Write(HybridNode.Dns);

        await lab.StartAgentAsync(new AgentOptions { Config = NodeSetup.Beside(KubeProxyRules.IptablesNft, through).Config });

        Assert.Equal(HybridNode.ByAgent, (await lab.AskAsync("client", HybridNode.WebAddress)).Port);
        foreach (var from in (string[])["client", "node"])
            Assert.Contains(":5353 ", System.Text.Encoding.ASCII.GetString(await lab.AskUdpAsync(from, HybridNode.DnsAddress, "WHO"u8.ToArray())), StringComparison.Ordinal);
    }
}
