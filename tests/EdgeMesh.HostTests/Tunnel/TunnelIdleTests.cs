using System.Net;
using System.Net.Sockets;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

[Collection(Alone.Name)]
public sealed class TunnelIdleTests(ITestOutputHelper output)
{
    /// <summary>From each of the two nodes to the other, over the one session between them.</summary>
    private const int EachWay = 5_000;

    private const long MostBytes = 60 << 20;

    /// <summary>A service of the node whose endpoint lets connections wait in its queue: it has them and never says a word, and
    /// they cost this process no descriptor, of which it may have 20,000.</summary>
    private const int SilentPort = 9090;

    private static readonly ParallelOptions ManyAtOnce = new() { MaxDegreeOfParallelism = 200 };

    [Fact]
    public async Task TenThousandIdleStreamsOfOneSessionCostNeitherEndMoreThanSixtyMegabytes()
    {
        await using var lab = await MeshLab.CreateAsync();
        Services.PublishAll(lab);
        lab.Publish("silent-cloud", "10.96.1.11", SilentPort, "TCP", lab.Cloud);
        lab.Publish("silent-edge-1", "10.96.1.12", SilentPort, "TCP", lab.Edge1);
        MeshLabNode[] nodes = [lab.Cloud, lab.Edge1];
        using var cloudQueue = Queue(lab.Cloud);
        using var edgeQueue = Queue(lab.Edge1);
        foreach (var node in nodes)
        {
            node.ProxyKeys = ["limits: {maxUdpFlows: 64}"];
            node.TunnelKeys = [$"tunnelLimitConfig: {{tunnelPeerBaseStreamIn: {2 * EachWay}, tunnelPeerBaseStreamOut: {2 * EachWay}}}"];
            node.Configure(lab.Cloud);
            await node.StartAsync();
        }

        await Services.UntilAnsweredAsync(lab.Edge1, Services.OnCloud, lab.Cloud, TimeSpan.FromSeconds(20));
        await Services.UntilAnsweredAsync(lab.Cloud, Services.OnEdge1, lab.Edge1, TimeSpan.FromSeconds(20));
        for (var i = 0; i < 200; i++)
        {
            await lab.Edge1.AskAsync(Services.OnCloud);
            await lab.Cloud.AskAsync(Services.OnEdge1);
        }

        var before = nodes.Select(node => node.Agent.Facts).ToArray();
        var sockets = new Socket?[2 * EachWay];
        try
        {
            await Parallel.ForAsync(0, sockets.Length, ManyAtOnce, async (i, _) => sockets[i] = i % 2 == 0
                ? await OpenAsync(lab.Edge1, i, Services.OnCloud, $"10.96.1.11:{SilentPort}")
                : await OpenAsync(lab.Cloud, i, Services.OnEdge1, $"10.96.1.12:{SilentPort}"));
            foreach (var (node, other) in new[] { (lab.Cloud, "edge-1"), (lab.Edge1, "cloud") })
            {
                await Eventually.SeesAsync(
                    () => StreamsAsync(node, other), streams => streams >= sockets.Length, TimeSpan.FromSeconds(20), $"{node.Name} has {sockets.Length} streams with {other}");
            }

            foreach (var (node, idle) in nodes.Zip(before))
            {
                var held = node.Agent.Facts;
                var bytes = held.ResidentBytes - idle.ResidentBytes;
                output.WriteLine($"{node.Name}: {bytes / 1048576.0:F1} MB for {sockets.Length} idle streams, {bytes / sockets.Length} bytes each; {held}; before: {idle}");
                Assert.InRange(bytes, 0, MostBytes);
            }
        }
        finally
        {
            // With a reset: who ends silently keeps its half of a connection to an endpoint that never says a word.
            foreach (var socket in sockets)
                socket?.Close(timeout: 0);
        }

        foreach (var node in nodes)
            await Eventually.SeesAsync(() => node.Agent.MetricAsync("edgemesh_tunnel_streams"), open => open == 0, TimeSpan.FromSeconds(20), $"no stream is left at {node.Name}");
    }

    /// <summary>Every second one has had a conversation before it falls idle, some of them a long one.</summary>
    private static async Task<Socket> OpenAsync(MeshLabNode from, int i, string echo, string silent)
    {
        var speaks = i / 2 % 2 == 0;
        var socket = await from.ConnectAsync(speaks ? echo : silent, TimeSpan.FromSeconds(30));
        await socket.SendAsync("ECHO\n"u8.ToArray());
        if (speaks)
            await Conversation.EchoAsync(socket, i / 2 % 20 == 0 ? new string('x', 100_000) : "hello");
        return socket;
    }

    private static Socket Queue(MeshLabNode node)
    {
        node.Pod.SetSysctl("core/somaxconn", "8192");
        var listener = node.Pod.NewSocket(AddressFamily.InterNetwork, SocketType.Stream);
        listener.Bind(new IPEndPoint(IPAddress.Any, SilentPort));
        listener.Listen(8192);
        return listener;
    }

    private static async Task<int> StreamsAsync(MeshLabNode node, string other) =>
        (await node.StatusAsync()).GetProperty("tunnel").GetProperty("nodes").EnumerateArray()
        .First(each => each.GetProperty("name").GetString() == other).GetProperty("streams").GetInt32();
}
