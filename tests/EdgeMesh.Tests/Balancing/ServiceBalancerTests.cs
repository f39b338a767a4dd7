using System.Collections.Immutable;
using EdgeMesh.Balancing;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace EdgeMesh.Tests.Balancing;

public sealed class ServiceBalancerTests
{
    private static readonly InetAddress Client = InetAddress.Parse("10.244.1.5");

    [Fact]
    public void RoundRobinGivesEveryEndpointTheSameShare()
        => Prop.ForAll(Gen.Choose(1, 40).ToArbitrary(), Gen.Choose(1, 10).ToArbitrary(), Gen.Choose(0, 1000).ToArbitrary(), (endpoints, rounds, seed) =>
        {
            var balancer = Balancer(seed);
            var route = RouteTo(endpoints);
            var chosen = Enumerable.Range(0, endpoints * rounds).Select(_ => Choose(balancer, route)).CountBy(e => e);
            return chosen.All(pair => pair.Value == rounds) && chosen.Count() == endpoints;
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void AnEndpointThatWasTriedIsNotChosenAgainAndTheOthersAllAre()
        => Prop.ForAll(Gen.Choose(1, 20).ToArbitrary(), Gen.Elements(BalancingPolicy.Random, BalancingPolicy.RoundRobin).ToArbitrary(), (endpoints, policy) =>
        {
            var balancer = Balancer(endpoints);
            var route = RouteTo(endpoints) with { Policy = policy };
            var tried = new List<ServiceEndpoint>();
            while (balancer.TryChoose(route, Client, tried.ToArray(), 0, out var endpoint))
                tried.Add(endpoint);
            return tried.ToHashSet().SetEquals(route.Endpoints) && tried.Count == endpoints;
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void WhateverFailsSomeEndpointIsAlwaysChosen()
        => Prop.ForAll(Gen.Choose(1, 6).ToArbitrary(), Gen.Choose(0, 5).ListOf().ToArbitrary(), (endpoints, failing) =>
        {
            var balancer = Balancer(1);
            var route = RouteTo(endpoints);
            Choose(balancer, route);
            foreach (var index in failing)
                balancer.Failed(route.Endpoints[index % endpoints], now: 0);
            return balancer.TryChoose(route, Client, [], 0, out _);
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void RandomReachesEveryEndpoint()
    {
        var balancer = Balancer(7);
        var route = RouteTo(5) with { Policy = BalancingPolicy.Random };
        Assert.Equal(5, Enumerable.Range(0, 300).Select(_ => Choose(balancer, route)).Distinct().Count());
    }

    [Fact]
    public void LoopsDoNotAllBeginWithTheSameEndpoint()
    {
        var route = RouteTo(10);
        Assert.True(Enumerable.Range(0, 50).Select(seed => Choose(Balancer(seed), route)).Distinct().Count() > 3);
    }

    [Fact]
    public void AnEndpointThatKeepsFailingIsLeftOutForAWhileThatDoubles()
    {
        var balancer = Balancer(1);
        var route = RouteTo(3);
        Choose(balancer, route);
        var bad = route.Endpoints[1];
        balancer.Failed(bad, 0);
        balancer.Failed(bad, 0);
        Assert.Contains(bad, Turn(balancer, route, 0));
        balancer.Failed(bad, 0);
        Assert.DoesNotContain(bad, Turn(balancer, route, 4_999));
        Assert.Equal(1, balancer.CountSetAside(4_999));
        Assert.Contains(bad, Turn(balancer, route, 5_000));
        balancer.Failed(bad, 5_000);
        Assert.DoesNotContain(bad, Turn(balancer, route, 14_999));
        Assert.Contains(bad, Turn(balancer, route, 15_000));
    }

    [Fact]
    public void AnAnswerPutsAnEndpointBackIntoGoodStanding()
    {
        var balancer = Balancer(1);
        var route = RouteTo(2);
        Choose(balancer, route);
        for (var i = 0; i < 10; i++)
            balancer.Failed(route.Endpoints[0], 0);
        balancer.Succeeded(route, Client, route.Endpoints[0], 0);
        Assert.Contains(route.Endpoints[0], Turn(balancer, route, 0));
        Assert.Equal(0, balancer.CountSetAside(0));
    }

    [Fact]
    public void AChangeOfOneEndpointKeepsTheRotationAndWhatFails()
    {
        var balancer = Balancer(3);
        var route = RouteTo(4);
        var order = Enumerable.Range(0, 4).Select(_ => Choose(balancer, route)).ToArray();
        for (var i = 0; i < 3; i++)
            balancer.Failed(order[3], 0);
        Choose(balancer, route);

        var changed = route with { Endpoints = route.Endpoints.Remove(order[2]) };

        Assert.Equal(order[1], Choose(balancer, changed));
        Assert.Equal(order[0], Choose(balancer, changed));
        Assert.Equal(1, balancer.CountSetAside(0));
    }

    [Fact]
    public void AClientKeepsItsEndpointUntilItIsIdleTooLong()
    {
        var balancer = Balancer(1, new AffinityTable(100));
        var route = RouteTo(5) with { ClientIPAffinity = TimeSpan.FromSeconds(10) };
        var first = Choose(balancer, route);
        balancer.Succeeded(route, Client, first, 0);
        // Every visit makes the time-out begin anew.
        Assert.All([5_000, 14_000, 23_000], now => Assert.Equal(first, Choose(balancer, route, now)));
        Assert.NotEqual(first, Choose(balancer, route, 40_000));
    }

    [Fact]
    public void AClientMovesWhenItsEndpointLeavesOrFails()
    {
        var balancer = Balancer(1, new AffinityTable(100));
        var route = RouteTo(3) with { ClientIPAffinity = TimeSpan.FromHours(3) };
        var first = Choose(balancer, route);
        balancer.Succeeded(route, Client, first, 0);

        Assert.True(balancer.TryChoose(route, Client, [first], 0, out var second));
        Assert.NotEqual(first, second);
        balancer.Succeeded(route, Client, second, 0);
        Assert.Equal(second, Choose(balancer, route));

        var without = route with { Endpoints = route.Endpoints.Remove(second) };
        Assert.NotEqual(second, Choose(balancer, without));
    }

    private static ServiceBalancer Balancer(int seed, AffinityTable? affinity = null)
        => new(new Random(seed), new SetAsidePolicy()) { Affinity = affinity };

    private static Route RouteTo(int endpoints) => new()
    {
        Service = new ServicePortName("shop", "web", "http", TransportProtocol.Tcp),
        Endpoints = [.. Enumerable.Range(1, endpoints).Select(i => new ServiceEndpoint(InetEndpoint.Parse($"10.244.2.{i}:8080"), "edge-b", IsLocal: false))],
    };

    private static ServiceEndpoint Choose(ServiceBalancer balancer, Route route, long now = 0)
    {
        Assert.True(balancer.TryChoose(route, Client, [], now, out var endpoint));
        return endpoint;
    }

    private static List<ServiceEndpoint> Turn(ServiceBalancer balancer, Route route, long now)
        => [.. Enumerable.Range(0, route.Endpoints.Length).Select(_ => Choose(balancer, route, now))];
}
