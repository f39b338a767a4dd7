using EdgeMesh.Balancing;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace EdgeMesh.Tests.Balancing;

public sealed class AffinityTableTests
{
    private static readonly ServiceEndpoint Endpoint = new(InetEndpoint.Parse("10.244.2.1:80"), "edge-b", IsLocal: false);

    [Fact]
    public void TheTableNeverGrowsBeyondItsBound()
        => Prop.ForAll(Gen.Choose(1, 50).ToArbitrary(), Gen.Choose(0, 500).ListOf().ToArbitrary(), (capacity, clients) =>
        {
            var table = new AffinityTable(capacity);
            var now = 0L;
            foreach (var client in clients)
                table.Set(Address(client), Endpoint, 10_000, now++);
            return table.Count <= capacity && (clients.Count == 0 || table.TryGet(Address(clients[^1]), 10_000, now, out _));
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void AtTheBoundExpiredClientsGoFirst()
    {
        var table = new AffinityTable(4);
        table.Set(Address(1), Endpoint, 1_000, 0);
        for (var i = 2; i <= 4; i++)
            table.Set(Address(i), Endpoint, 1_000, 900);
        table.Set(Address(5), Endpoint, 1_000, 1_500);
        Assert.False(table.TryGet(Address(1), 100_000, 1_500, out _));
        Assert.All([2, 3, 4, 5], i => Assert.True(table.TryGet(Address(i), 1_000, 1_500, out _)));
    }

    [Fact]
    public void ClientsOfAnEndpointThatLeftAreForgotten()
    {
        var other = Endpoint with { Address = InetEndpoint.Parse("10.244.2.2:80") };
        var table = new AffinityTable(10);
        table.Set(Address(1), Endpoint, 1_000, 0);
        table.Set(Address(2), other, 1_000, 0);
        table.Retain(endpoint => endpoint == other, 1_000, 0);
        Assert.Equal(1, table.Count);
        Assert.False(table.TryGet(Address(1), 1_000, 0, out _));
    }

    private static InetAddress Address(int number) => new((UInt128)(0x0A000000u + (uint)number), isIPv6: false);
}
