using EdgeMesh.Catalog;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Net;
using EdgeMesh.Planning;
using EdgeMesh.Reconciling;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Testing.Portals;
using EdgeMesh.Tunnel;
using FsCheck;
using FsCheck.Fluent;
using Xunit;
using static EdgeMesh.Testing.Cluster.ClusterObjects;

namespace EdgeMesh.Tests.Planning;

/// <summary>Whatever happens to a cluster, building step by step comes to what a fresh build comes to. A change is a number,
/// so that a failing history shrinks to the few changes that matter.</summary>
public sealed class IncrementalPlanProperties
{
    private const int Names = 6;

    private static readonly Config _config = Config.QuickThrowOnFailure.WithMaxTest(300);

    [Fact]
    public void StepByStepEqualsAFreshBuild() => Histories(state =>
    {
        var fresh = new CatalogBuilder().Build(state.Facts, state.Policy);
        Assert.Equal(Describe(fresh), Describe(state.Plan.Services.Select(s => s.Service)));
        var freshPlan = new ForwardingPlanner().Plan(fresh, state.Options, state.Reachability);
        Assert.Equal(PlanText.Of(freshPlan), PlanText.Of(state.Plan));
        Assert.Equal(Rules(freshPlan), Rules(state.Plan));
        Assert.Equal(Routes(freshPlan), Routes(state.Plan));
        Assert.Equal(Networks(freshPlan), Networks(state.Plan));
    });

    [Fact]
    public void AServiceThatLooksTheSameIsTheSameObject() => Histories(state =>
    {
        var before = state.Before.Services.ToDictionary(s => s.Service.Name);
        foreach (var now in state.Plan.Services)
        {
            if (!before.TryGetValue(now.Service.Name, out var then) || Describe([then.Service]) != Describe([now.Service]))
                continue;
            Assert.Same(then.Service, now.Service);
            var sameWays = EndpointWays.AreSame(now.Service, state.ReachabilityBefore, state.Reachability);
            Assert.True(!state.SameOptions || !sameWays || ReferenceEquals(then, now), $"{now.Service.Name} was planned again");
        }
    });

    [Fact]
    public void NoRuleAndNoRouteOfAServiceThatIsLeftAlone() => Histories(state =>
    {
        foreach (var planned in state.Plan.Services.Where(s => s.Service.Handling != Handling.Handled))
            Assert.Empty(planned.Ports);
        var handled = state.Plan.Services.Where(s => s.Service.Handling == Handling.Handled).Select(s => s.Service.Name).ToHashSet();
        foreach (var rule in state.Plan.Portals.SelectMany(p => p.Rules))
            Assert.Contains(handled, name => rule.Comment == $"{name}" || rule.Comment.StartsWith($"{name}:", StringComparison.Ordinal));
        Assert.All(state.Plan.Routes.Routes.Values, route => Assert.Contains(new ObjectName(route.Service.Namespace, route.Service.Name), handled));
    });

    [Fact]
    public void NoAddressIsCaughtTwice() => Histories(state =>
    {
        foreach (var portals in state.Plan.Portals)
            Assert.Equal(portals.Rules.Length, portals.Rules.Select(r => r.Key).Distinct().Count());
    });

    [Fact]
    public void UdpAddressesThatAreNewGoneOrOthersAreLookedAt() => Histories(state =>
    {
        var before = Udp(state.Before);
        var after = Udp(state.Plan);
        var differ = before.Keys.Union(after.Keys).Count(key => before.GetValueOrDefault(key) != after.GetValueOrDefault(key));
        Assert.True(differ <= (UdpStaleness.Between(state.Before, state.Plan)?.Count ?? 0));
    });

    private sealed record State(
        ClusterFacts Facts, CatalogPolicy Policy, PlanningOptions Options, bool SameOptions, ForwardingPlan Before, ForwardingPlan Plan,
        Reachability? ReachabilityBefore, Reachability? Reachability);

    private static void Histories(Action<State> holds) =>
        Prop.ForAll(ArbMap.Default.ArbFor<int[]>(), history =>
        {
            var (builder, planner) = (new CatalogBuilder(), new ForwardingPlanner());
            var (facts, policy, options) = (Facts(), TestOptions.Policy, TestOptions.Planning);
            var plan = ForwardingPlan.Empty;
            var reachability = (Reachability?)null;
            foreach (var number in history)
            {
                var before = (plan, options, reachability);
                Change(number, ref facts, ref policy, ref options, ref reachability);
                plan = planner.Plan(builder.Build(facts, policy), options, reachability);
                holds(new State(facts, policy, options, ReferenceEquals(before.options, options), before.plan, plan, before.reachability, reachability));
            }
        }).Check(_config);

