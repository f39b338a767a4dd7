using System.Collections.Frozen;
using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Net;
using EdgeMesh.Planning;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Tests.Planning;
using Xunit;
using static EdgeMesh.Testing.Cluster.ClusterObjects;

namespace EdgeMesh.Tests.Catalog;

/// <summary>Addresses outside of the cluster. Which path they take: the golden case <c>external-addresses</c>.</summary>
public sealed class ServiceAddressesTests
{
    private readonly CatalogBuilder _builder = new();

    [Theory]
    [InlineData(AddressKinds.All, "10.96.0.1 198.51.100.1 203.0.113.1")]
    [InlineData(AddressKinds.ClusterIP, "10.96.0.1")]
    [InlineData(AddressKinds.ExternalIP | AddressKinds.LoadBalancerIP, "198.51.100.1 203.0.113.1")]
    public void OnlyTheKindsThatAreAskedForAreCaught(AddressKinds kinds, string caught)
    {
        var catalog = _builder.Build(Facts(Outside("demo/web", "10.96.0.1", "198.51.100.1", "203.0.113.1")), TestOptions.Policy with { AddressKinds = kinds });
        var addresses = Assert.Single(catalog.Services).Ports[0].Addresses;
        Assert.Equal(3, addresses.Length);
        Assert.Equal(caught, string.Join(' ', addresses.Where(address => address.LeftBecause is null).Select(address => address.Address)));
    }

    [Fact]
    public void AnAddressOfThisNodeIsLeftAloneAndTheOthersAreNot()
    {
        var policy = TestOptions.Policy with { Protected = new ProtectedAddresses { Own = new[] { InetAddress.Parse("198.51.100.1") }.ToFrozenSet() } };
        var service = Assert.Single(_builder.Build(Facts(Outside("demo/web", "10.96.0.1", "198.51.100.1", "203.0.113.1")), policy).Services);
        Assert.Equal(["10.96.0.1", "203.0.113.1"], service.Ports[0].Addresses.Select(address => address.Address.ToString()));
        Assert.Contains("198.51.100.1:80 is not caught: it is an address of this node", Assert.Single(service.Faults), StringComparison.Ordinal);
    }

    [Fact]
    public void TheAddressAtWhichTheApiIsAskedIsNeverCaught()
    {
        var policy = TestOptions.Policy with { Protected = new ProtectedAddresses { ControlPlane = new[] { InetEndpoint.Parse("198.51.100.1:80") }.ToFrozenSet() } };
        var service = Assert.Single(_builder.Build(Facts(Outside("demo/web", "10.96.0.1", "198.51.100.1", "203.0.113.1")), policy).Services);
        Assert.DoesNotContain(service.Ports[0].Addresses, address => address.Address == InetAddress.Parse("198.51.100.1"));
    }

    [Fact]
    public void TwoServicesWithOneAddressAreBothNamed()
    {
        var services = _builder.Build(
            Facts(Outside("demo/a", "10.96.0.1", "198.51.100.1", "203.0.113.1"), Outside("demo/b", "10.96.0.2", "198.51.100.1", "203.0.113.2")), TestOptions.Policy).Services;
        Assert.Equal([Handling.Handled, Handling.AddressTaken], services.Select(service => service.Handling));
        Assert.Equal("198.51.100.1 port 80 already belongs to demo/a; change one of the two", Assert.Single(services[1].Faults));
    }

    [Fact]
    public void AnAddressThatIsLeftToKubeProxyTakesNothingFromAnotherService()
    {
        var left = Outside("demo/a", "10.96.0.1", "198.51.100.1", "203.0.113.1");
        left = left with { Spec = left.Spec with { ExternalTrafficPolicy = "Local" } };
        var services = _builder.Build(Facts(left, Outside("demo/b", "10.96.0.2", "198.51.100.1", "203.0.113.2")), TestOptions.Policy).Services;
        Assert.All(services, service => Assert.Equal(Handling.Handled, service.Handling));
    }

    [Fact]
    public void TheGuardAgainstInvalidPacketsKnowsTheirEndpointsAndNotTheirNeighbours()
    {
        var catalog = _builder.Build(
            Facts(Outside("demo/web", "10.96.0.1", "198.51.100.1", "203.0.113.1"), Slice("demo/web-1", "demo/web", "8080", "10.244.0.1")),
            TestOptions.Policy with { AddressKinds = AddressKinds.ExternalIP });
        var plan = new ForwardingPlanner().Plan(catalog, TestOptions.Planning);
        var guard = plan.Portals.Single(portals => portals.Family == IpFamily.IPv4).Invalid!;
        Assert.Equal("10.244.0.0/24", Assert.Single(guard.Endpoints).ToString());
        Assert.Empty(guard.Services);
        Assert.Empty(plan.ServiceNetworks(IpFamily.IPv4));
    }

    private static Service Outside(string name, string clusterIP, string externalIP, string given)
    {
        var service = Service(name, clusterIP, "80");
        return service with
        {
            Spec = service.Spec with { Type = "LoadBalancer", ExternalIPs = [externalIP] },
            Status = new ServiceStatus { LoadBalancer = new LoadBalancerStatus { Ingress = [new LoadBalancerIngress { IP = given }] } },
        };
    }
}
