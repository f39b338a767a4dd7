using System.Collections.Immutable;
using EdgeMesh.Balancing;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Forwarding.Udp;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Net;
using Xunit;

namespace EdgeMesh.Tests.Forwarding.Udp;

public sealed class UdpFlowTableTests : IDisposable
{
    private readonly DatagramSocket _socket = DatagramSocket.Listen(InetEndpoint.Parse("127.0.0.1:0"), 4096, mark: 0);

    public void Dispose() => _socket.Dispose();

    [Fact]
    public void TheFlowThatWasIdleLongestIsTheOldest()
    {
        var table = new UdpFlowTable(3);
        var (first, second, third) = (Add(table, 1), Add(table, 2), Add(table, 3));
        Assert.True(table.IsFull);
        Assert.Same(first, table.Oldest);

        table.Touch(first, 10);
        Assert.Same(second, table.Oldest);
        table.Touch(third, 11);
        table.Touch(second, 12);
        Assert.Same(first, table.Oldest);
        table.Remove(first);
        Assert.Same(third, table.Oldest);
        table.Remove(third);
        table.Remove(second);
        Assert.Null(table.Oldest);
        Assert.Equal(0, table.Count);
    }

    [Fact]
    public void ARemovedFlowIsFoundNeitherByClientNorById()
    {
        var table = new UdpFlowTable(2);
        var flow = Add(table, 1);
        Assert.Same(flow, table.Find(flow.Client));
        Assert.Same(flow, table.Find(flow.Id));

        table.Remove(flow);
        table.Remove(flow);
        Assert.Null(table.Find(flow.Client));
        Assert.Null(table.Find(flow.Id));
        Assert.NotEqual(flow.Id, Add(table, 1).Id);
    }

    [Fact]
    public void AFullTableTakesNoMore()
    {
        var table = new UdpFlowTable(1);
        Add(table, 1);
        Assert.Throws<InvalidOperationException>(() => Add(table, 2));
        Assert.Equal(1, table.Count);
    }

    [Fact]
    public void TheOrderOfUseHoldsOverManyRandomSteps()
    {
        var random = new Random(3);
        var table = new UdpFlowTable(50);
        var model = new List<UdpFlow>();
        for (var step = 1; step < 5_000; step++)
        {
            var choice = random.Next(3);
            if (choice == 0 && model.Count < 50)
            {
                model.Add(Add(table, (ushort)step, step));
            }
            else if (model.Count > 0)
            {
                var flow = model[random.Next(model.Count)];
                model.Remove(flow);
                if (choice == 1)
                {
                    table.Remove(flow);
                }
                else
                {
                    table.Touch(flow, step);
                    model.Add(flow);
                }
            }

            Assert.Equal(model.Count, table.Count);
            Assert.Same(model.FirstOrDefault(), table.Oldest);
        }
    }

    private UdpFlow Add(UdpFlowTable table, ushort port, long now = 0)
    {
        var service = new ServicePortName("ns", "echo", string.Empty, TransportProtocol.Udp);
        var flow = new UdpFlow
        {
            Client = new InetEndpoint(InetAddress.Parse("10.0.0.1"), port),
            OriginalDestination = InetEndpoint.Parse("10.96.0.1:53"),
            Service = new UdpService(service, new ServiceBalancer(new Random(1), new SetAsidePolicy())),
            Socket = _socket,
            IsTunnelled = false,
            OpenedAt = now,
            Route = new Route { Service = service, Endpoints = [] },
            Table = RouteTable.Empty,
            Endpoint = new ServiceEndpoint(InetEndpoint.Parse("10.0.0.2:53"), null, IsLocal: false),
        };
        table.Add(flow, table.NextId(), now);
        return flow;
    }
}