    private static void Change(
        int number, ref ClusterFacts facts, ref CatalogPolicy policy, ref PlanningOptions options, ref Reachability? reachability)
    {
        // Small numbers come up most; mixing spreads them over all kinds of change.
        var dice = new Random(number);
        var service = $"demo/s{dice.Next(Names)}";
        var slice = $"demo/e{dice.Next(Names)}";
        switch (dice.Next(12))
        {
            case 10:
                reachability = dice.Next(5) == 0 ? null : TestReachability.Of([.. Enumerable.Range(0, dice.Next(3)).Select(_ => ($"n{dice.Next(2)}", $"10.244.{dice.Next(2)}.0/24"))]);
                break;
            case 11:
                facts = facts.With(Slice(slice, service, "http:8080", $"10.244.0.{dice.Next(4)}", $"10.244.1.{dice.Next(4)}").On(dice.Next(3) == 0 ? "me" : $"n{dice.Next(2)}"));
                break;
            case 0:
                facts = facts with { Services = facts.Services.Remove(new ObjectName("demo", service[5..])) };
                break;
            case 1:
                facts = facts with { EndpointSlices = facts.EndpointSlices.Remove(new ObjectName("demo", slice[5..])) };
                break;
            case 2:
                facts = facts.With(RandomEndpoints(service, dice));
                break;
            case 3:
                facts = facts with { Endpoints = facts.Endpoints.Remove(new ObjectName("demo", service[5..])) };
                break;
            case 4:
                policy = policy with { FilterMode = (ServiceFilterMode)dice.Next(2) };
                break;
            case 5:
                options = dice.Next(2) == 0 ? TestOptions.Planning : TestOptions.Userspace;
                break;
            case 6 or 7:
                facts = facts.With(Slice(slice, service, dice.Next(2) == 0 ? "http:8080" : "dns:53/UDP", $"10.244.0.{dice.Next(4)}", $"10.244.1.{dice.Next(4)}"));
                break;
            default:
                facts = facts.With(RandomService(service, dice));
                break;
        }
    }

    private static Service RandomService(string name, Random dice)
    {
        var address = dice.Next(8) switch { 0 => "None", 1 => "", 2 => "fd00::1", var n => $"10.0.0.{n}" };
        string[] ports = ["http:80", "dns:53/UDP", "bad:0", "sctp:9/SCTP"];
        var service = Service(name, address, ports[dice.Next(4)], ports[dice.Next(4)]);
        return dice.Next(4) == 0 ? service.Labelled("service.edgemesh.kubeedge.io/service-proxy-name") : service;
    }

    private static Endpoints RandomEndpoints(string name, Random dice) => new()
    {
        Metadata = new ObjectMeta { Namespace = "demo", Name = name[5..] },
        Subsets =
        [
            new EndpointSubset
            {
                Addresses = [new SubsetAddress { Ip = $"10.244.2.{dice.Next(3)}" }],
                Ports = [new EndpointPort { Name = "http", Port = 8080 }],
            },
        ],
    };

    private static string Describe(ServiceCatalog catalog) => Describe(catalog.Services);

    private static string Describe(IEnumerable<CatalogService> services) => string.Join('\n', services.Select(s =>
        $"{s.Name} {s.Handling} {string.Join(';', s.Faults)} " + string.Join(' ', s.Ports.Select(p =>
            $"{p.Name}/{p.Name.Protocol} {p.Port} {string.Join(',', p.Addresses)} {string.Join(',', p.Endpoints)} {p.Choice} {p.ClientIPAffinity}"))));

    private static IEnumerable<string> Rules(ForwardingPlan plan) =>
        plan.Portals.SelectMany(p => p.Rules.Select(r => $"{p.Family} {r.Key} {r.Comment} {Target(r)}"));

    private static string Target(EdgeMesh.Netfilter.PortalRule rule) => rule.Target is EdgeMesh.Netfilter.PortalTarget.Backends backends
        ? $"{string.Join(',', backends.Endpoints)} {backends.Choice} {backends.AffinityTimeout}"
        : rule.Target.GetType().Name;

    private static IEnumerable<string> Networks(ForwardingPlan plan) => plan.Portals.Select(p =>
        $"{p.Family} endpoints {string.Join(' ', p.Invalid!.Endpoints)} services {string.Join(' ', p.Invalid.Services)} caught {string.Join(' ', plan.ServiceNetworks(p.Family))}");

    private static IEnumerable<string> Routes(ForwardingPlan plan) => plan.Routes.Routes
        .Select(r => $"{r.Key} {r.Value.Service} {string.Join(',', r.Value.Endpoints)} {string.Join(',', r.Value.Endpoints.Select(e => r.Value.NodeOf(e)))} {r.Value.ClientIPAffinity}")
        .Order(StringComparer.Ordinal);

    private static Dictionary<string, string> Udp(ForwardingPlan plan) => plan.Services
        .SelectMany(s => s.Ports)
        .Where(p => p.Port.Name.Protocol == TransportProtocol.Udp && p.Path != ForwardingPath.NotCaught)
        .ToDictionary(p => p.CaughtAt.Endpoint.ToString(), p => $"{p.Path} {string.Join(',', p.Port.Endpoints)}");
}
