using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Hosts;

/// <summary>A firewall before the agent's listener: a service is served by whoever can be reached, and status says who and why.</summary>
public sealed class FirewallTests
{
    private static readonly TimeSpan Followed = TimeSpan.FromSeconds(20);

    [Theory]
    [InlineData(IptablesVariant.Nft, HybridNode.ByAgent)]
    [InlineData(IptablesVariant.Legacy, HybridNode.ByKubeProxy)]
    public async Task APolicyThatDropsWhatComesInStopsNoService(IptablesVariant firewall, int by)
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, HybridNode.Web);
        await ShutAsync(node, firewall);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, by, Followed);

        await node.Lab.IptablesAsync(firewall, "-P", "INPUT", "ACCEPT");
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent, Followed);
    }

    [Fact]
    public async Task AFirewallOfNftIsLeftToKubeProxyUntilItIsOpenToTheListener()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, HybridNode.Web);
        await NftAsync(node, "add table inet fw; add chain inet fw in { type filter hook input priority 0; policy drop; }; add rule inet fw in ct state established,related accept; add rule inet fw in iifname lo accept");
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByKubeProxy, Followed);
        var status = (await node.Agent.GetAsync("/status")).Body;
        Assert.Contains("dataPath is userspace; left to kube-proxy, since inet fw in may drop what is redirected to this node", status, StringComparison.Ordinal);
        Assert.Contains("add a rule there that names and accepts the destination 169.254.96.16", status, StringComparison.Ordinal);

        await NftAsync(node, "add rule inet fw in ip daddr 169.254.96.16 accept");
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent, Followed);
    }

    [Fact]
    public async Task BothWaysShutByTheOtherIptablesIsLeftToKubeProxy()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Kernel, HybridNode.Web);
        await node.Lab.IptablesAsync(IptablesVariant.Legacy, "-P", "FORWARD", "DROP");
        await ShutAsync(node, IptablesVariant.Legacy);
        await Eventually.SeesAsync(
            async () => (await node.Agent.GetAsync("/status")).Body, body => body.Contains("\"code\": \"Shut\"", StringComparison.Ordinal), Followed, "status says Shut");
        await node.UntilRuleAsync("demo/web:http", stands: false, Followed);
        // An open rule in the table of that iptables is seen too.
        await node.Lab.IptablesAsync(IptablesVariant.Legacy, "-A", "INPUT", "-d", "169.254.96.16", "-j", "ACCEPT");
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent, Followed);
    }

    /// <summary>As administrators do it: answers and the node's own come in.</summary>
    private static async Task ShutAsync(HybridNode node, IptablesVariant firewall)
    {
        await node.Lab.IptablesAsync(firewall, "-A", "INPUT", "-i", "lo", "-j", "ACCEPT");
        await node.Lab.IptablesAsync(firewall, "-A", "INPUT", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT");
        await node.Lab.IptablesAsync(firewall, "-P", "INPUT", "DROP");
    }

    private static async Task NftAsync(HybridNode node, string commands) => (await node.Lab.RunWithInputAsync("node", commands, "nft", "-f", "-")).Succeeded();
}
