using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

/// <summary>The lab with all agents running and services on every node, for tests that change nothing.</summary>
public sealed class TunnelFixture : IAsyncLifetime
{
    /// <summary>How long that node's connection tracking keeps a UDP flow that goes both ways.</summary>
    private const int SecondsOfUdpAtEdge2 = 3;

    public MeshLab Lab { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Lab = await MeshLab.CreateAsync();
        Services.PublishAll(Lab);
        foreach (var (address, node) in new[] { ("10.96.0.21", Lab.Cloud), ("10.96.0.23", Lab.Edge2) })
            Lab.Publish($"acted-{node.Name}", address, ActedServer.Port, "TCP", node);
        Lab[Lab.Edge2.Name].SetSysctl("netfilter/nf_conntrack_udp_timeout_stream", $"{SecondsOfUdpAtEdge2}");
        Lab.Publish("docker", "10.96.0.17", 8080, "TCP", [("172.17.0.2", Lab.Edge2)]);
        // Two pods that have one address, each on its node.
        var twins = new ManifestService
        {
            Name = "twins",
            ClusterIPs = ["10.96.0.18"],
            Ports = [new ManifestPort("main", 8080, 8080)],
            Endpoints = ["172.17.0.2"],
        };
        var slice = twins.ToYaml();
        slice = slice[slice.IndexOf("---", StringComparison.Ordinal)..].Replace("peer-node", Lab.Edge2.Name, StringComparison.Ordinal).Replace("twins-v4", "twins-v4-2", StringComparison.Ordinal);
        Lab.Manifests.WriteText("demo-twins.yaml", twins.ToYaml().Replace("peer-node", Lab.Edge1.Name, StringComparison.Ordinal) + slice);
        await Lab.StartAgentsAsync(Lab.Cloud);
        await Services.UntilEverySessionStandsAsync(Lab);
    }

    public ValueTask DisposeAsync() => Lab.DisposeAsync();
}

public sealed class TunnelPathTests(TunnelFixture fixture) : IClassFixture<TunnelFixture>
{
    private readonly MeshLab _lab = fixture.Lab;

    [Fact]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task AnEdgeNodeBehindNatReachesTheCloudAndTheCloudReachesIt()
    {
        var fromEdge = await _lab.RunAsync(_lab.Edge1.PodRole, "curl", "-sS", "--max-time", "5", $"http://{Services.OnCloud}/");
        var fromCloud = await _lab.RunAsync(_lab.Cloud.PodRole, "curl", "-sS", "--max-time", "5", $"http://{Services.OnEdge1}/");

        Assert.StartsWith($"cloud {_lab.Cloud.PodAddress}:8080", fromEdge.Succeeded().Output, StringComparison.Ordinal);
        Assert.StartsWith($"edge-1 {_lab.Edge1.PodAddress}:8080", fromCloud.Succeeded().Output, StringComparison.Ordinal);
    }

