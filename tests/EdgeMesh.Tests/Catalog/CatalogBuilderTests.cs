using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Tests.Planning;
using Xunit;
using static EdgeMesh.Testing.Cluster.ClusterObjects;

namespace EdgeMesh.Tests.Catalog;

public sealed class CatalogBuilderTests
{
    private readonly CatalogBuilder _builder = new();

    [Fact]
    public void TheSameFactsGiveTheSameCatalogObject()
    {
        var facts = Facts(Service("demo/web", "10.0.0.1", "80"));
        Assert.Same(_builder.Build(facts, TestOptions.Policy), _builder.Build(facts, TestOptions.Policy));
    }

    [Fact]
    public void OnlyTheChangedServiceIsANewObject()
    {
        var facts = Facts(
            Service("demo/a", "10.0.0.1", "80"),
            Service("demo/b", "10.0.0.2", "80"),
            Slice("demo/b-1", "demo/b", "8080", "10.244.0.1"));
        var before = _builder.Build(facts, TestOptions.Policy);
        var after = _builder.Build(facts.With(Slice("demo/b-1", "demo/b", "8080", "10.244.0.2")), TestOptions.Policy);
        Assert.Same(before.Services[0], after.Services[0]);
        Assert.NotSame(before.Services[1], after.Services[1]);
        Assert.Equal("10.244.0.2:8080", Assert.Single(after.Services[1].Ports[0].Endpoints).Address.ToString());
    }

    [Fact]
    public void ANewObjectThatSaysTheSameChangesNothing()
    {
        var slice = Slice("demo/a-1", "demo/a", "8080", "10.244.0.1");
        var facts = Facts(Service("demo/a", "10.0.0.1", "80"), slice);
        var before = _builder.Build(facts, TestOptions.Policy);
        var renewed = facts
            .With(slice with { Metadata = slice.Metadata with { ResourceVersion = "2" } })
            .With(Service("demo/a", "10.0.0.1", "80").Labelled("app", "web"));
        Assert.Same(before, _builder.Build(renewed, TestOptions.Policy));
    }

    [Fact]
    public void AnUnchangedPortOfAChangedServiceStaysTheSameObject()
    {
        var facts = Facts(Service("demo/a", "10.0.0.1", "http:80", "admin:81"), Slice("demo/a-1", "demo/a", "http:8080", "10.244.0.1"));
        var before = _builder.Build(facts, TestOptions.Policy).Services[0];
        var after = _builder.Build(facts.With(Slice("demo/a-2", "demo/a", "admin:8081", "10.244.0.1")), TestOptions.Policy).Services[0];
        Assert.Same(before.Ports[0], after.Ports[0]);
        Assert.NotSame(before.Ports[1], after.Ports[1]);
    }

    [Fact]
    public void ASliceThatMovesToAnotherServiceLeavesTheFirst()
    {
        var facts = Facts(
            Service("demo/a", "10.0.0.1", "80"), Service("demo/b", "10.0.0.2", "80"), Slice("demo/s", "demo/a", "8080", "10.244.0.1"));
        _builder.Build(facts, TestOptions.Policy);
        var after = _builder.Build(facts.With(Slice("demo/s", "demo/b", "8080", "10.244.0.1")), TestOptions.Policy);
        Assert.Empty(after.Services[0].Ports[0].Endpoints);
        Assert.Single(after.Services[1].Ports[0].Endpoints);
    }

    [Fact]
    public void EndpointsThatWereThereBeforeTheirServiceAreUsed()
    {
        var facts = Facts(Slice("demo/a-1", "demo/a", "8080", "10.244.0.1"));
        Assert.Empty(_builder.Build(facts, TestOptions.Policy).Services);
        var after = _builder.Build(facts.With(Service("demo/a", "10.0.0.1", "80")), TestOptions.Policy);
        Assert.Single(Assert.Single(after.Services).Ports[0].Endpoints);
    }

    [Fact]
    public void AServiceThatGoesGivesItsAddressToTheOtherClaimant()
    {
        var facts = Facts(Service("demo/a", "10.0.0.1", "80"), Service("demo/b", "10.0.0.1", "80"));
        var contested = _builder.Build(facts, TestOptions.Policy);
        Assert.Equal([Handling.Handled, Handling.AddressTaken], contested.Services.Select(s => s.Handling));
        var after = _builder.Build(facts with { Services = facts.Services.Remove(new ObjectName("demo", "a")) }, TestOptions.Policy);
        Assert.Equal(Handling.Handled, Assert.Single(after.Services).Handling);
    }

