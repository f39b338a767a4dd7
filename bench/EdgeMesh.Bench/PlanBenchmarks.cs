using BenchmarkDotNet.Attributes;
using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes;
using EdgeMesh.Planning;

namespace EdgeMesh.Bench;

/// <summary>From facts to a plan: all of 10,000 services, and one that changed among them.</summary>
public class PlanBenchmarks
{
    private readonly CatalogBuilder _builder = new();
    private readonly ForwardingPlanner _planner = new();
    private ClusterFacts _one = null!;
    private ClusterFacts _other = null!;

    [GlobalSetup]
    public void Build()
    {
        _one = LargeCluster.Before();
        _other = LargeCluster.After(_one);
        _planner.Plan(_builder.Build(_one, LargeCluster.Policy), LargeCluster.Kernel);
    }

    [Benchmark]
    public ForwardingPlan PlanTenThousandServices()
        => new ForwardingPlanner().Plan(new CatalogBuilder().Build(_one, LargeCluster.Policy), LargeCluster.Kernel);

    [Benchmark]
    public ForwardingPlan PlanOneChangedAmongTenThousand()
    {
        (_one, _other) = (_other, _one);
        return _planner.Plan(_builder.Build(_one, LargeCluster.Policy), LargeCluster.Kernel);
    }
}
