using System.Collections.Immutable;
using BenchmarkDotNet.Attributes;
using EdgeMesh.Balancing;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Bench;

/// <summary>What choosing costs a connection.</summary>
public class BalancerBenchmarks
{
    private static readonly ServicePortName Name = new("demo", "web", "http", TransportProtocol.Tcp);
    private static readonly InetAddress Client = InetAddress.Parse("10.244.0.100");

    private readonly ServiceBalancer _balancer = new(new Random(1), new SetAsidePolicy());
    private readonly ServiceBalancer _affine = new(new Random(1), new SetAsidePolicy()) { Affinity = new AffinityTable(65_536) };
    private readonly TransportAddress _key = new(InetEndpoint.Parse("10.96.20.1:80"), TransportProtocol.Tcp);
    private Route _roundRobin = null!;
    private Route _random = null!;
    private Route _sticky = null!;
    private RouteTable _table = null!;

    [GlobalSetup]
    public void Build()
    {
        ImmutableArray<ServiceEndpoint> endpoints = [.. Enumerable.Range(1, 10).Select(i => new ServiceEndpoint(InetEndpoint.Parse($"10.244.0.{i}:8080"), "edge-b", IsLocal: false))];
        _roundRobin = new Route { Service = Name, Endpoints = endpoints };
        _random = _roundRobin with { Policy = BalancingPolicy.Random };
        _sticky = _roundRobin with { ClientIPAffinity = TimeSpan.FromHours(3) };
        _affine.Succeeded(_sticky, Client, endpoints[3], now: 0);
        _table = new RouteTable(Enumerable.Range(0, 10_000).Select(i => KeyValuePair.Create(
            new TransportAddress(InetEndpoint.Parse($"10.96.{i / 250}.{1 + (i % 250)}:80"), TransportProtocol.Tcp), _roundRobin)));
    }

    [Benchmark]
    public bool RoundRobin() => _balancer.TryChoose(_roundRobin, Client, [], now: 1, out _);

    [Benchmark]
    public bool Random() => _balancer.TryChoose(_random, Client, [], now: 1, out _);

    [Benchmark]
    public bool ClientAffinity() => _affine.TryChoose(_sticky, Client, [], now: 1, out _);

    [Benchmark]
    public bool RouteAmongTenThousand() => _table.Routes.TryGetValue(_key, out _);
}
