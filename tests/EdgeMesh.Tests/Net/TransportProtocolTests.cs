using EdgeMesh.Net;
using Xunit;

namespace EdgeMesh.Tests.Net;

public sealed class TransportProtocolTests
{
    [Theory]
    [InlineData(null, TransportProtocol.Tcp)]
    [InlineData("", TransportProtocol.Tcp)]
    [InlineData("TCP", TransportProtocol.Tcp)]
    [InlineData("UDP", TransportProtocol.Udp)]
    [InlineData("SCTP", TransportProtocol.Sctp)]
    [InlineData("tcp", null)]
    [InlineData("DCCP", null)]
    public void KubernetesWritesAProtocolInCapitalsAndLeavesTcpOut(string? text, TransportProtocol? protocol) =>
        Assert.Equal(protocol, TransportProtocols.OfKubernetes(text));

    [Fact]
    public void EveryProtocolHasTheNameThatIptablesReads() =>
        Assert.Equal(["tcp", "udp", "sctp"], Enum.GetValues<TransportProtocol>().Select(protocol => protocol.Name()));
}
