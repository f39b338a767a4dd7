using System.Diagnostics;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.Tests.Netfilter.Nftables;
using Xunit;

namespace EdgeMesh.HostTests.Nftables;

/// <summary>Who gets a connection on a node where kube-proxy's rules stand.</summary>
public sealed class CoexistenceTests : IAsyncLifetime
{
    private const string Web = "10.96.10.1";
    private const string Dns = "10.96.10.5";
    private const string Empty = "10.96.10.6";
    private const string Free = "10.96.20.1";

    private static readonly string[] KubeProxysEndpoints = ["10.244.0.11", "10.244.0.12", "10.244.1.13"];

    private PortalNode node = null!;
    private NftablesBackend backend = null!;

    public async ValueTask InitializeAsync()
    {
        node = await PortalNode.StartAsync();
        backend = new NftablesBackend(new NftInside(node.NodeSpace), [IpFamily.IPv4, IpFamily.IPv6], TimeProvider.System);
    }

    public ValueTask DisposeAsync() => node.DisposeAsync();

    [Theory]
    [InlineData("nftables.nft")]
    [InlineData("iptables.rules")]
    public async Task KubeProxyStartingLaterNeverGetsAHandledService(string fixture)
    {
        await LoadAsync(fixture);
        Assert.Contains(Assert.Single(await FromClientAsync("tcp", Web, 80)), KubeProxysEndpoints);
        await SyncAsync(
            Kernel($"{Web}:80", "demo/web:http", "10.244.9.1:80"),
            Kernel($"{Dns}:53", "demo/dns:dns", TransportProtocol.Udp, "10.244.9.1:53"),
            Kernel($"{Empty}:80", "demo/empty:http", "10.244.9.1:80"));
        for (var restart = 0; restart < 2; restart++)
        {
            foreach (var from in new[] { node.Client, node.Node })
            {
                Assert.Equal(["10.244.9.1"], await node.AskAsync(from, "tcp", Web, 80));
                Assert.Equal(["10.244.9.1"], await node.AskAsync(from, "udp", Dns, 53));
                Assert.Equal(["10.244.9.1"], await node.AskAsync(from, "tcp", Empty, 80));
            }

            await LoadAsync(fixture);
        }

        await SyncAsync();
        Assert.Contains(Assert.Single(await FromClientAsync("tcp", Web, 80)), KubeProxysEndpoints);
    }

    [Theory]
    [InlineData("nftables.nft")]
    [InlineData("iptables.rules")]
    public async Task AStaleHeartbeatLeavesTheServiceToKubeProxy(string fixture)
    {
        await LoadAsync(fixture);
        await SyncAsync(NftCases.Rule($"{Web}:80", "demo/web:http", PortalTarget.Listener.Instance));
        Assert.Contains(Assert.Single(await FromClientAsync("tcp", Web, 80)), KubeProxysEndpoints);
        await node.OnNodeAsync("nft add element ip edgemesh alive '{ 6 timeout 60s }'");
        Assert.Equal(["169.254.96.16"], await FromClientAsync("tcp", Web, 80));
        Assert.Equal(["169.254.96.16"], await node.AskAsync(node.Node, "tcp", Web, 80));
        await node.OnNodeAsync("nft delete element ip edgemesh alive '{ 6 }'");
        await node.OnNodeAsync("nft add element ip edgemesh alive '{ 6 timeout 1s }'");
        var since = Stopwatch.StartNew();
        string answer;
        do
        {
            answer = Assert.Single(await FromClientAsync("tcp", Web, 80));
        }
        while (answer == "169.254.96.16" && since.Elapsed < TimeSpan.FromSeconds(10));
        Assert.Contains(answer, KubeProxysEndpoints);
    }

    [Theory]
    [InlineData("nftables.nft")]
    [InlineData("iptables.rules")]
    public async Task RemovingLeavesTheRulesetAsItWas(string fixture)
    {
        await LoadAsync(fixture);
        var before = await node.OnNodeAsync("nft -s list ruleset");
        await backend.SyncAsync([NftCases.V4(NftCases.Everything), NftCases.V6(NftCases.EverythingV6)], Cancel);
        Assert.NotEqual(before, await node.OnNodeAsync("nft -s list ruleset"));
        await backend.RemoveAsync(Cancel);
        Assert.Equal(before, await node.OnNodeAsync("nft -s list ruleset"));
    }

    [Fact]
    public async Task RoundRobinAlternatesStrictly()
    {
        await SyncAsync(Kernel($"{Free}:80", "demo/two:http", "10.244.9.1:80", "10.244.9.2:80"));
        var answers = await FromClientAsync("tcp", Free, 80, 10);
        Assert.All(answers.Zip(answers.Skip(1)), pair => Assert.NotEqual(pair.First, pair.Second));
        Assert.Equal(["10.244.9.1", "10.244.9.2"], answers.Distinct().Order());
    }

