using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Hosts;
using EdgeMesh.Kubernetes;
using EdgeMesh.Linux;
using EdgeMesh.Planning;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Tunnel;
using Xunit;
using static EdgeMesh.Testing.Cluster.ClusterObjects;

namespace EdgeMesh.Tests.Planning;

/// <summary>Which way an endpoint goes once there is a tunnel.</summary>
public sealed class TunnelPlanTests
{
    private readonly CatalogBuilder _catalog = new();
    private readonly ForwardingPlanner _planner = new();

    private static ClusterFacts Mixed { get; } = Facts(
        Service("demo/web", "10.0.0.1", "80"),
        Slice("demo/web-1", "demo/web", "8080", "10.244.0.1").On("me"),
        Slice("demo/web-2", "demo/web", "8080", "10.244.2.1", "10.244.2.2").On("edge-b"));

    [Fact]
    public void WithoutATunnelEveryEndpointIsDialledDirectly() =>
        Assert.Equal((ForwardingPath.Kernel, "every endpoint is reached directly"), Path(Plan(Mixed, null)));

    [Fact]
    public void AnUnverifiedEndpointOfAnotherNodeTakesItsServiceToTheListener()
    {
        var plan = Plan(Mixed, Reachability.Empty);
        Assert.Equal((ForwardingPath.Listener, "2 of 3 endpoints on edge-b through the tunnel"), Path(plan));
        var route = Assert.Single(plan.Routes.Routes).Value;
        Assert.Equal([null, "edge-b", "edge-b"], route.Endpoints.Select(endpoint => route.NodeOf(endpoint)));
    }

    [Fact]
    public void VerifiedEndpointsAndThoseOfNoKnownNodeStayInTheKernel()
    {
        var facts = Mixed.With(Slice("demo/web-3", "demo/web", "8080", "10.244.3.1"));
        var plan = Plan(facts, TestReachability.Of(("edge-b", "10.244.2.0/24")));
        Assert.Equal(ForwardingPath.Kernel, Path(plan).Path);
        Assert.Empty(plan.Routes.Routes);
    }

    [Fact]
    public void TheSameRangeOnAnotherNodeSaysNothingOfThisOne() =>
        Assert.Equal(ForwardingPath.Listener, Path(Plan(Mixed, TestReachability.Of(("edge-a", "10.244.2.0/24")))).Path);

    [Fact]
    public void WhereOnlyTheKernelIsAllowedKubeProxyHasWhatItCannotReach() =>
        Assert.Equal(
            (ForwardingPath.NotCaught, "2 of 3 endpoints on edge-b through the tunnel, and dataPath is kernel"),
            Path(Plan(Mixed, Reachability.Empty, TestOptions.Planning with { DataPath = DataPath.Kernel })));

    [Fact]
    public void AFirewallThatMayShutTheListenerLeavesToKubeProxyWhatThatCanReach()
    {
        var carriage = TestOptions.Planning.Host.IPv4 with { ListenerShutBy = "inet fw in" };
        var options = TestOptions.Planning with { Host = new HostCarriages(carriage, carriage) };
        Assert.Equal(
            (ForwardingPath.NotCaught, "2 of 3 endpoints on edge-b through the tunnel; left to kube-proxy, since inet fw in may drop what is redirected to this node"),
            Path(Plan(Mixed, Reachability.Empty, options)));

        // Nobody else brings a connection there, and the firewall may let pods in.
        var far = Facts(Service("demo/web", "10.0.0.1", "80"), Slice("demo/web-2", "demo/web", "8080", "10.244.2.1").On("edge-b"));
        Assert.Equal(
            (ForwardingPath.Listener, "1 of 1 endpoints on edge-b through the tunnel; inet fw in may drop what is redirected to this node"),
            Path(Plan(far, Reachability.Empty, options)));
    }

    [Fact]
    public void ManyNodesAreNamedUpToThree()
    {
        var facts = Facts(Service("demo/web", "10.0.0.1", "80"));
        for (var i = 1; i <= 5; i++)
            facts = facts.With(Slice($"demo/web-{i}", "demo/web", "8080", $"10.244.{i}.1").On($"edge-{i}"));
        Assert.Equal("5 of 5 endpoints on edge-1, edge-2, edge-3 and 2 more nodes through the tunnel", Path(Plan(facts, Reachability.Empty)).Reason);
    }

    [Fact]
    public void AChangeOfWhatIsReachableReplansOnlyWhatGoesAnotherWay()
    {
        var facts = Mixed
            .With(Service("demo/other", "10.0.0.2", "80")).With(Slice("demo/other-1", "demo/other", "8080", "10.244.9.1").On("edge-z"));
        var before = Plan(facts, Reachability.Empty);
        var after = Plan(facts, TestReachability.Of(("edge-b", "10.244.2.0/24")));
        Assert.Same(before.Services[0], after.Services[0]);
        Assert.NotSame(before.Services[1], after.Services[1]);
        Assert.Same(after, Plan(facts, TestReachability.Of(("edge-b", "10.244.2.0/24"), ("edge-q", "10.0.0.0/8"))));
    }

    private static (ForwardingPath Path, string Reason) Path(ForwardingPlan plan)
    {
        var port = plan.Services[^1].Ports[0];
        return (port.Path, port.Reason);
    }

    private ForwardingPlan Plan(ClusterFacts facts, Reachability? reachability, PlanningOptions? options = null) =>
        _planner.Plan(_catalog.Build(facts, TestOptions.Policy), options ?? TestOptions.Planning, reachability);
}
