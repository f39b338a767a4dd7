using System.Collections.Frozen;
using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Tests.Planning;
using Xunit;
using static EdgeMesh.Testing.Cluster.ClusterObjects;

namespace EdgeMesh.Tests.Catalog;

/// <summary>Which addresses are neither caught nor dialled, and what is said of them.</summary>
public sealed class AddressRulesTests
{
    private static readonly ProtectedAddresses Node = new()
    {
        Own = new[] { "192.0.2.10", "10.244.2.1", "2001:db8::10" }.Select(InetAddress.Parse).ToFrozenSet(),
        Broadcast = new[] { "192.0.2.255", "10.244.2.255" }.Select(InetAddress.Parse).ToFrozenSet(),
        Listeners = new[] { "169.254.96.16", "fd0e:6d65:7368::10" }.Select(InetAddress.Parse).ToFrozenSet(),
        ControlPlane = [InetEndpoint.Parse("198.51.100.7:443")],
        AgentPorts = [9999, 20006],
    };

    private static readonly CatalogPolicy Policy = TestOptions.Policy with { Protected = Node };

    public static TheoryData<string, string> NowhereGood { get; } = new()
    {
        { "127.0.0.1", "loopback" }, { "127.255.0.9", "loopback" }, { "::1", "loopback" }, { "::ffff:127.0.0.1", "loopback" },
        { "::127.0.0.1", "loopback" }, { "64:ff9b::127.0.0.1", "loopback" }, { "64:ff9b:1::7f00:1", "loopback" }, { "2002:7f00:1::", "loopback" }, { "::ffff:0:127.0.0.1", "loopback" },
        { "169.254.169.254", "link-local" }, { "::ffff:169.254.169.254", "link-local" }, { "64:ff9b::a9fe:a9fe", "link-local" }, { "fe80::1", "link-local" }, { "febf::1", "link-local" },
        { "224.0.0.251", "multicast" }, { "239.1.2.3", "multicast" }, { "ff02::1", "multicast" },
        { "0.0.0.0", "unspecified" }, { "0.0.0.1", "unspecified" }, { "::", "unspecified" },
        { "255.255.255.255", "broadcast" }, { "192.0.2.255", "broadcast" },
        { "169.254.96.16", "listener" }, { "fd0e:6d65:7368::10", "listener" },
    };

