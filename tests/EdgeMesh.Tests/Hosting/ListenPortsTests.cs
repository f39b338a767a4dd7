using EdgeMesh.Agent.Hosting;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using Xunit;

namespace EdgeMesh.Tests.Hosting;

public sealed class ListenPortsTests
{
    private const string Tcp = """
          sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
           0: 0100007F:270F 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 30214 1 0000000000000000 100 0 0 10 0
           1: 1060FEA9:4E27 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 30215 1 0000000000000000 100 0 0 10 0
           2: 0100007F:1F90 0100007F:A2B4 01 00000000:00000000 00:00000000 00000000  1000        0 30216 1 0000000000000000 20 4 30 10 -1
           3: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 30217 1 0000000000000000 100 0 0 10 0
        """;

    private const string Udp6 = """
          sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
          12: 656D0EFD000068730000000010000000:4E27 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000 65534        0 30300 2 0000000000000000 0
          13: 00000000000000000000000000000000:00CF 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 30301 2 0000000000000000 0
          14: cut off
        """;

    [Fact]
    public void TheKernelsTablesTellWhoseAPortIs()
    {
        var tcp = BoundPorts.Parse(Tcp.Split('\n'), ipv6: false, tcp: true).ToArray();
        // Those that listen come first, and those of connections are not read.
        Assert.Equal([new BoundPort(InetEndpoint.Parse("127.0.0.1:9999"), 65534), new BoundPort(InetEndpoint.Parse("169.254.96.16:20007"), 0)], tcp);
        var udp = BoundPorts.Parse(Udp6.Split('\n'), ipv6: true, tcp: false).ToArray();
        Assert.Equal([new BoundPort(InetEndpoint.Parse("[fd0e:6d65:7368::10]:20007"), 65534), new BoundPort(InetEndpoint.Parse("[::]:207"), 101)], udp);
        Assert.Equal("a program of user 65534 (it has 127.0.0.1:9999)", ListenPorts.HolderOf(9999, tcp));
        Assert.Equal("a program of user 101 (it has [::]:207)", ListenPorts.HolderOf(207, udp));
        Assert.Equal("another program", ListenPorts.HolderOf(1, [.. tcp, .. udp]));
    }

    [Fact]
    public void TheConfiguredPortIsFirstAndThoseThatOnlyTheEntitledCanTakeFollow()
    {
        var ports = ListenPorts.InOrder(20007, predecessorHas: null);
        Assert.Equal(20007, ports[0]);
        Assert.All(ports.Skip(1), port => Assert.InRange(port, 1, 1023));
        Assert.InRange(ports.Length, 3, 10);
        Assert.Equal(ports.Length - 1, ListenPorts.InOrder(ports[1], predecessorHas: null).Length);
    }

    [Fact]
    public void ASuccessorListensWhereItsPredecessorDoes()
    {
        Assert.Equal([207, 20007], ListenPorts.InOrder(20007, port => port == 207).Take(2));
        Assert.Equal(20007, ListenPorts.InOrder(20007, port => port == 20007)[0]);
        // The predecessor's configuration named another one.
        Assert.Equal(20008, ListenPorts.InOrder(20008, port => port == 20007)[0]);
    }
}
