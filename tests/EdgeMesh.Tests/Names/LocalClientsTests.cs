using System.Collections.Frozen;
using EdgeMesh.Hosts;
using EdgeMesh.Names;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using Xunit;

namespace EdgeMesh.Tests.Names;

public sealed class LocalClientsTests
{
    private static readonly HostFamilyFacts Nothing = new();

    private static HostFacts Host { get; } = new()
    {
        IPv4 = Nothing with
        {
            Bridges = [new PodBridge("cni0", [AddressRange.Parse("10.244.0.0/24")], IsFiltered: true, Hairpin: true, Pods: [])],
            RoutedPods = [AddressRange.Parse("10.9.0.7/32")],
        },
        IPv6 = Nothing,
    };

    [Theory]
    [InlineData("127.0.0.5", true)]
    [InlineData("::1", true)]
    [InlineData("10.200.0.2", true)]
    [InlineData("10.244.0.77", true)]
    [InlineData("10.9.0.7", true)]
    [InlineData("10.9.0.8", false)]
    [InlineData("10.244.1.77", false)]
    [InlineData("10.30.0.1", true)]
    [InlineData("fd00:30::1", true)]
    [InlineData("172.20.0.9", true)]
    [InlineData("10.200.0.1", false)]
    [InlineData("fe80::1", false)]
    public void ThisNodeItsPodsAndWhoIsNamedMayAsk(string address, bool may)
    {
        FrozenSet<InetAddress> own = [InetAddress.Parse("10.200.0.2")];
        var clients = LocalClients.Of(own, Host, ["10.30.0.0/16", "fd00:30::/64", "nonsense"], [AddressRange.Parse("172.20.0.0/24")]);
        Assert.Equal(may, clients.Contains(InetAddress.Parse(address)));
    }

    [Fact]
    public void WhereNothingIsKnownOfTheHostItsOwnQuestionsAreAnswered()
    {
        var clients = LocalClients.Of([InetAddress.Parse("10.200.0.2")], host: null, [], []);
        Assert.True(clients.Contains(InetAddress.Parse("10.200.0.2")));
        Assert.False(clients.Contains(InetAddress.Parse("10.244.0.77")));
    }
}
