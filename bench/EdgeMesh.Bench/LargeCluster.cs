using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Planning;
using static EdgeMesh.Testing.Cluster.ClusterObjects;

namespace EdgeMesh.Bench;

/// <summary>10,000 services with 10 endpoints each, and one of them with a changed endpoint.</summary>
internal static class LargeCluster
{
    private const int Services = 10_000;
    private const int Endpoints = 10;
    private const int Changing = 5_000;

    public static CatalogPolicy Policy { get; } = new() { NodeName = "me" };

    public static PlanningOptions Kernel { get; } = new()
    {
        KernelChoices = [BackendChoice.RoundRobin, BackendChoice.Random, BackendChoice.ClientAffinity],
        Listeners = ImmutableSortedDictionary<IpFamily, InetEndpoint>.Empty.Add(IpFamily.IPv4, InetEndpoint.Parse("169.254.96.16:20007")),
    };

    public static ClusterFacts Before()
    {
        var facts = Facts();
        var services = facts.Services.ToBuilder();
        var slices = facts.EndpointSlices.ToBuilder();
        for (var i = 0; i < Services; i++)
        {
            var service = Service($"demo/service-{i}", $"10.96.{i / 250}.{1 + (i % 250)}", "http:80");
            services.Add(service.Key, service);
            var slice = SliceOf(i, $"10.244.{i / 250}.{1 + (i % 250)}");
            slices.Add(slice.Key, slice);
        }

        return facts with { Services = services.ToImmutable(), EndpointSlices = slices.ToImmutable() };
    }

    public static ClusterFacts After(ClusterFacts before) => before.With(SliceOf(Changing, "10.245.0.1"));

    /// <summary>The IPv4 portals of both, sharing what did not change, as the reconciler hands them to a rule backend.</summary>
    public static (FamilyPortals Before, FamilyPortals After) Portals()
    {
        var facts = Before();
        var (builder, planner) = (new CatalogBuilder(), new ForwardingPlanner());
        var before = planner.Plan(builder.Build(facts, Policy), Kernel);
        var after = planner.Plan(builder.Build(After(facts), Policy), Kernel);
        return (Only(before), Only(after));
    }

    private static FamilyPortals Only(ForwardingPlan plan) => plan.Portals.Single(portals => portals.Family == IpFamily.IPv4);

    private static EndpointSlice SliceOf(int service, string first)
    {
        var addresses = new string[Endpoints];
        addresses[0] = first;
        for (var e = 1; e < Endpoints; e++)
            addresses[e] = $"10.{100 + e}.{service / 250}.{1 + (service % 250)}";
        return Slice($"demo/service-{service}-x7k2p", $"demo/service-{service}", "http:8080", addresses);
    }
}