    [Theory]
    [MemberData(nameof(NowhereGood))]
    public void WhatLeadsNowhereGoodIsNeitherCaughtNorDialled(string address, string reason)
    {
        var caught = Build(Service("demo/web", address, "80"));
        Assert.Equal(Handling.AddressRefused, caught.Handling);
        Assert.Contains(reason, Assert.Single(caught.Faults), StringComparison.Ordinal);
        Assert.Contains(InetAddress.Parse(address).ToString(), caught.Faults[0], StringComparison.Ordinal);

        var builder = new CatalogBuilder();
        var catalog = builder.Build(Facts(Service("demo/web", "10.96.0.9", "80"), Endpoint(address)), Policy);
        var dialled = Assert.Single(catalog.Services);
        Assert.Empty(dialled.Ports[0].Endpoints);
        Assert.Empty(catalog.LocalEndpoints);
        if (!address.StartsWith("::ffff:1", StringComparison.Ordinal))
            Assert.Contains(reason, Assert.Single(dialled.Faults), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("192.0.2.10:22", "this node")]
    [InlineData("64:ff9b::192.0.2.10 22", "this node")]
    [InlineData("2001:db8::10 22", "this node")]
    [InlineData("198.51.100.7:443", "asks the API")]
    public void TheNodeAndItsApiAreNotCaught(string text, string reason)
    {
        var place = text.Replace(' ', ':');
        var port = place[(place.LastIndexOf(':') + 1)..];
        var service = Build(Service("demo/web", place[..place.LastIndexOf(':')], port));
        Assert.Equal(Handling.AddressRefused, service.Handling);
        Assert.Contains(reason, Assert.Single(service.Faults), StringComparison.Ordinal);
    }

    [Fact]
    public void TheServiceOfTheApiIsCaughtWhereTheAgentItselfAsks() =>
        Assert.Equal(Handling.Handled, Build(Service("default/kubernetes", "198.51.100.7", "443")).Handling);

    [Fact]
    public void OtherPortsOfTheApisAddressAreCaught() =>
        Assert.Equal(Handling.Handled, Build(Service("demo/web", "198.51.100.7", "8443")).Handling);

    [Theory]
    [InlineData("192.0.2.10", 20006, false)]
    [InlineData("192.0.2.10", 9999, false)]
    [InlineData("10.244.2.1", 20006, false)]
    [InlineData("192.0.2.10", 8080, true)]
    [InlineData("192.0.2.11", 20006, true)]
    public void EndpointsOnThisNodesAddressesAreDialledUnlessTheAgentIsThere(string address, int port, bool allowed)
    {
        var catalog = new CatalogBuilder().Build(Facts(Service("demo/web", "10.96.0.9", "80"), Endpoint(address, port)), Policy);
        Assert.Equal(allowed, !Assert.Single(catalog.Services).Ports[0].Endpoints.IsEmpty);
        Assert.Equal(allowed, !catalog.LocalEndpoints.IsEmpty);
        Assert.Equal(allowed, catalog.Services[0].Faults.IsEmpty);
    }

    [Fact]
    public void APeerIsNotBroughtToTheLoopbackOfAServiceThatIsLeftAlone()
    {
        var headless = Service("demo/web", "None", "80");
        var catalog = new CatalogBuilder().Build(Facts(headless, Endpoint("127.0.0.1"), Slice("demo/web-2", "demo/web", "8080", "10.244.2.3").On("me")), Policy);
        Assert.Equal("10.244.2.3:8080", Assert.Single(catalog.LocalEndpoints).Endpoint.ToString());
        Assert.Equal(Handling.Headless, Assert.Single(catalog.Services).Handling);
        Assert.Contains("127.0.0.1:8080", Assert.Single(catalog.Services[0].Faults), StringComparison.Ordinal);
    }

    [Fact]
    public void TheServiceOfTheApiMayLeadToTheMetaServerThatTheAgentAsksAndNoPeerGetsThere()
    {
        var policy = Policy with { Protected = new ProtectedAddresses { ControlPlane = [InetEndpoint.Parse("127.0.0.1:10550")] } };
        var slice = Slice("default/kubernetes", "default/kubernetes", "10550", "127.0.0.1").On("me");
        var catalog = new CatalogBuilder().Build(Facts(Service("default/kubernetes", "10.96.0.1", "443"), slice), policy);
        Assert.Single(Assert.Single(catalog.Services).Ports[0].Endpoints);
        Assert.Empty(catalog.LocalEndpoints);
    }

    [Fact]
    public void AnAnnotationOfAManifestAllowsWhatItNames()
    {
        var service = Allowing("loopback, own-address", Service("demo/web", "192.0.2.10", "80"));
        var manifests = Policy with { HonoursAllowAddress = true };
        var catalog = new CatalogBuilder().Build(Facts(service, Endpoint("127.0.0.1")), manifests);
        Assert.Equal(Handling.Handled, Assert.Single(catalog.Services).Handling);
        Assert.Single(catalog.Services[0].Ports[0].Endpoints);
        Assert.Single(catalog.LocalEndpoints);
        Assert.Empty(catalog.Services[0].Faults);
        Assert.Empty(new CatalogBuilder().Build(Facts(service, Endpoint("169.254.169.254")), manifests).LocalEndpoints);
    }

    [Fact]
    public void TheSameAnnotationFromAnApiServerAllowsNothingAndIsNamed()
    {
        var service = Build(Allowing("loopback", Service("demo/web", "127.0.0.1", "80")));
        Assert.Equal(Handling.AddressRefused, service.Handling);
        Assert.Contains(service.Faults, fault => fault.Contains("manifests only", StringComparison.Ordinal));
    }

    [Fact]
    public void AnAnnotationWithAnUnknownWordIsNamed()
    {
        var service = new CatalogBuilder().Build(Facts(Allowing("everything", Service("demo/web", "10.96.0.9", "80"))), Policy with { HonoursAllowAddress = true }).Services[0];
        Assert.Contains("'everything'", Assert.Single(service.Faults), StringComparison.Ordinal);
    }

    [Fact]
    public void OneOfTwoAddressesThatIsRefusedLeavesTheOther()
    {
        var service = Service("demo/web", "10.96.0.9", "80");
        var built = Build(service with { Spec = service.Spec with { ClusterIPs = ["10.96.0.9", "fe80::9"] } });
        Assert.Equal(Handling.Handled, built.Handling);
        Assert.Equal("10.96.0.9", Assert.Single(built.Ports[0].Addresses).Address.ToString());
    }

    [Fact]
    public void AChangeOfTheNodesAddressesIsFollowed()
    {
        var builder = new CatalogBuilder();
        var facts = Facts(Service("demo/web", "192.0.2.77", "80"));
        Assert.Equal(Handling.Handled, builder.Build(facts, Policy).Services[0].Handling);
        var after = Policy with { Protected = new ProtectedAddresses { Own = [InetAddress.Parse("192.0.2.77")] } };
        Assert.Equal(Handling.AddressRefused, builder.Build(facts, after).Services[0].Handling);
        Assert.Equal(Handling.Handled, builder.Build(facts, Policy).Services[0].Handling);
    }

    private static CatalogService Build(Service service) => Assert.Single(new CatalogBuilder().Build(Facts(service), Policy).Services);

    private static EndpointSlice Endpoint(string address, int port = 8080) =>
        Slice("demo/web-1", "demo/web", $"{port}", address).On("me");

    private static Service Allowing(string words, Service service) => service with
    {
        Metadata = service.Metadata with { Annotations = service.Metadata.Annotations.SetItem(CatalogLabels.AllowAddressAnnotation, words) },
    };
}
