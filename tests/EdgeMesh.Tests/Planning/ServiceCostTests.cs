using System.Collections.Immutable;
using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Net;
using EdgeMesh.Planning;
using EdgeMesh.Testing.Cluster;
using Xunit;
using static EdgeMesh.Testing.Cluster.ClusterObjects;

namespace EdgeMesh.Tests.Planning;

/// <summary>What one service may cost: about its ports times its endpoints, and no more than a bound. Time and memory are the whole process's, so
/// nothing else may run.</summary>
[Collection(Kubernetes.Alone.Name)]
public sealed class ServiceCostTests(ITestOutputHelper output)
{
    [Fact]
    public void TwoThousandPortsOfTwoHundredEndpointsHereArePlannedWithinSeconds()
    {
        var (time, bytes, plan) = Cost(Cluster(2_000, 200, slices: 2));
        output.WriteLine($"{time.TotalSeconds:F2} s of processor time, {bytes >> 20} MB");
        Assert.Equal(2_000, Assert.Single(plan.Services).Ports.Length);
        Assert.InRange(time, TimeSpan.Zero, TimeSpan.FromSeconds(4));
    }

    [Theory]
    [InlineData(400, 50, ForwardingPath.Kernel)]
    [InlineData(401, 50, ForwardingPath.Listener)]
    public void TheKernelIsGivenRulesForABoundedNumberOfEndpointsOfOneService(int ports, int endpoints, ForwardingPath path)
    {
        var service = Assert.Single(Cost(Cluster(ports, endpoints, slices: 1)).Plan.Services);
        Assert.All(service.Ports, port => Assert.Equal(path, port.Path));
    }

    [Fact]
    public void AServiceThatGrowsBeyondTheBoundIsPlannedAnewAsAWhole()
    {
        var planner = new ForwardingPlanner();
        var catalog = new CatalogBuilder();
        foreach (var (ports, path) in new[] { (400, ForwardingPath.Kernel), (401, ForwardingPath.Listener), (400, ForwardingPath.Kernel) })
        {
            var plan = planner.Plan(catalog.Build(Cluster(ports, 50, slices: 1), TestOptions.Policy), TestOptions.Planning);
            Assert.All(Assert.Single(plan.Services).Ports, port => Assert.Equal(path, port.Path));
        }
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(4, 1)]
    [InlineData(1, 4)]
    [InlineData(1, 1, 4)]
    public void TheCostGrowsAsThePortsAndTheEndpointsDo(int ports, int endpoints, int slices = 1)
    {
        Cost(Cluster(50, 25, 1));
        var small = Cost(Cluster(100, 50, 1)).Bytes;
        var large = Cost(Cluster(100 * ports, 50 * endpoints, slices)).Bytes;
        output.WriteLine($"{large / (double)small:F1} times");
        Assert.InRange(large, 0, small * ports * endpoints * 3 / 2);
    }

    [Theory]
    [InlineData(4_097, 1, "4097 ports")]
    [InlineData(2_000, 1_000, "2000000 endpoints")]
    public void AServiceBeyondItsBoundIsRefusedByNameAndOthersGoOn(int ports, int endpoints, string reason)
    {
        var facts = Cluster(ports, endpoints, slices: 1).With(Service("demo/small", "10.0.0.2", "80")).With(Slice("demo/small-1", "demo/small", "8080", "10.244.9.9"));
        var plan = Cost(facts).Plan;
        Assert.Equal([Handling.TooLarge, Handling.Handled], plan.Services.Select(s => s.Service.Handling));
        Assert.Contains(plan.Services[0].Service.Faults, fault => fault.Contains(reason, StringComparison.Ordinal));
        Assert.Single(Assert.Single(plan.Portals, p => p.Family == EdgeMesh.Net.IpFamily.IPv4).Rules);
    }

    [Fact]
    public void PortsThatShareANameAreCountedAsTheyMultiply()
    {
        var service = Service("demo/big", "10.0.0.1", [.. Enumerable.Range(1, 1_000).Select(i => $"{i}")]);
        var slice = Slice("demo/big-1", "demo/big", "1", "10.244.1.1") with { Ports = [.. Enumerable.Range(1, 1_000).Select(i => new EndpointPort { Port = i })] };
        Assert.Equal(Handling.TooLarge, Assert.Single(Cost(Facts(service, slice)).Plan.Services).Service.Handling);
    }

    [Fact]
    public void ManySlicesOfOneServiceThatComeAtOnceCostAsMuchEach()
    {
        Slices(50);
        var (few, many) = (Slices(1_000), Slices(8_000));
        output.WriteLine($"{many / (double)few:F1} times");
        Assert.InRange(many, 0, few * 12);

        static long Slices(int count)
        {
            var facts = Facts(Service("demo/big", "10.0.0.1", "80"));
            var slices = facts.EndpointSlices.ToBuilder();
            for (var i = 0; i < count; i++)
            {
                var slice = Slice($"demo/big-{i}", "demo/big", "8080", $"10.244.{i / 250}.{1 + (i % 250)}");
                slices[slice.Key] = slice;
            }

            facts = facts with { EndpointSlices = slices.ToImmutable() };
            return Cost(facts).Bytes;
        }
    }

    private static (TimeSpan Time, long Bytes, ForwardingPlan Plan) Cost(ClusterFacts facts)
    {
        var bytes = GC.GetAllocatedBytesForCurrentThread();
        var started = Environment.CpuUsage.TotalTime;
        var plan = new ForwardingPlanner().Plan(new CatalogBuilder().Build(facts, TestOptions.Policy), TestOptions.Planning);
        return (Environment.CpuUsage.TotalTime - started, GC.GetAllocatedBytesForCurrentThread() - bytes, plan);
    }

    private static ClusterFacts Cluster(int ports, int endpoints, int slices)
    {
        var facts = Facts(Service("demo/big", "10.0.0.1", [.. Enumerable.Range(1, ports).Select(i => $"p{i}:{i}")]));
        ImmutableArray<EndpointPort> slicePorts = [.. Enumerable.Range(1, ports).Select(i => new EndpointPort { Name = $"p{i}", Port = 10_000 + i, Protocol = "TCP" })];
        for (var s = 0; s < slices; s++)
        {
            facts = facts.With(Slice($"demo/big-{s}", "demo/big", "1") with
            {
                Ports = slicePorts,
                Endpoints = [.. Enumerable.Range(0, endpoints / slices).Select(i => new Endpoint { Addresses = [$"10.244.{(s * 4) + (i / 250)}.{1 + (i % 250)}"], NodeName = "me" })],
            });
        }

        return facts;
    }
}
