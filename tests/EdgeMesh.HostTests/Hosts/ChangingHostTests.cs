using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Hosts;

/// <summary>A host that changes under the agent: within seconds connections take a way that this kernel can carry.
/// A pod sees the client itself on the kernel path, and the node in user mode.</summary>
[Trait(Ring.Name, Ring.Kernels)]
public sealed class ChangingHostTests
{
    private static readonly TimeSpan Followed = TimeSpan.FromSeconds(15);

    [Theory]
    [InlineData(RulesIn.IptablesNft)]
    [InlineData(RulesIn.IptablesLegacy)]
    [InlineData(RulesIn.Nftables)]
    public async Task ConnectionsTakeTheWayThatTheHostCanCarry(RulesIn rules)
    {
        await using var node = await HybridNode.StartAsync(new NodeSetup(KubeProxyRules.None, rules, Through.Kernel), HybridNode.Web);
        await UntilSeenAsync(node, LabAddresses.Client, "the kernel path is taken");

        await node.Lab.RunAsync("node", "sysctl", "-qw", "net.ipv4.ip_forward=0");
        await UntilSeenAsync(node, LabAddresses.Gateway, "a node that does not forward serves through the agent");
        await node.Lab.RunAsync("node", "sysctl", "-qw", "net.ipv4.ip_forward=1");
        await UntilSeenAsync(node, LabAddresses.Client, "a node that forwards again serves in the kernel");

        // Docker does this; only in our own iptables can a rule of ours stand behind all others.
        await node.Lab.IptablesAsync(node.Variant, "-P", "FORWARD", "DROP");
        await UntilSeenAsync(
            node, rules == RulesIn.Nftables ? LabAddresses.Gateway : LabAddresses.Client, "a policy that drops what is forwarded does not stop services");
    }

    [Theory]
    [InlineData(RulesIn.IptablesNft)]
    [InlineData(RulesIn.IptablesLegacy)]
    public async Task WhatAFlushedForwardChainLostComesBack(RulesIn rules)
    {
        await using var node = await HybridNode.StartAsync(new NodeSetup(KubeProxyRules.None, rules, Through.Kernel), HybridNode.Web);
        await node.Lab.IptablesAsync(node.Variant, "-P", "FORWARD", "DROP");
        await UntilForwardedAsync(node);
        for (var times = 0; times < 3; times++)
        {
            // A firewall that starts again begins with empty chains, and keeps its policy.
            await node.Lab.IptablesAsync(node.Variant, "-F", "FORWARD");
            await UntilForwardedAsync(node);
            Assert.Equal(LabAddresses.Client, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Client);
        }
    }

    private static Task<CommandResult> UntilForwardedAsync(HybridNode node) => Eventually.SeesAsync(
        () => node.Lab.RunAsync("node", node.Variant == IptablesVariant.Nft ? "iptables-nft" : "iptables-legacy", "-w", "5", "-S", "FORWARD"),
        listed => listed.Output.Contains("-j EDGEMESH-FORWARD", StringComparison.Ordinal) && listed.Output.Contains("-j EDGEMESH-INVALID", StringComparison.Ordinal),
        TimeSpan.FromSeconds(10),
        "the rules of FORWARD stand");

    private static Task<Answer> UntilSeenAsync(HybridNode node, string client, string what) => Eventually.SeesAsync(
        () => node.Lab.AskAsync("client", HybridNode.WebAddress, TimeSpan.FromSeconds(1)),
        answer => answer.Port == HybridNode.ByAgent && answer.Client.StartsWith(client, StringComparison.Ordinal),
        Followed,
        what);
}
