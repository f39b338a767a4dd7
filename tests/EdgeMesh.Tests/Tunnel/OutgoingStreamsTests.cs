using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using EdgeMesh.Tunnel.Proxy;
using Xunit;

namespace EdgeMesh.Tests.Tunnel;

public sealed class OutgoingStreamsTests
{
    private readonly List<StreamPlace> _gone = [];
    private long _now;

    [Fact]
    public void OnePodThatFillsANodeGivesWayToOthersThere()
    {
        var streams = new OutgoingStreams(total: 1_000, perNode: 100);
        Assert.Equal(100, Fill(streams, "edge-a", "10.0.0.1", 150));

        Assert.Equal(20, Fill(streams, "edge-a", "10.0.0.2", 20));

        Assert.Equal(20, _gone.Count);
        Assert.All(_gone, place => Assert.Equal("10.0.0.1", place.Destination.Client.Address.ToString()));
        Assert.Equal((100, 20), (streams.Count, streams.GaveWay));
    }

    [Fact]
    public void OnePodThatFillsTheTunnelOverManyNodesGivesWayToOthersAtANodeOfTheirOwn()
    {
        var streams = new OutgoingStreams(total: 400, perNode: 100);
        for (var i = 0; i < 4; i++)
            Fill(streams, $"edge-{i}", "10.0.0.1", 100);
        Assert.Equal(400, streams.Count);

        Assert.Equal(30, Fill(streams, "edge-z", "10.0.0.2", 30));

        Assert.Equal(30, _gone.Count);
        Assert.All(_gone, place => Assert.Equal("10.0.0.1", place.Destination.Client.Address.ToString()));
        Assert.Equal((400, 30), (streams.Count, streams.GaveWay));
    }

    [Fact]
    public void APlaceThatGaveWayIsNotReturnedTwice()
    {
        var streams = new OutgoingStreams(total: 40, perNode: 40);
        var places = new List<StreamPlace>();
        for (var i = 0; i < 40; i++)
            places.Add(Take(streams, "edge-a", "10.0.0.1")!);
        var other = Take(streams, "edge-a", "10.0.0.2")!;
        foreach (var place in places)
            streams.Return(place);
        Assert.Equal(1, streams.Count);
        streams.Return(other);
        streams.Return(other);
        Assert.Equal(0, streams.Count);
        Assert.Equal(40, Fill(streams, "edge-a", "10.0.0.3", 50));
    }

    private int Fill(OutgoingStreams streams, string node, string client, int wanted) =>
        Enumerable.Range(0, wanted).Count(_ => Take(streams, node, client) is not null);

    private StreamPlace? Take(OutgoingStreams streams, string node, string client)
    {
        var place = new StreamPlace(new TunnelDestination(
            node, InetEndpoint.Parse("10.244.0.1:80"), TransportProtocol.Tcp, new ServicePortName("demo", "web", "http", TransportProtocol.Tcp), InetEndpoint.Parse($"{client}:4000")));
        place.GivingWay.WhenAsked(() => _gone.Add(place));
        return streams.TryTake(place, ++_now) ? place : null;
    }
}