    [Fact]
    public async Task IPv6GoesTheSameWay()
    {
        await backend.SyncAsync(
            [
                NftCases.V6(
                    NftCases.Rule("[fd10::1]:80", "demo/two:http", NftCases.To(BackendChoice.RoundRobin, "[fd44::1]:80", "[fd44::2]:80")),
                    NftCases.Rule("[fd10::1]:53", "demo/dns", NftCases.To(BackendChoice.Random, "[fd44::1]:53"), TransportProtocol.Udp),
                    NftCases.Rule("[fd10::2]:80", "demo/far", PortalTarget.Listener.Instance),
                    NftCases.Rule("[fd10::3]:80", "demo/none", PortalTarget.Refused.Instance)),
            ],
            Cancel);
        await node.OnNodeAsync("nft add element ip6 edgemesh alive '{ 6 timeout 60s }'");
        foreach (var from in new[] { node.Client, node.Node })
        {
            Assert.Equal(["fd44::1", "fd44::2"], (await node.AskAsync(from, "tcp", "fd10::1", 80, 2)).Order());
            Assert.Equal(["fd44::1"], await node.AskAsync(from, "udp", "fd10::1", 53));
            Assert.Equal(["fd0e:6d65:7368::10"], await node.AskAsync(from, "tcp", "fd10::2", 80));
            Assert.Equal(["ConnectionRefused"], await node.AskAsync(from, "tcp", "fd10::3", 80));
        }
    }

    [Theory]
    [InlineData(BackendChoice.ClientAffinity)]
    [InlineData(BackendChoice.SourceHash)]
    public async Task AClientKeepsItsEndpoint(BackendChoice choice)
    {
        await SyncAsync(NftCases.Rule($"{Free}:80", "demo/sticky", NftCases.To(choice, "10.244.9.1:80", "10.244.9.2:80")));
        var first = Assert.Single((await FromClientAsync("tcp", Free, 80, 6)).Distinct());
        if (choice == BackendChoice.ClientAffinity)
        {
            await SyncAsync(NftCases.Rule($"{Free}:80", "demo/sticky", NftCases.To(choice, "10.244.0.11:8080", $"{first}:80")));
            Assert.Equal([first], (await FromClientAsync("tcp", Free, 80, 4)).Distinct());
            await SyncAsync(NftCases.Rule($"{Free}:80", "demo/sticky", NftCases.To(choice, "10.244.0.11:8080")));
            Assert.Equal(["10.244.0.11"], await FromClientAsync("tcp", Free, 80));
        }
    }

    [Fact]
    public async Task AnEndpointReachesItselfThroughItsService()
    {
        await SyncAsync(Kernel($"{Free}:80", "demo/self", "10.244.9.1:80"));
        Assert.Equal(["10.244.9.1"], await node.AskAsync(node.Endpoints, "tcp", Free, 80, source: "10.244.9.1"));
    }

    [Fact]
    public async Task AServiceWithoutEndpointsRefusesAtOnce()
    {
        await SyncAsync(
            NftCases.Rule($"{Free}:80", "demo/none", PortalTarget.Refused.Instance),
            NftCases.Rule($"{Free}:53", "demo/none:udp", PortalTarget.Refused.Instance, TransportProtocol.Udp));
        await node.OnNodeAsync("nft add element ip edgemesh alive '{ 6 timeout 60s, 17 timeout 60s }'");
        foreach (var from in new[] { node.Client, node.Node })
        {
            Assert.Equal(["ConnectionRefused"], await node.AskAsync(from, "tcp", Free, 80));
            Assert.Equal(["ConnectionRefused"], await node.AskAsync(from, "udp", Free, 53));
        }
    }

    [Fact]
    public async Task AnEstablishedConnectionOutlivesEveryChange()
    {
        // The kernel translates addresses as long as any nat hook stands; beside kube-proxy one always does.
        await LoadAsync("iptables.rules");
        await SyncAsync(Kernel($"{Free}:80", "demo/two", "10.244.9.1:80"));
        Assert.Equal(["10.244.9.1"], await FromClientAsync("tcp", Free, 80));
        using var connection = await node.HoldAsync(node.Client, Free, 80);
        await Conversation.EchoAsync(connection, "at first");
        await SyncAsync(Kernel($"{Free}:80", "demo/two", "10.244.9.2:80"));
        await Conversation.EchoAsync(connection, "still here");
        Assert.Equal(["10.244.9.2"], await FromClientAsync("tcp", Free, 80));
        await SyncAsync();
        await Conversation.EchoAsync(connection, "still here");
        await backend.RemoveAsync(Cancel);
        await Conversation.EchoAsync(connection, "still here");
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static PortalRule Kernel(string key, string comment, params string[] endpoints) => Kernel(key, comment, TransportProtocol.Tcp, endpoints);

    private static PortalRule Kernel(string key, string comment, TransportProtocol protocol, params string[] endpoints) =>
        NftCases.Rule(key, comment, NftCases.To(BackendChoice.RoundRobin, endpoints), protocol);

    private Task<string[]> FromClientAsync(string protocol, string address, int port, int count = 1) =>
        node.AskAsync(node.Client, protocol, address, port, count);

    private Task<SyncResult> SyncAsync(params PortalRule[] rules) => backend.SyncAsync([NftCases.V4(rules)], Cancel);

    /// <summary>What a restart of kube-proxy does: its hooks are registered anew.</summary>
    private Task<string> LoadAsync(string fixture) => node.OnNodeAsync(fixture.EndsWith(".nft", StringComparison.Ordinal)
        ? $"for f in ip ip6; do nft add table $f kube-proxy; nft delete table $f kube-proxy; done; nft -f {PortalNode.Fixture(fixture)}"
        : $"iptables-nft-restore {PortalNode.Fixture(fixture)}");
}
