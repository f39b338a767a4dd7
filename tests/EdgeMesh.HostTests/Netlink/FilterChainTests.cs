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

    [Theory]
    [InlineData("iifname != \"br0\" oifname \"br0\" drop", "br0")]
    [InlineData("iifname != \"br0\" oifname \"br0\" counter log reject", "br0")]
    [InlineData("oifname \"br0\" iifname != \"br0\" counter drop comment \"of somebody\"", "br0")]
    [InlineData("iifname != \"br-*\" oifname \"br-*\" drop", "br-+")]
    [InlineData("iifname != \"br1\" oifname \"br0\" drop", null)]
    [InlineData("iifname \"br0\" oifname \"br0\" drop", null)]
    [InlineData("iifname != \"br0\" oifname != \"br0\" drop", null)]
    [InlineData("iifname != \"br0\" oifname \"br0\" accept", null)]
    [InlineData("iifname != \"br0\" oifname \"br0\" tcp dport 22 drop", null)]
    [InlineData("iifname != \"br0\" oifname \"br0\" ct state invalid drop", null)]
    public async Task AnNftRuleThatShutsADeviceIsSeen(string rule, string? device)
    {
        await using var lab = await ListenDeviceTests.BareLabAsync();
        (await lab.RunAsync("node", "nft", $"add table inet fw; add chain inet fw forward {{ type filter hook forward priority 0; }}; add chain inet fw later; add rule inet fw forward jump later; add rule inet fw later {rule}")).Succeeded();

        Assert.Equal(device is null ? [] : [new ShutDevice("inet", "inet fw later", device)], Shut(lab));
    }

    [Theory]
    [InlineData(IptablesVariant.Nft, false)]
    [InlineData(IptablesVariant.Nft, true)]
    [InlineData(IptablesVariant.Legacy, false)]
    [InlineData(IptablesVariant.Legacy, true)]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task AnIptablesRuleThatShutsADeviceIsSeen(IptablesVariant variant, bool ipv6)
    {
        await using var lab = await ListenDeviceTests.BareLabAsync();
        var program = $"{(ipv6 ? "ip6tables" : "iptables")}-{(variant == IptablesVariant.Nft ? "nft" : "legacy")}";
        async Task RuleAsync(string arguments) => (await lab.RunAsync("node", program, [.. $"-w 30 {arguments}".Split(' ')])).Succeeded();
        await RuleAsync("-N DOCKER");
        await RuleAsync("-A FORWARD -j DOCKER");
        foreach (var other in (string[])["! -i br0 -o br0 -j ACCEPT", "! -i br0 -o br0 -p tcp -j DROP", "! -i br1 -o br0 -j DROP", "-i br0 -o br0 -j DROP", "! -i br0 ! -o br0 -j DROP", "! -i br0 -o br0 -m mark --mark 1 -j DROP"])
            await RuleAsync($"-A DOCKER {other}");
        Assert.Empty(Shut(lab));

        await RuleAsync("-A DOCKER ! -i br0 -o br0 -j DROP");
        await RuleAsync("-A DOCKER ! -i br-+ -o br-+ -j REJECT");

        Assert.Equal(["br-+", "br0"], Shut(lab).Select(shut => shut.Device));
        Assert.All(Shut(lab), shut => Assert.True(shut.IsOf(ipv6) && !shut.IsOf(!ipv6)));
    }

    private static ImmutableArray<FilterChain> Read(NamespaceLab lab) => lab.Node.Run(() => FilterChainReader.Read("edgemesh", []).Chains);

    private static ImmutableArray<ShutDevice> Shut(NamespaceLab lab) => lab.Node.Run(() => FilterChainReader.Read("edgemesh", []).Shut);

    private static FilterChain Forward(NamespaceLab lab) => Assert.Single(Read(lab), chain => chain.Hook == FilterHook.Forward);
}