    [Fact]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task TwoEdgeNodesInTwoLansReachEachOtherOverTheRelay()
    {
        Assert.Equal("edge-2", (await _lab.Edge1.AskAsync(Services.OnEdge2)).Pod);
        Assert.Equal("edge-1", (await _lab.Edge2.AskAsync(Services.OnEdge1)).Pod);
        Assert.Equal("relayed via cloud", await _lab.Edge1.SessionToAsync(_lab.Edge2));
        Assert.StartsWith("listener tunnel: relayed via cloud;", await _lab.Edge1.WayOfAsync("tcp-edge-2"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task DatagramsKeepTheirBordersOnEveryWay()
    {
        foreach (var (node, target, answers) in new[] { (_lab.Edge1, Services.UdpOnCloud, "cloud"), (_lab.Edge1, Services.UdpOnEdge2, "edge-2"), (_lab.Cloud, Services.UdpOnEdge2, "edge-2") })
        {
            using var socket = await node.OpenDatagramsAsync(target);
            var who = Encoding.ASCII.GetString(await NamespaceLab.ExchangeAsync(socket, "WHO"u8.ToArray()));
            Assert.StartsWith(answers + " ", who, StringComparison.Ordinal);
            foreach (var length in (int[])[0, 1, 512, 1400, 9000, 65_000])
            {
                var datagram = RandomNumberGenerator.GetBytes(length);
                Assert.Equal(datagram, await NamespaceLab.ExchangeAsync(socket, datagram));
            }
        }
    }

    [Fact]
    public async Task AHundredMegabytesComeBackUnchangedAndTheHalfCloseArrives()
    {
        using var socket = await _lab.Edge1.ConnectAsync(Services.OnEdge2);
        await Transfer.EchoAsync(socket, 100 << 20, TimeSpan.FromSeconds(60));
    }

    /// <summary>Direct and over the relay, as without a tunnel.</summary>
    [Theory]
    [InlineData("cloud", "10.96.0.21")]
    [InlineData("edge-2", "10.96.0.23")]
    public async Task EndsAndResetsTravelAsWhatTheyAre(string node, string address)
    {
        using var acted = new ActedServer(_lab.Nodes.Single(n => n.Name == node), _lab.Edge1, address);

        // The server ends first, and still reads.
        var (client, server) = await acted.ConnectAsync();
        server.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await client.ReceiveAsync(new byte[1], acted.Deadline));
        var reading = ActedServer.ReadAsync(server, acted.Deadline);
        await client.SendAsync(new byte[300_000], acted.Deadline);
        client.Shutdown(SocketShutdown.Send);
        Assert.Equal((300_000, false), await reading);

        // An answer that was sent before the upload ended, and the reset behind it.
        for (var i = 0; i < 5; i++)
        {
            (client, server) = await acted.ConnectAsync();
            var upload = Record.ExceptionAsync(() => client.SendAsync(new byte[20_000_000], acted.Deadline).AsTask());
            await server.ReceiveAsync(new byte[1_000], acted.Deadline);
            await server.SendAsync("HTTP/1.1 413 Payload Too Large\r\n\r\n"u8.ToArray(), acted.Deadline);
            server.Close();
            Assert.IsType<SocketException>(await upload);
            Assert.Equal(34, (await ActedServer.ReadAsync(client, acted.Deadline)).Bytes);
        }

        // A reset of either side is one at the other.
        foreach (var byServer in new[] { true, false })
        {
            (client, server) = await acted.ConnectAsync();
            var (one, other) = byServer ? (server, client) : (client, server);
            await one.SendAsync(new byte[10], acted.Deadline);
            Assert.Equal(10, await other.ReceiveAsync(new byte[100], acted.Deadline));
            one.Close(timeout: 0);
            Assert.Equal((0, true), await ActedServer.ReadAsync(other, acted.Deadline));
        }
    }

    [Fact]
    public async Task AUdpFlowIsKeptAsLongAsItsNodesConnectionTrackingKeepsIt()
    {
        using var socket = await _lab.Edge1.OpenDatagramsAsync(Services.UdpOnEdge2);
        Assert.Equal([1], await NamespaceLab.ExchangeAsync(socket, [1]));
        await Eventually.SeesAsync(
            () => _lab.Edge2.Agent.MetricAsync("edgemesh_tunnel_streams", "direction=\"in\""), streams => streams == 0, TimeSpan.FromSeconds(20));
        // The next datagram opens another.
        Assert.Equal([2], await NamespaceLab.ExchangeAsync(socket, [2]));
    }

    [Fact]
    public async Task ARangeThatEveryNodeHasNeverLeadsToAStranger()
    {
        foreach (var node in new[] { _lab.Cloud, _lab.Edge1 })
        {
            for (var i = 0; i < 5; i++)
                Assert.Equal("edge-2", (await node.AskAsync("10.96.0.17:8080")).Pod);
            Assert.StartsWith("listener tunnel: ", await node.WayOfAsync("docker"), StringComparison.Ordinal);
        }

        // On the node itself the very same address is its own pod, straight through the kernel.
        Assert.StartsWith("kernel local: ", await _lab.Edge2.WayOfAsync("docker"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task OnePodAddressOnTwoNodesIsTwoEndpointsAndOnEachOfTheseItsOwn()
    {
        var fromCloud = new List<string>();
        for (var i = 0; i < 8; i++)
            fromCloud.Add((await _lab.Cloud.AskAsync("10.96.0.18:8080")).Pod);
        Assert.Equal(["edge-1", "edge-2"], fromCloud.Distinct().Order());
        // On their nodes the pods themselves ask.
        foreach (var node in new[] { _lab.Edge1, _lab.Edge2 })
        {
            for (var i = 0; i < 4; i++)
                Assert.Equal(node.Name, await AskFromTheAddressOfAllAsync(node, "10.96.0.18:8080"));
        }
    }

    [Fact]
    public async Task AClientThatHasTheAddressOfTheEndpointItAsksForReachesTheOtherNode() =>
        Assert.Equal("edge-2", await AskFromTheAddressOfAllAsync(_lab.Edge1, "10.96.0.17:8080"));

    /// <summary>As a pod that has the address which a pod of every node has.</summary>
    private static async Task<string> AskFromTheAddressOfAllAsync(MeshLabNode node, string target)
    {
        using var socket = node.Pod.NewSocket(AddressFamily.InterNetwork, SocketType.Stream);
        socket.Bind(new IPEndPoint(IPAddress.Parse("172.17.0.2"), 0));
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        await socket.ConnectAsync(IPEndPoint.Parse(target), timeout.Token);
        return (await NamespaceLab.AskAsync(socket, "WHO")).Pod;
    }

    [Fact]
    public async Task StatusNamesThePeersTheRelayAndTheWayOfEachEndpoint()
    {
        var page = (await _lab.RunAsync("edge-1", NamespaceLab.AgentProgram, "status", "--config-file", _lab.Edge1.ConfigFile)).Succeeded().Output;

        Assert.Contains("relay cloud: connected", page, StringComparison.Ordinal);
        Assert.Contains("relayed via cloud", page, StringComparison.Ordinal);
        Assert.Contains("1 of 1 endpoints on edge-2 through the tunnel", page, StringComparison.Ordinal);
        Assert.True(await _lab.Edge1.Agent.MetricAsync("edgemesh_tunnel_streams_total", "direction=\"out\"") > 0);
        var (health, said) = await _lab.Edge1.Agent.GetAsync("/healthz");
        Assert.True(health == 200, said);
    }
}
