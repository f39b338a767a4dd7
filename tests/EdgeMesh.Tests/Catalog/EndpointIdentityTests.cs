using System.Collections.Immutable;
using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Planning;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Tests.Planning;
using EdgeMesh.Tunnel;
using Xunit;
using static EdgeMesh.Testing.Cluster.ClusterObjects;

namespace EdgeMesh.Tests.Catalog;

/// <summary>An endpoint is an address, a port and a node, and of what is said of one endpoint the best counts.</summary>
public sealed class EndpointIdentityTests
{
    private const string Address = "172.17.0.2";

    private static readonly EndpointConditions NotReady = new() { Ready = false, Serving = false, Terminating = false };
    private static readonly EndpointConditions Draining = new() { Ready = false, Serving = true, Terminating = true };

    [Theory]
    [InlineData("edge-b", true)]
    [InlineData("edge-b", false)]
    [InlineData("edge-c", true)]
    [InlineData("edge-c", false)]
    [InlineData(null, true)]
    [InlineData(null, false)]
    public void AReadyEndpointWinsOverTheSameAddressThatIsNotReady(string? otherNode, bool inOneSlice)
    {
        Endpoint gone = Ep(otherNode, NotReady), ready = Ep("edge-b");
        var found = inOneSlice ? Endpoints(Web("a", gone, ready)) : Endpoints(Web("a", gone), Web("b", ready));
        Assert.Equal("edge-b", Assert.Single(found).Node);
        Assert.Equal(found, inOneSlice ? Endpoints(Web("a", ready, gone)) : Endpoints(Web("a", ready), Web("b", gone)));
    }

    [Fact]
    public void AReadyEndpointWinsOverTheSameAddressThatDrainsAndThatOverOneThatDoesNotServe()
    {
        Assert.Equal("edge-b", Assert.Single(Endpoints(Web("a", Ep("edge-b", Draining)), Web("b", Ep("edge-b")))).Node);
        Assert.Equal("edge-b", Assert.Single(Endpoints(Web("a", Ep("edge-b", NotReady)), Web("b", Ep("edge-b", Draining)))).Node);
    }

    [Fact]
    public void OneAddressOnTwoNodesIsTwoEndpoints() =>
        Assert.Equal(["edge-b", "edge-c"], Endpoints(Web("a", Ep("edge-c"), Ep("edge-b"))).Select(e => e.Node));

    [Fact]
    public void WhereThisNodeIsOneOfThemTheAddressIsItsOwn()
    {
        var found = Assert.Single(Endpoints(Web("a", Ep("edge-b"), Ep("me"), Ep("edge-c"))));
        Assert.Equal(("me", true), (found.Node, found.IsLocal));
        Assert.Equal("edge-b", Assert.Single(Endpoints(Web("a", Ep("edge-b"), Ep("me", NotReady)))).Node);
    }

    [Fact]
    public void WhoDidNotSayOnWhichNodeSaysNothingBesideThoseWhoDid() =>
        Assert.Equal("edge-b", Assert.Single(Endpoints(Web("a", Ep(null), Ep("edge-b")))).Node);

    [Fact]
    public void EndpointsObjectsTellNodesApartToo()
    {
        var endpoints = new Endpoints
        {
            Metadata = new ObjectMeta { Namespace = "demo", Name = "web" },
            Subsets =
            [
                new EndpointSubset
                {
                    Addresses = [new SubsetAddress { Ip = Address, NodeName = "edge-b" }, new SubsetAddress { Ip = Address, NodeName = "edge-c" }],
                    NotReadyAddresses = [new SubsetAddress { Ip = Address, NodeName = "edge-b" }],
                    Ports = [new EndpointPort { Port = 8080 }],
                },
            ],
        };
        Assert.Equal(["edge-b", "edge-c"], Endpoints(endpoints).Select(e => e.Node));
    }

    [Fact]
    public void TheTunnelBringsConnectionsToEachOfTwoNodesWithOneAddress()
    {
        var route = Assert.Single(Plan(Reachability.Empty).Routes.Routes).Value;
        Assert.Equal(["edge-b", "edge-c"], route.Endpoints.Select(e => route.NodeOf(e)));
    }

    [Fact]
    public void WithoutATunnelOneAddressIsOnePlaceWhoeverIsThere()
    {
        var rule = Assert.Single(Assert.Single(Plan(null).Services).Ports).Rule!;
        Assert.Single(Assert.IsType<EdgeMesh.Netfilter.PortalTarget.Backends>(rule.Target).Endpoints);
    }

    private static ForwardingPlan Plan(Reachability? reachability) => new ForwardingPlanner().Plan(
        new CatalogBuilder().Build(Cluster(Web("a", Ep("edge-b"), Ep("edge-c"))), TestOptions.Policy), TestOptions.Planning, reachability);

    private static ImmutableArray<ServiceEndpoint> Endpoints(params ReadOnlySpan<KubernetesObject> objects) =>
        Assert.Single(new CatalogBuilder().Build(Cluster(objects), TestOptions.Policy).Services).Ports[0].Endpoints;

    private static ClusterFacts Cluster(params ReadOnlySpan<KubernetesObject> objects) => Facts([Service("demo/web", "10.96.18.1", "80"), .. objects]);

    private static EndpointSlice Web(string name, params ImmutableArray<Endpoint> endpoints) =>
        Slice("demo/web-" + name, "demo/web", "8080") with { Endpoints = endpoints };

    private static Endpoint Ep(string? node, EndpointConditions? conditions = null) =>
        new() { Addresses = [Address], NodeName = node, Conditions = conditions };
}
