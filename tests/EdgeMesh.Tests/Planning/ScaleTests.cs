using System.Diagnostics;
using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes;
using EdgeMesh.Planning;
using EdgeMesh.Testing.Cluster;
using Xunit;
using static EdgeMesh.Testing.Cluster.ClusterObjects;

namespace EdgeMesh.Tests.Planning;

/// <summary>10,000 services with 10 endpoints each. What is asserted are bytes, which do not depend on the machine's load;
/// the times are printed.</summary>
public sealed class ScaleTests(ITestOutputHelper output)
{
    private const int Services = 10_000;
    private const int Endpoints = 10;

    [Fact]
    public void OneChangedServiceCostsLittleAmongTenThousandInTheKernel() => Measure(TestOptions.Planning);

    [Fact]
    public void OneChangedServiceCostsLittleAmongTenThousandThroughTheListener() => Measure(TestOptions.Userspace);

    private void Measure(PlanningOptions options)
    {
        var facts = Cluster();
        var (builder, planner) = (new CatalogBuilder(), new ForwardingPlanner());
        var (time, bytes) = Cost(() => planner.Plan(builder.Build(facts, TestOptions.Policy), options));
        output.WriteLine($"first build: {time.TotalMilliseconds:F1} ms, {bytes / 1024.0 / 1024:F1} MB");

        const int changes = 50;
        var times = new List<double>();
        long most = 0;
        for (var i = 0; i < changes; i++)
        {
            facts = facts.With(SliceOf(i * 37, $"10.245.{i}.1"));
            (time, bytes) = Cost(() => planner.Plan(builder.Build(facts, TestOptions.Policy), options));
            times.Add(time.TotalMilliseconds);
            most = Math.Max(most, bytes);
        }

        times.Sort();
        output.WriteLine($"one change: p50 {times[changes / 2]:F2} ms, worst {times[^1]:F2} ms, at most {most / 1024.0:F0} KB");
        Assert.True(most < 1024 * 1024, $"one changed service allocated {most} bytes");
    }

    private static (TimeSpan Time, long Bytes) Cost(Action work)
    {
        var bytes = GC.GetAllocatedBytesForCurrentThread();
        var started = Stopwatch.GetTimestamp();
        work();
        return (Stopwatch.GetElapsedTime(started), GC.GetAllocatedBytesForCurrentThread() - bytes);
    }

    private static ClusterFacts Cluster()
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

    private static EdgeMesh.Kubernetes.Api.EndpointSlice SliceOf(int service, string first)
    {
        var addresses = new string[Endpoints];
        addresses[0] = first;
        for (var e = 1; e < Endpoints; e++)
            addresses[e] = $"10.{100 + e}.{service / 250}.{1 + (service % 250)}";
        return Slice($"demo/service-{service}-x7k2p", $"demo/service-{service}", "http:8080", addresses);
    }
}
