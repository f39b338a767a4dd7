using System.Collections.Immutable;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Netlink;

/// <summary>What the chains of others do with our connections, as the kernel tells it of rules that the real programs wrote.</summary>
public sealed class FilterChainTests
{
    [Theory]
    [InlineData("ct status dnat accept", true)]
    [InlineData("counter log ct status dnat counter accept comment \"of somebody\"", true)]
    [InlineData("ct status dnat,snat accept", true)]
    [InlineData("ct status & dnat == dnat accept", true)]
    [InlineData("ct status dnat tcp dport 80 accept", false)]
    [InlineData("iifname lo ct status dnat accept", false)]
    [InlineData("ct status snat accept", false)]
    [InlineData("ct status ! dnat accept", false)]
    [InlineData("ct status dnat drop", false)]
    [InlineData("ct state established accept", false)]
    public async Task AnNftChainThatAcceptsWhatWasTranslatedDoesNotBlock(string rule, bool accepts)
    {
        await using var lab = await ListenDeviceTests.BareLabAsync();
        foreach (var hook in (string[])["forward", "input"])
        {
            (await lab.RunAsync("node", "nft", $"add table inet fw; add chain inet fw {hook} {{ type filter hook {hook} priority 0; policy drop; }}; add rule inet fw {hook} {rule}; add rule inet fw {hook} reject")).Succeeded();
        }

        var chains = Read(lab);

        Assert.Equal(2, chains.Length);
        Assert.All(chains, chain => Assert.Equal((true, true, accepts, !accepts), (chain.PolicyDrops, chain.EndsInDrop, chain.AcceptsTranslated, chain.Blocks)));
    }

    [Theory]
    [InlineData(IptablesVariant.Nft, false)]
    [InlineData(IptablesVariant.Nft, true)]
    [InlineData(IptablesVariant.Legacy, false)]
    [InlineData(IptablesVariant.Legacy, true)]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task AnIptablesChainThatAcceptsWhatWasTranslatedDoesNotBlock(IptablesVariant variant, bool ipv6)
    {
        await using var lab = await ListenDeviceTests.BareLabAsync();
        var program = $"{(ipv6 ? "ip6tables" : "iptables")}-{(variant == IptablesVariant.Nft ? "nft" : "legacy")}";
        async Task RuleAsync(string arguments) => (await lab.RunAsync("node", program, [.. $"-w 30 {arguments}".Split(' ')])).Succeeded();
        await RuleAsync("-P FORWARD DROP");
        await RuleAsync("-A FORWARD -m conntrack --ctstate DNAT -p tcp -j ACCEPT");
        await RuleAsync("-A FORWARD -m conntrack ! --ctstate DNAT -j ACCEPT");
        await RuleAsync("-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
        Assert.True(Forward(lab).Blocks);

        await RuleAsync("-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT");
        Assert.False(Forward(lab).Blocks);

        // Behind a rule that drops everything it says nothing.
        await RuleAsync("-I FORWARD -j DROP");
        Assert.True(Forward(lab).Blocks);
    }

    private static ImmutableArray<FilterChain> Read(NamespaceLab lab) => lab.Node.Run(() => FilterChainReader.Read("edgemesh", []));

    private static FilterChain Forward(NamespaceLab lab) => Assert.Single(Read(lab), chain => chain.Hook == FilterHook.Forward);
}
