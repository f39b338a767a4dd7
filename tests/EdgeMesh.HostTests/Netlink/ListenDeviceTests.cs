using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Netlink;

[Trait(Ring.Name, Ring.Kernels)]
public sealed class ListenDeviceTests
{
    private static readonly InetAddress _v4 = InetAddress.Parse("169.254.96.16");
    private static readonly InetAddress _v6 = InetAddress.Parse("fd0e:6d65:7368::10");

    [Fact]
    public async Task TheDeviceIsMadeKeptAndRepaired()
    {
        await using var lab = await BareLabAsync();
        var made = Ensure(lab);
        Assert.True(made.Created);
        Assert.Empty(made.Repairs);
        Assert.Null(made.IPv6Missing);
        var shown = await ShowAsync(lab);
        Assert.Contains("169.254.96.16/32", shown, StringComparison.Ordinal);
        Assert.Contains("fd0e:6d65:7368::10/128", shown, StringComparison.Ordinal);
        Assert.DoesNotContain("tentative", shown, StringComparison.Ordinal);

        var kept = Ensure(lab);
        Assert.False(kept.Created);
        Assert.Equal(made.Index, kept.Index);
        Assert.Empty(kept.Repairs);

        // Somebody takes it down (which removes its IPv6 addresses), widens ours and adds an address of his own.
        foreach (var change in (string[])["link set edgemesh0 down", "addr del 169.254.96.16/32 dev edgemesh0", "addr add 169.254.96.16/24 dev edgemesh0", "addr add 192.0.2.7/32 dev edgemesh0"])
            (await lab.RunAsync("node", "ip", change.Split(' '))).Succeeded();
        var repaired = Ensure(lab);
        Assert.False(repaired.Created);
        Assert.Equal(4, repaired.Repairs.Length);
        shown = await ShowAsync(lab);
        Assert.Contains("169.254.96.16/32", shown, StringComparison.Ordinal);
        Assert.DoesNotContain("169.254.96.16/24", shown, StringComparison.Ordinal);
        Assert.Contains("fd0e:6d65:7368::10/128", shown, StringComparison.Ordinal);
        Assert.Contains("192.0.2.7/32", shown, StringComparison.Ordinal);
        Assert.Empty(Ensure(lab).Repairs);

        var addresses = lab.Node.Run(NodeAddresses.List);
        Assert.Contains(new NodeAddress(_v6, 128, "edgemesh0", "bridge", IsGlobal: true), addresses);
        Assert.Contains(new NodeAddress(_v4, 32, "edgemesh0", "bridge", IsGlobal: false), addresses);
        Assert.Contains(addresses, a => a.Address == InetAddress.Parse(LabAddresses.Node) && a.Device == "uplink");

        Assert.True(lab.Node.Run(() => ListenDevice.Remove("edgemesh0")));
        Assert.False(lab.Node.Run(() => ListenDevice.Remove("edgemesh0")));
    }

    [Fact]
    public async Task WithIPv6DisabledTheDeviceStandsWithIPv4AndSaysWhatIsMissing()
    {
        await using var lab = await BareLabAsync();
        lab.Node.SetSysctl("ipv6/conf/all/disable_ipv6", "1");
        lab.Node.SetSysctl("ipv6/conf/default/disable_ipv6", "1");

        var state = Ensure(lab);

        Assert.Contains("disable_ipv6", state.IPv6Missing, StringComparison.Ordinal);
        Assert.Contains("169.254.96.16/32", await ShowAsync(lab), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ADeviceOfAnotherKindIsLeftAloneAndNamed()
    {
        await using var lab = await BareLabAsync();
        (await lab.RunAsync("node", "ip", "link", "add", "edgemesh0", "type", "veth", "peer", "name", "other")).Succeeded();

        var failure = Assert.Throws<NetlinkException>(() => Ensure(lab));

        Assert.Contains("edgemesh0 exists but is not a bridge (it is veth)", failure.Message, StringComparison.Ordinal);
        Assert.False(lab.Node.Run(() => ListenDevice.Remove("edgemesh0")));
        Assert.Contains("edgemesh0", await ShowAsync(lab), StringComparison.Ordinal);
    }

    private static ListenDeviceState Ensure(NamespaceLab lab) => lab.Node.Run(() => ListenDevice.Ensure("edgemesh0", [_v4, _v6]));

    private static async Task<string> ShowAsync(NamespaceLab lab) =>
        (await lab.RunAsync("node", "ip", "addr", "show", "dev", "edgemesh0")).Succeeded().Output;

    internal static Task<NamespaceLab> BareLabAsync() =>
        NamespaceLab.CreateAsync(new LabOptions { KubeProxy = KubeProxyRules.None, PodServers = false });
}
