using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Agent.Hosting.Tunnel;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Tests.Options;
using Xunit;
using ConfiguredRelay = EdgeMesh.Agent.Options.RelayNode;

namespace EdgeMesh.Tests.Hosting.Tunnel;

public sealed class TunnelAddressesTests
{
    private static readonly ImmutableArray<NodeAddress> Node =
    [
        new(InetAddress.Parse("127.0.0.1"), 8, "lo", "", IsGlobal: false),
        new(InetAddress.Parse("10.244.3.1"), 24, "cni0", "bridge", IsGlobal: true),
        new(InetAddress.Parse("192.168.1.10"), 24, "eth0", "", IsGlobal: true),
        new(InetAddress.Parse("fd0e:6d65:7368::10"), 128, "edgemesh0", "bridge", IsGlobal: true),
        new(InetAddress.Parse("fe80::1"), 64, "eth0", "", IsGlobal: false),
    ];

    [Fact]
    public void BridgesAreRangesAndSoIsEveryOtherAddressButNeverTheListenDevice()
    {
        var addresses = Of("enable: true");
        Assert.Equal(["0.0.0.0:20006", "[::]:20006"], addresses.Listen.Select(a => a.ToString()));
        Assert.Equal(["192.168.1.10:20006", "10.244.3.1:20006"], addresses.Advertise.Select(a => a.ToString()));
        Assert.Equal(["10.244.3.1/24", "192.168.1.10/32"], addresses.Ranges.Select(r => r.ToString()));
        Assert.Equal(["192.168.1.10"], addresses.Discovery.Select(a => a.ToString()));
    }

    [Fact]
    public void AConfiguredRangeCarriesTheAddressOfThisNodeInsideIt()
    {
        var ranges = Of("enable: true, addressRanges: [10.244.0.0/16, 172.20.0.0/16]").Ranges.Select(r => r.ToString());
        Assert.Equal(["10.244.3.1/16", "172.20.0.0/16"], ranges.Take(2));
    }

    [Fact]
    public void DevicesThatAreLeftOutAreNeitherListenedOnNorTold()
    {
        var addresses = Of("enable: true, extraFilteredInterfaces: cni*");
        Assert.Equal(["192.168.1.10:20006"], addresses.Listen.Select(a => a.ToString()));
        Assert.Equal(["192.168.1.10/32"], addresses.Ranges.Select(r => r.ToString()));
    }

    [Fact]
    public async Task RelaysAreGivenByAddressNameOrMultiaddr()
    {
        var unusable = new List<string>();
        var relays = await RelayAddresses.ResolveAsync(
            [
                new ConfiguredRelay("a", ["198.51.100.1", "relay.example", "/ip4/198.51.100.2/tcp/4001", "198.51.100.3:99", "2001:db8::1", "[2001:db8::2]:99"]),
                new ConfiguredRelay("b", ["gone.example", "/dns4/x/udp/1", "no name"]),
                new ConfiguredRelay("", ["198.51.100.9"]),
            ],
            20006,
            (name, _) => name == "relay.example" ? Task.FromResult<IPAddress[]>([IPAddress.Parse("198.51.100.7")]) : throw new SocketException((int)SocketError.HostNotFound),
            (text, reason) => unusable.Add($"{text}: {reason[..3]}"), TestContext.Current.CancellationToken);

        Assert.Equal(["a", "b"], relays.Select(r => r.Name));
        Assert.Equal(
            ["198.51.100.1:20006", "198.51.100.7:20006", "198.51.100.2:4001", "198.51.100.3:99", "[2001:db8::1]:20006", "[2001:db8::2]:99"],
            relays[0].Addresses.Select(a => a.ToString()));
        Assert.Empty(relays[1].Addresses);
        Assert.Equal(["gone.example: DNS", "/dns4/x/udp/1: it ", "no name: it "], unusable);
    }

    private static TunnelAddresses Of(string tunnel) =>
        TunnelAddresses.Of(ConfigSample.Options($"modules: {{edgeTunnel: {{{tunnel}}}}}").Tunnel, "edgemesh0", Node);
}
