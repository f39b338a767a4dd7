using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Hosts;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Planning;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Tunnel;
using Xunit;
using static EdgeMesh.Testing.Cluster.ClusterObjects;

namespace EdgeMesh.Tests.Planning;

public sealed class ForwardingPlannerTests
{
    private readonly CatalogBuilder _catalog = new();
    private readonly ForwardingPlanner _planner = new();

    [Fact]
    public void AKernelPortHasARuleWithItsEndpointsAndNoRoute()
    {
        var plan = Plan(Facts(
            Service("demo/a", "10.0.0.1", "http:80"), Slice("demo/a-1", "demo/a", "http:8080", "10.244.0.2", "10.244.0.1")), TestOptions.Planning);
        var rule = Assert.Single(plan.Portals[0].Rules);
        Assert.Equal("demo/a:http", rule.Comment);
        var backends = Assert.IsType<PortalTarget.Backends>(rule.Target);
        Assert.Equal(["10.244.0.1:8080", "10.244.0.2:8080"], backends.Endpoints.Select(e => e.ToString()));
        Assert.Empty(plan.Routes.Routes);
        Assert.Empty(plan.Portals[1].Rules);
    }

    [Fact]
    public void AnEndpointBehindABridgeOfThisNodeIsHereWhateverNodeItIsSaidToBeOn()
    {
        var pods = new AddressRange(InetAddress.Parse("10.244.0.0"), 24);
        var carriage = HostCarriage.Unasked with { BridgedPods = [pods], SelfThroughListener = [pods] };
        var plan = Plan(
            Facts(Service("demo/a", "10.0.0.1", "80"), Slice("demo/a-1", "demo/a", "8080", "10.244.0.1", "10.244.7.1").On("me.example.com")),
            TestOptions.Planning with { Host = new HostCarriages(carriage, carriage) });
        var backends = Assert.IsType<PortalTarget.Backends>(Assert.Single(plan.Portals[0].Rules).Target);
        Assert.Equal(["10.244.0.1:8080"], backends.Local.Select(e => e.ToString()));
        Assert.Equal(["10.244.0.1"], backends.ThroughListener.Select(a => a.ToString()));
    }

    [Fact]
    public void AListenerPortHasARuleAndARouteOfItsOwnFamilyOnly()
    {
        var plan = Plan(
            Facts(
                Service("demo/a", "10.0.0.1", "80"),
                Slice("demo/a-4", "demo/a", "8080", "10.244.0.1"),
                Slice("demo/a-6", "demo/a", "8080", "fd00::1")),
            TestOptions.Userspace);
        Assert.IsType<PortalTarget.Listener>(Assert.Single(plan.Portals[0].Rules).Target);
        var route = plan.Routes.Routes[new TransportAddress(InetEndpoint.Parse("10.0.0.1:80"), TransportProtocol.Tcp)];
        Assert.Equal("10.244.0.1:8080", Assert.Single(route.Endpoints).Address.ToString());
    }

    [Fact]
    public void TheChosenPolicyAndAffinityReachTheKernel()
    {
        var sticky = Service("demo/a", "10.0.0.1", "80");
        sticky = sticky with { Spec = sticky.Spec with { SessionAffinity = "ClientIP" } };
        var plan = Plan(
            Facts(
                sticky, Slice("demo/a-1", "demo/a", "8080", "10.244.0.1"),
                Service("demo/b", "10.0.0.2", "80"), Slice("demo/b-1", "demo/b", "8080", "10.244.0.1")),
            TestOptions.Planning with { Policy = BalancingPolicy.Random });
        var targets = plan.Portals[0].Rules.Select(r => Assert.IsType<PortalTarget.Backends>(r.Target)).ToArray();
        Assert.Equal((BackendChoice.ClientAffinity, TimeSpan.FromHours(3)), (targets[0].Choice, targets[0].AffinityTimeout));
        Assert.Equal((BackendChoice.Random, TimeSpan.Zero), (targets[1].Choice, targets[1].AffinityTimeout));
    }

    [Fact]
    public void RulesAndRoutesOfUnchangedServicesStayTheSameObjects()
    {
        var facts = Facts(Service("demo/a", "10.0.0.1", "80"), Service("demo/c", "10.0.0.3", "80"));
        var before = Plan(facts, TestOptions.Userspace);
        var after = Plan(facts.With(Service("demo/b", "10.0.0.2", "80")), TestOptions.Userspace);
        Assert.Equal(3, after.Portals[0].Rules.Length);
        Assert.Same(before.Portals[0].Rules[0], after.Portals[0].Rules[0]);
        Assert.Same(before.Portals[0].Rules[1], after.Portals[0].Rules[2]);
        Assert.All(before.Routes.Routes, route => Assert.Same(route.Value, after.Routes.Routes[route.Key]));
    }

    [Fact]
    public void RoutesStayTheSameTableWhileOnlyKernelPortsChange()
    {
        var facts = Facts(Service("demo/a", "10.0.0.1", "80"), Slice("demo/a-1", "demo/a", "8080", "10.244.0.1"));
        var before = Plan(facts, TestOptions.Planning);
        var after = Plan(facts.With(Slice("demo/a-1", "demo/a", "8080", "10.244.0.2")), TestOptions.Planning);
        Assert.NotSame(before, after);
        Assert.Same(before.Routes, after.Routes);
    }

    [Fact]
    public void AnAddressThatMovesToAnotherServiceKeepsItsRoute()
    {
        Plan(Facts(Service("demo/b", "10.0.0.1", "80")), TestOptions.Userspace);
        var after = Plan(Facts(Service("demo/a", "10.0.0.1", "80"), Service("demo/b", "10.0.0.2", "80")), TestOptions.Userspace);
        Assert.Equal(2, after.Routes.Routes.Count);
        Assert.Equal("a", after.Routes.Routes[new TransportAddress(InetEndpoint.Parse("10.0.0.1:80"), TransportProtocol.Tcp)].Service.Name);
    }

    [Fact]
    public void NothingChangedGivesTheSamePlan()
    {
        var facts = Facts(Service("demo/a", "10.0.0.1", "80"));
        Assert.Same(Plan(facts, TestOptions.Planning), Plan(facts, TestOptions.Planning));
    }

    private ForwardingPlan Plan(EdgeMesh.Kubernetes.ClusterFacts facts, PlanningOptions options) =>
        _planner.Plan(_catalog.Build(facts, TestOptions.Policy), options);
}
