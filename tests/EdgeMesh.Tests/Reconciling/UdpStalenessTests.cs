using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Planning;
using EdgeMesh.Reconciling;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Tests.Planning;
using Xunit;
using static EdgeMesh.Testing.Cluster.ClusterObjects;

namespace EdgeMesh.Tests.Reconciling;

public sealed class UdpStalenessTests
{
    private static readonly InetEndpoint _dns = InetEndpoint.Parse("10.0.0.1:53");
    private static readonly InetEndpoint _first = InetEndpoint.Parse("10.244.0.1:5353");
    private static readonly InetEndpoint _second = InetEndpoint.Parse("10.244.0.2:5353");
    private static readonly InetEndpoint _listener = InetEndpoint.Parse("169.254.96.16:20007");

    private readonly CatalogBuilder _catalog = new();
    private readonly ForwardingPlanner _planner = new();

    [Fact]
    public void OnlyFlowsToTheEndpointThatLeftAreStale()
    {
        var before = Plan(Dns("10.244.0.1", "10.244.0.2"));
        var stale = UdpStaleness.Between(before, Plan(Dns("10.244.0.2")));
        Assert.NotNull(stale);
        Assert.Equal(1, stale.Count);
        Assert.True(stale.IsStale(_dns, _first));
        Assert.False(stale.IsStale(_dns, _second));
        Assert.False(stale.IsStale(InetEndpoint.Parse("10.0.0.9:53"), _first));
    }

    [Fact]
    public void TakingAnAddressOverMakesFlowsToOtherAnswerersStale()
    {
        var stale = UdpStaleness.Between(ForwardingPlan.Empty, Plan(Dns("10.244.0.1")));
        Assert.NotNull(stale);
        Assert.True(stale.IsStale(_dns, _second));
        Assert.False(stale.IsStale(_dns, _first));
    }

    [Fact]
    public void GivingAnAddressBackMakesAllItsFlowsStale()
    {
        var before = Plan(Dns("10.244.0.1"));
        var stale = UdpStaleness.Between(before, Plan(Facts()));
        Assert.NotNull(stale);
        Assert.True(stale.IsStale(_dns, _first));
    }

    [Fact]
    public void MovingToTheListenerMakesKernelFlowsStaleAndBack()
    {
        var kernel = Plan(Dns("10.244.0.1"));
        var listener = Plan(Dns("10.244.0.1"), TestOptions.Userspace);
        var there = UdpStaleness.Between(kernel, listener);
        var back = UdpStaleness.Between(listener, kernel);
        Assert.True(there!.IsStale(_dns, _first));
        Assert.False(there.IsStale(_dns, _listener));
        Assert.True(back!.IsStale(_dns, _listener));
        Assert.False(back.IsStale(_dns, _first));
    }

    [Fact]
    public void LosingTheLastEndpointMakesEveryFlowStale()
    {
        var before = Plan(Dns("10.244.0.1"));
        Assert.True(UdpStaleness.Between(before, Plan(Dns()))!.IsStale(_dns, _first));
    }

    [Fact]
    public void ChangesOfTcpAndOfNothingNeedNoLook()
    {
        var facts = Facts(Service("demo/web", "10.0.0.2", "80"), Slice("demo/web-1", "demo/web", "8080", "10.244.0.1"));
        var before = Plan(facts);
        var after = Plan(facts.With(Slice("demo/web-1", "demo/web", "8080", "10.244.0.2")));
        Assert.NotSame(before, after);
        Assert.Null(UdpStaleness.Between(before, after));
        Assert.Null(UdpStaleness.Between(after, after));
    }

    [Fact]
    public void WithoutListenersOnlyTheirFlowsAreStale()
    {
        Assert.Null(UdpStaleness.WithoutListeners(Plan(Dns("10.244.0.1"))));
        Assert.True(UdpStaleness.WithoutListeners(Plan(Dns("10.244.0.1"), TestOptions.Userspace))!.IsStale(_dns, _listener));
    }

    private static ClusterFacts Dns(params ReadOnlySpan<string> addresses) => Facts(
        Service("demo/dns", "10.0.0.1", "dns:53/UDP"), Slice("demo/dns-1", "demo/dns", "dns:5353/UDP", addresses));

    private ForwardingPlan Plan(ClusterFacts facts, PlanningOptions? options = null) =>
        _planner.Plan(_catalog.Build(facts, TestOptions.Policy), options ?? TestOptions.Planning);
}
