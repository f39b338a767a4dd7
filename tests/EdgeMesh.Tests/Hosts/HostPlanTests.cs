using System.Net;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Hosts;
using EdgeMesh.Kubernetes;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.Planning;
using EdgeMesh.Tests.Planning;
using Xunit;
using static EdgeMesh.Testing.Cluster.ClusterObjects;
using static EdgeMesh.Tests.Hosts.TestHost;

namespace EdgeMesh.Tests.Hosts;

/// <summary>From a host to the rules that it gets.</summary>
public sealed class HostPlanTests
{
    private readonly CatalogBuilder _catalog = new();
    private readonly ForwardingPlanner _planner = new();

    private static ClusterFacts Web { get; } = Facts(
        Service("demo/web", "10.96.0.9", "80"),
        Slice("demo/web-1", "demo/web", "8080", "10.244.1.5").On("me"),
        Slice("demo/web-2", "demo/web", "8080", "10.244.2.5").On("other"),
        Service("demo/none", "10.96.0.10", "80"));

    private static HostObservation Difficult { get; } = (Ordinary with { BridgeFilterIPv4 = false })
        .WithChain(new FilterChain("ip", "filter", "FORWARD", FilterHook.Forward, IsLegacy: false, PolicyDrops: true, EndsInDrop: false))
        .WithChain(new FilterChain("ip", "filter", "INPUT", FilterHook.Input, IsLegacy: false, PolicyDrops: true, EndsInDrop: false));

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(DataPath.Auto, ForwardingPath.Listener)]
    [InlineData(DataPath.Kernel, ForwardingPath.NotCaught)]
    public void WhatTheKernelCannotCarryGoesTheOtherWay(DataPath allowed, ForwardingPath path)
    {
        var port = Port(Ordinary.WithoutForwarding(All, Card, Bridge, RoutedPod), TestOptions.Planning with { DataPath = allowed });
        Assert.Equal(path, port.Path);
        Assert.Contains("does not forward IPv4", port.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void WithoutHairpinModeTheServiceHasARouteForItsOwnEndpoints()
    {
        var port = Port(Ordinary.With(FirstPort, link => link with { Hairpin = false }));
        Assert.Equal(ForwardingPath.Kernel, port.Path);
        Assert.NotNull(port.Route);
        Assert.Equal([InetAddress.Parse("10.244.1.5")], Assert.IsType<PortalTarget.Backends>(port.Rule!.Target).ThroughListener);
        Assert.Null(Port(Ordinary).Route);
    }

    [Theory]
    [InlineData(DataPath.Auto, ForwardingPath.Listener, "a rule in ip filter DOCKER drops what is forwarded to cni0 from elsewhere")]
    [InlineData(DataPath.Kernel, ForwardingPath.NotCaught, "a rule in ip filter DOCKER drops what is forwarded to cni0 from elsewhere, and dataPath is kernel")]
    public void ABridgeThatSomebodyShutsIsReachedThroughTheAgent(DataPath allowed, ForwardingPath path, string reason)
    {
        var port = Port(Ordinary with { ShutDevices = [new ShutDevice("ip", "ip filter DOCKER", "cni0")] }, TestOptions.Planning with { DataPath = allowed });
        Assert.Equal((path, reason), (port.Path, port.Reason));
    }

    [Theory]
    [InlineData("ip", "docker0")]
    [InlineData("ip", "cni")]
    [InlineData("ip6", "cni0")]
    public void WhatShutsAnotherDeviceOrFamilyChangesNothing(string family, string device)
    {
        var port = Port(Ordinary with { ShutDevices = [new ShutDevice(family, $"{family} filter DOCKER", device)] });
        Assert.Equal(ForwardingPath.Kernel, port.Path);
    }

    [Fact]
    public void NothingIsRefusedThroughAFirewallThatMayDropIt()
    {
        var shut = Ordinary.WithChain(new FilterChain("inet", "fw", "in", FilterHook.Input, IsLegacy: false, PolicyDrops: true, EndsInDrop: false));
        var ports = Plan(shut, TestOptions.Planning).Services.Select(service => service.Ports[0]).ToDictionary(port => port.Port.Name.Name);
        Assert.Equal(ForwardingPath.NotCaught, ports["none"].Path);
        Assert.Equal(ForwardingPath.Kernel, ports["web"].Path);
    }

    [Theory]
    [InlineData(DataPath.Userspace, FilterHook.Input, "dataPath is userspace; left to kube-proxy, since inet fw in may drop what is redirected to this node")]
    [InlineData(DataPath.Auto, FilterHook.Forward, "inet fw out drops what it does not know when this node forwards it, and inet fw in when it comes in; left to kube-proxy, since inet fw in may drop what is redirected to this node")]
    public void WhatWouldNotReachTheListenerIsLeftToKubeProxy(DataPath allowed, FilterHook also, string reason)
    {
        var shut = Ordinary.WithChain(new FilterChain("inet", "fw", "in", FilterHook.Input, IsLegacy: false, PolicyDrops: true, EndsInDrop: false));
        if (also == FilterHook.Forward)
            shut = shut.WithChain(new FilterChain("inet", "fw", "out", FilterHook.Forward, IsLegacy: false, PolicyDrops: true, EndsInDrop: false));
        var port = Port(shut, TestOptions.Planning with { DataPath = allowed });
        Assert.Equal((ForwardingPath.NotCaught, reason), (port.Path, port.Reason));
        Assert.Null(port.Route);
    }

    [Fact]
    public void AChangeOfNetworksKeepsEveryPlannedService()
    {
        var before = Plan(Ordinary, TestOptions.Planning);
        var after = Plan(Ordinary with { Routes = Ordinary.Routes.Add(Route("10.245.7.10/32", RoutedPod)) }, TestOptions.Planning);
        Assert.NotSame(before, after);
        Assert.True(before.Services.Zip(after.Services).All(pair => ReferenceEquals(pair.First, pair.Second)));
        Assert.Contains(IPNetwork.Parse("10.245.7.10/32"), after.Portals[0].Masquerade.Local);
    }

    [Fact]
    public async Task IptablesGetsTheseRulesOnADifficultHost()
    {
        var kernel = new FakeIptables();
        var portals = await new IptablesChoice(kernel, TimeProvider.System).CreateAsync(ChainPrefix.EdgeMesh, IptablesVariant.Nft, Cancel);
        await portals.SyncAsync(Plan(Difficult, TestOptions.Planning).Portals, Cancel);
        Assert.Equal(
            """
            -A EDGEMESH-POSTROUTING -m mark --mark 0x0/0x2040 -j RETURN
            -A EDGEMESH-POSTROUTING -m mark --mark 0x2000/0x2000 -g EDGEMESH-MASQUERADE
            -A EDGEMESH-POSTROUTING -j MARK --set-xmark 0x0/0x40
            -A EDGEMESH-POSTROUTING -s 10.244.1.0/24 -d 10.244.1.0/24 -g EDGEMESH-MASQUERADE
            -A EDGEMESH-POSTROUTING -s 10.244.1.0/24 -j RETURN
            -A EDGEMESH-POSTROUTING -s 10.245.7.9/32 -j RETURN
            -A EDGEMESH-POSTROUTING -g EDGEMESH-MASQUERADE
            """,
            await ChainAsync(kernel, "nat", ChainNames.Postrouting));
        Assert.Equal(
            """
            -A EDGEMESH-MASQUERADE -j MARK --set-xmark 0x0/0x2040
            -A EDGEMESH-MASQUERADE -m comment --comment "edgemesh: masquerade what comes from elsewhere than from pods here" -j MASQUERADE --random-fully
            """,
            await ChainAsync(kernel, "nat", ChainNames.Masquerade));
        Assert.Equal(
            """
            -A FORWARD -p tcp -m conntrack --ctstate INVALID -m comment --comment "edgemesh: packets of its connections that would pass untranslated" -j EDGEMESH-INVALID
            -A FORWARD -m comment --comment "edgemesh: its connections, which the policy would drop" -j EDGEMESH-FORWARD
            """,
            await ChainAsync(kernel, "filter", "FORWARD"));
        Assert.Equal(
            """
            -A INPUT -p tcp -m conntrack --ctstate INVALID -m comment --comment "edgemesh: packets of its connections that would pass untranslated" -j EDGEMESH-INVALID
            -A INPUT -m comment --comment "edgemesh: its listener, which the policy would drop" -j EDGEMESH-INPUT
            """,
            await ChainAsync(kernel, "filter", "INPUT"));
        Assert.Equal(
            """
            -A EDGEMESH-INVALID -s 10.244.1.0/24 -j DROP
            -A EDGEMESH-INVALID -s 10.244.2.0/24 -j DROP
            -A EDGEMESH-INVALID -d 10.96.0.0/24 -j DROP
            """,
            await ChainAsync(kernel, "filter", ChainNames.Invalid));
        Assert.Equal(
            """
            -A EDGEMESH-FORWARD -m mark ! --mark 0x0/0x2040 -j ACCEPT
            -A EDGEMESH-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -m conntrack --ctstate DNAT -j ACCEPT
            """,
            await ChainAsync(kernel, "filter", ChainNames.Forward));
        Assert.Equal("-A EDGEMESH-INPUT -d 169.254.96.16/32 -m conntrack --ctstate DNAT -j ACCEPT", await ChainAsync(kernel, "filter", ChainNames.Input));
    }

    [Fact]
    public async Task WhatSomebodyTakesOutOfTheFilterTableComesBack()
    {
        var kernel = new FakeIptables();
        var portals = await new IptablesChoice(kernel, TimeProvider.System).CreateAsync(ChainPrefix.EdgeMesh, IptablesVariant.Legacy, Cancel);
        var plan = Plan(Ordinary, TestOptions.Planning);
        await portals.SyncAsync(plan.Portals, Cancel);
        Assert.Empty((await portals.RepairAsync(Cancel)).Repairs);
        await RestoreAsync(kernel, "*filter\n-F\nCOMMIT\n");
        Assert.NotEmpty((await portals.RepairAsync(Cancel)).Repairs);
        Assert.Contains(ChainNames.Invalid, await ChainAsync(kernel, "filter", "INPUT", "iptables-legacy"), StringComparison.Ordinal);
        await portals.RemoveAsync(Cancel);
        Assert.Equal("", await ChainAsync(kernel, "filter", "FORWARD", "iptables-legacy"));
        Assert.Equal("", await ChainAsync(kernel, "filter", ChainNames.Invalid, "iptables-legacy"));
    }

    [Fact]
    public async Task AnEndpointWithoutHairpinModeIsSentToTheListenerByEitherBackend()
    {
        var plan = Plan(Ordinary.With(FirstPort, link => link with { Hairpin = false }), TestOptions.Planning);
        var kernel = new FakeIptables();
        var portals = await new IptablesChoice(kernel, TimeProvider.System).CreateAsync(ChainPrefix.EdgeMesh, IptablesVariant.Nft, Cancel);
        await portals.SyncAsync(plan.Portals, Cancel);
        var chain = ChainNames.Service(plan.Portals[0].Rules.Single(rule => rule.Target is PortalTarget.Backends).Key);
        Assert.StartsWith($"-A {chain} -s 10.244.1.5/32 -g EDGEMESH-LISTENER\n-A {chain} -j MARK --set-xmark 0x40/0x40\n", await ChainAsync(kernel, "nat", chain), StringComparison.Ordinal);
        Assert.EndsWith(
            "-A EDGEMESH-LISTENER -p tcp -j DNAT --to-destination 169.254.96.16:20007\n-A EDGEMESH-LISTENER -p udp -j DNAT --to-destination 169.254.96.16:20007",
            await ChainAsync(kernel, "nat", ChainNames.Listener), StringComparison.Ordinal);
        await portals.WithdrawListenersAsync(Cancel);
        Assert.DoesNotContain("-s 10.244.1.5/32 -g", await ChainAsync(kernel, "nat", chain), StringComparison.Ordinal);
        Assert.Equal("", await ChainAsync(kernel, "nat", ChainNames.Listener));

        var nft = new FakeNft();
        var tables = new NftablesBackend(nft, [IpFamily.IPv4], TimeProvider.System);
        await tables.SyncAsync(plan.Portals, Cancel);
        Assert.Contains(" ip saddr 10.244.1.5 goto listener\n", nft.Applied[^1], StringComparison.Ordinal);
        await tables.WithdrawListenersAsync(Cancel);
        Assert.Empty(await tables.CompareAsync(IpFamily.IPv4, Cancel));
    }

    [Fact]
    public async Task ADifferentHostChangesTwoChainsOfTheNftTable()
    {
        var nft = new FakeNft();
        var tables = new NftablesBackend(nft, [IpFamily.IPv4], TimeProvider.System);
        await tables.SyncAsync(Plan(Ordinary, TestOptions.Planning).Portals, Cancel);
        await tables.SyncAsync(Plan(Difficult, TestOptions.Planning).Portals, Cancel);
        Assert.Equal(
            """
            flush chain ip edgemesh postrouting
            add rule ip edgemesh postrouting meta mark & 0x00002000 != 0x00002000 return
            add rule ip edgemesh postrouting meta mark set meta mark ^ 0x00002000
            add rule ip edgemesh postrouting ip saddr . ip daddr @hairpin masquerade fully-random
            add rule ip edgemesh postrouting ip saddr 10.244.1.0/24 ip daddr 10.244.1.0/24 masquerade fully-random
            add rule ip edgemesh postrouting ip saddr 10.244.1.0/24 return
            add rule ip edgemesh postrouting ip saddr 10.245.7.9 return
            add rule ip edgemesh postrouting masquerade fully-random

            """,
            nft.Applied[^1]);
        Assert.Empty(await tables.CompareAsync(IpFamily.IPv4, Cancel));
    }

    [Fact]
    public void ManyNetworksBecomeAFewWiderOnes()
    {
        var endpoints = Enumerable.Range(0, 200).Select(i => $"10.{i / 50}.{i}.1").ToArray();
        var facts = Facts(Service("demo/web", "10.96.0.9", "80"), Slice("demo/web-1", "demo/web", "8080", endpoints));
        var guard = new ForwardingPlanner().Plan(new CatalogBuilder().Build(facts, TestOptions.Policy), TestOptions.Planning).Portals[0].Invalid!;
        Assert.InRange(guard.Endpoints.Length, 1, 16);
        Assert.All(endpoints, endpoint => Assert.Contains(guard.Endpoints, network => network.Contains(IPAddress.Parse(endpoint))));
    }

    private ForwardingPlan Plan(HostObservation host, PlanningOptions options) =>
        _planner.Plan(_catalog.Build(Web, TestOptions.Policy), options with { Host = host.Decide() });

    private PlannedPort Port(HostObservation host, PlanningOptions? options = null) =>
        Plan(host, options ?? TestOptions.Planning).Services.Single(service => service.Service.Name.Name == "web").Ports[0];

    private static async Task<string> ChainAsync(FakeIptables kernel, string table, string chain, string command = "iptables-nft")
    {
        var result = await kernel.RunAsync(command, ["-t", table, "-S", chain], null, TimeSpan.FromSeconds(1), Cancel);
        return string.Join('\n', result.Output.Split('\n').Where(line => line.StartsWith("-A", StringComparison.Ordinal)));
    }

    private static Task<CommandResult> RestoreAsync(FakeIptables kernel, string text) =>
        kernel.RunAsync("iptables-legacy-restore", ["--noflush"], [text.AsMemory()], TimeSpan.FromSeconds(1), Cancel);
}
