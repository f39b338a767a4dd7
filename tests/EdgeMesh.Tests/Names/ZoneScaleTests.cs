using System.Collections.Immutable;
using System.Diagnostics;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Names;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Tests.Dns;
using Xunit;

namespace EdgeMesh.Tests.Names;

/// <summary>10,000 services and 100,000 endpoints of headless ones: what a change costs.</summary>
public sealed class ZoneScaleTests(ITestOutputHelper output)
{
    private const int Services = 10_000;
    private const int Headless = 1_000;
    private const int EndpointsOfEach = 100;

    [Fact]
    public void NamesOfTenThousandServicesCostFewMegabytes()
    {
        var facts = Facts(headless: 0);
        // Tests beside this one allocate too: the least of a few is nearest to what it costs.
        var megabytes = Enumerable.Range(0, 3).Min(_ => Megabytes(facts, out ClusterZone _));
        output.WriteLine($"{megabytes:F1} MB for the names of {Services:N0} services");
        Assert.InRange(megabytes, 0, 10);
    }

    [Fact]
    public void AChangeCostsNoRebuild()
    {
        var facts = Facts(Headless);
        output.WriteLine($"{Megabytes(facts, out var zone):F1} MB for the names of {Services:N0} services, {Headless * EndpointsOfEach:N0} endpoints among them");

        var best = TimeSpan.MaxValue;
        for (var i = 0; i < 10; i++)
        {
            var slice = facts.EndpointSlices[new ObjectName("ns-7", "headless-7-1")];
            facts = facts with
            {
                EndpointSlices = facts.EndpointSlices.SetItem(slice.Key, slice with { Endpoints = slice.Endpoints.SetItem(0, slice.Endpoints[0] with { Addresses = [$"10.9.9.{i}"] }) }),
            };
            var began = Stopwatch.GetTimestamp();
            Assert.Equal(1, zone.Take(facts));
            var taken = Stopwatch.GetElapsedTime(began);
            best = taken < best ? taken : best;
        }

        output.WriteLine($"{best.TotalMilliseconds:F2} ms for a change of one endpoint");
        Assert.InRange(best.TotalMilliseconds, 0, 25);
        Assert.Equal("NOERROR", Ask(zone, "10-9-9-9.headless-7.ns-7.svc.cluster.local"));
        Assert.Equal("NXDOMAIN", Ask(zone, "10-9-9-8.headless-7.ns-7.svc.cluster.local"));
    }

    private static string Ask(ClusterZone zone, string name)
    {
        var buffer = new byte[1232];
        DnsQuery.Read(DnsText.Query(name, RecordType.A), out var query);
        var writer = MessageWriter.Answer(query, buffer, 0);
        zone.Answer(query, 0, ref writer, new byte[DnsLimits.MaxName], out _);
        return DnsText.Show(buffer, writer.Finish()).Split(' ')[0];
    }

    private static double Megabytes(ClusterFacts facts, out ClusterZone zone)
    {
        var before = GC.GetTotalMemory(forceFullCollection: true);
        zone = new ClusterZone(new ZoneOptions());
        Assert.Equal(Services, zone.Take(facts));
        return (GC.GetTotalMemory(forceFullCollection: true) - before) / 1e6;
    }

    private static ClusterFacts Facts(int headless)
    {
        var services = ImmutableDictionary.CreateBuilder<ObjectName, Service>();
        var slices = ImmutableDictionary.CreateBuilder<ObjectName, EndpointSlice>();
        for (var i = 0; i < Services; i++)
        {
            var isHeadless = i < headless;
            var name = isHeadless ? $"headless-{i}" : $"service-{i}";
            var service = new Service
            {
                Metadata = new ObjectMeta { Name = name, Namespace = $"ns-{i % 50}" },
                Spec = new ServiceSpec { ClusterIP = isHeadless ? "None" : $"10.96.{i / 250}.{i % 250}", Ports = [new ServicePort { Name = "http", Port = 80, Protocol = "TCP" }] },
            };
            services.Add(service.Key, service);
            var slice = new EndpointSlice
            {
                Metadata = new ObjectMeta { Name = name + "-1", Namespace = service.Metadata.Namespace }.With("kubernetes.io/service-name", name),
                AddressType = "IPv4",
                Ports = [new EndpointPort { Name = "http", Port = 8080, Protocol = "TCP" }],
                Endpoints = [.. Enumerable.Range(0, isHeadless ? EndpointsOfEach : 1).Select(e => new Endpoint { Addresses = [$"10.{100 + (i / 250)}.{i % 250}.{e + 1}"] })],
            };
            slices.Add(slice.Key, slice);
        }

        return ClusterObjects.Facts() with { Services = services.ToImmutable(), EndpointSlices = slices.ToImmutable() };
    }
}