    [Fact]
    public void AServiceWhoseAddressIsTakenStaysTheSameObject()
    {
        var facts = Facts(Service("demo/a", "10.0.0.1", "80"), Service("demo/b", "10.0.0.1", "80"));
        var before = _builder.Build(facts, TestOptions.Policy);
        var after = _builder.Build(facts.With(Service("demo/c", "10.0.0.3", "80")), TestOptions.Policy);
        Assert.Same(before.Services[1], after.Services[1]);
    }

    [Fact]
    public void TheFilterModeTakesEffectOnServicesThatDidNotChange()
    {
        var facts = Facts(
            Service("demo/a", "10.0.0.1", "80"),
            Service("demo/b", "10.0.0.2", "80").Labelled("service.edgemesh.kubeedge.io/service-proxy-name"));
        _builder.Build(facts, TestOptions.Policy);
        var after = _builder.Build(facts, TestOptions.Policy with { FilterMode = ServiceFilterMode.FilterIfLabelDoesNotExists });
        Assert.Equal([Handling.NotLabelled, Handling.Handled], after.Services.Select(s => s.Handling));
    }

    [Fact]
    public void TheOrderIsByNamespaceAndNameWhateverTheOrderOfArrival()
    {
        var facts = Facts();
        foreach (var name in new[] { "b/a", "a/z", "c/c", "a/b" })
        {
            facts = facts.With(Service(name, "", "80"));
            _builder.Build(facts, TestOptions.Policy);
        }

        Assert.Equal(["a/b", "a/z", "b/a", "c/c"], _builder.Build(facts, TestOptions.Policy).Services.Select(s => s.Name.ToString()));
    }

    [Fact]
    public void OnlyEndpointsOnThisNodeThatServeAreLocalWhoeverHandlesTheirService()
    {
        var facts = Facts(
            Service("demo/web", "10.0.0.1", "80"),
            On("me", Slice("demo/web-1", "demo/web", "8080", "10.244.0.1", "10.244.0.2"), ready: [true, false]),
            On("other", Slice("demo/web-2", "demo/web", "8080", "10.244.1.1")),
            Slice("demo/web-3", "demo/web", "8080", "10.244.2.1"),
            Service("demo/left", "10.0.0.2", "53/UDP").Labelled(CatalogLabels.FilterLabel),
            On("me", Slice("demo/left-1", "demo/left", "53/UDP", "10.244.0.3")),
            On("me", Slice("demo/nobodys-1", "demo/nobodys", "22", "10.244.0.4")));

        Assert.Equal(
            ["10.244.0.1:8080 Tcp", "10.244.0.3:53 Udp"],
            Local(_builder.Build(facts, TestOptions.Policy)));
    }

    [Fact]
    public void AnEndpointOfTwoServicesStaysLocalUntilBothAreGone()
    {
        var facts = Facts(
            Service("demo/a", "10.0.0.1", "80"), On("me", Slice("demo/a-1", "demo/a", "8080", "10.244.0.1")),
            Service("demo/b", "10.0.0.2", "80"), On("me", Slice("demo/b-1", "demo/b", "8080", "10.244.0.1")));
        _builder.Build(facts, TestOptions.Policy);

        facts = facts with { Services = facts.Services.Remove(new ObjectName("demo", "a")) };
        Assert.Equal(["10.244.0.1:8080 Tcp"], Local(_builder.Build(facts, TestOptions.Policy)));
        facts = facts.With(On("other", Slice("demo/b-1", "demo/b", "8080", "10.244.0.1")));
        Assert.Empty(Local(_builder.Build(facts, TestOptions.Policy)));
    }

    [Fact]
    public void LocalEndpointsFollowTheirServicesAlsoWhereTheCatalogStaysTheSame()
    {
        var facts = Facts(Service("demo/a", "10.0.0.1", "80").Labelled(CatalogLabels.FilterLabel));
        var before = _builder.Build(facts, TestOptions.Policy);
        var after = _builder.Build(facts.With(On("me", Slice("demo/a-1", "demo/a", "8080", "10.244.0.1"))), TestOptions.Policy);

        Assert.Equal(before.Services, after.Services);
        Assert.Equal(["10.244.0.1:8080 Tcp"], Local(after));
    }

    private static IEnumerable<string> Local(ServiceCatalog catalog) =>
        catalog.LocalEndpoints.Select(local => $"{local.Endpoint} {local.Protocol}").Order(StringComparer.Ordinal);

    private static EndpointSlice On(string node, EndpointSlice slice, bool[]? ready = null) => slice with
    {
        Endpoints =
        [
            .. slice.Endpoints.Select((endpoint, i) => endpoint with
            {
                NodeName = node,
                Conditions = new EndpointConditions { Ready = ready?[i] ?? true, Serving = ready?[i] ?? true },
            }),
        ],
    };
}
