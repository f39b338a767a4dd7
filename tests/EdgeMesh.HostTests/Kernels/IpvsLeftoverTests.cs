using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Kernels;

/// <summary>A node whose kube-proxy runs in IPVS mode, or did: every ClusterIP is local by kube-ipvs0, and IPVS has it behind us.</summary>
[Trait(Ring.Name, Ring.OnlyKernels)]
public sealed class IpvsLeftoverTests
{
    [Theory]
    [InlineData(RulesIn.IptablesNft, Through.Kernel)]
    [InlineData(RulesIn.IptablesNft, Through.Userspace)]
    [InlineData(RulesIn.IptablesLegacy, Through.Kernel)]
    [InlineData(RulesIn.Nftables, Through.Kernel)]
    [InlineData(RulesIn.Nftables, Through.Userspace)]
    public async Task HandledServicesAreTakenBeforeIpvsAndTheOthersStayWithIt(RulesIn rules, Through through)
    {
        var setup = new NodeSetup(KubeProxyRules.None, rules, through);
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.None });
        if (rules == RulesIn.IptablesLegacy)
            await lab.StartKubeletAsync(IptablesVariant.Legacy);
        await StartIpvsAsync(lab);
        foreach (var from in (string[])["client", "node"])
            Assert.Equal(HybridNode.ByKubeProxy, (await lab.AskAsync(from, HybridNode.WebAddress)).Port);

        lab.Manifests.Write(HybridNode.Web);
        lab.Manifests.Write(HybridNode.Np.Labelled(true));
        var agent = await lab.StartAgentAsync(new AgentOptions { Config = setup.Config });

        foreach (var from in (string[])["client", "node"])
        {
            await Eventually.SeesAsync(
                () => lab.AskAsync(from, HybridNode.WebAddress, TimeSpan.FromSeconds(1)), answer => answer.Port == HybridNode.ByAgent, TimeSpan.FromSeconds(5));
            Assert.Equal(HybridNode.ByKubeProxy, (await lab.AskAsync(from, HybridNode.NpAddress)).Port);
        }

        // What needs the agent goes back to IPVS with it; the kernel path stays until cleanup.
        Assert.Equal(0, await agent.StopAsync());
        (await lab.AgentCommandAsync("cleanup", "--config-file", lab.ConfigFile)).Succeeded();
        foreach (var from in (string[])["client", "node"])
            Assert.Equal(HybridNode.ByKubeProxy, (await lab.AskAsync(from, HybridNode.WebAddress)).Port);
    }

    private static async Task StartIpvsAsync(NamespaceLab lab)
    {
        await DoAsync(lab, "ip link add kube-ipvs0 type dummy");
        // As kube-proxy sets it: what IPVS translates is tracked, so that the node's own requests can be masqueraded.
        (await lab.RunAsync("node", "ipvsadm", "-l")).Succeeded();
        lab.Node.SetSysctl("ipv4/vs/conntrack", "1");
        foreach (var (address, endpoints) in new[] { ("10.96.10.1", HybridNode.Web.Endpoints), ("10.96.10.4", HybridNode.Np.Endpoints) })
        {
            await DoAsync(lab, $"ip addr add {address}/32 dev kube-ipvs0");
            await DoAsync(lab, $"ipvsadm -A -t {address}:80 -s rr");
            foreach (var endpoint in endpoints)
                await DoAsync(lab, $"ipvsadm -a -t {address}:80 -r {endpoint}:{HybridNode.ByKubeProxy} -m");
            await DoAsync(lab, $"iptables-nft -t nat -A POSTROUTING -m ipvs --vaddr {address} -m addrtype --src-type LOCAL -j MASQUERADE");
        }
    }

    private static async Task DoAsync(NamespaceLab lab, string command)
    {
        var words = command.Split(' ');
        (await lab.RunAsync("node", words[0], words[1..])).Succeeded();
    }
}
