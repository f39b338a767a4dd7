using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Forwarding;

public sealed class TcpTests
{
    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task AClientThatShutsDownWritingStillReadsTenMegabytes(KubeProxyRules rules)
    {
        const int Size = 10 << 20;
        await using var node = await HybridNode.StartAsync(NodeSetup.Beside(rules, Through.Userspace), HybridNode.Web);
        using var socket = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
        await socket.SendAsync(Encoding.ASCII.GetBytes($"SEND {Size}\n"));
        socket.Shutdown(SocketShutdown.Send);

        Assert.Equal(Size, await ReadPatternAsync(socket));
    }

    [Fact]
    public async Task AServerThatShutsDownWritingStillReadsWhatTheClientSends()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, HybridNode.Web);
        using var socket = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
        // WHO: the pod answers, shuts down its side, and reads on until the client ends.
        await NamespaceLab.AskAsync(socket, "WHO");
        Assert.Equal(0, await socket.ReceiveAsync(new byte[16]));

        var much = PodServer.Pattern(4 << 20);
        for (var sent = 0; sent < much.Length;)
            sent += await socket.SendAsync(much.AsMemory(sent));

        socket.Shutdown(SocketShutdown.Send);
    }

    [Fact]
    public async Task BytesComeBackUnchangedInBothDirectionsAtOnce()
    {
        var much = PodServer.Pattern(8 << 20);
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, HybridNode.Web);
        using var socket = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
        await socket.SendAsync("ECHO\n"u8.ToArray());

        var sending = Task.Run(async () =>
        {
            for (var sent = 0; sent < much.Length;)
                sent += await socket.SendAsync(much.AsMemory(sent));
            socket.Shutdown(SocketShutdown.Send);
        });
        Assert.Equal(much.Length, await ReadPatternAsync(socket));
        await sending;
    }

    [Fact]
    public async Task AResetOfThePodReachesTheClient()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, HybridNode.Web);
        using var socket = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
        // A line that the pod does not know makes it close with bytes unread, which is a reset.
        await socket.SendAsync(Encoding.ASCII.GetBytes("NONSENSE\n" + new string('x', 64 * 1024)));

        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(5));
        var ended = false;
        try
        {
            ended = await socket.ReceiveAsync(new byte[16], timeout.Token) == 0;
        }
        catch (SocketException)
        {
            ended = true;
        }

        Assert.True(ended);
    }

    [Fact]
    public async Task DeadEndpointsBesideALiveOneCostTheFirstClientsAMomentAndTheOthersNothing()
    {
        // .12 refuses (nobody listens on 8099 in pod b), .99 is silent: nobody answers for it on the pod's wire.
        var service = new ManifestService
        {
            Name = "web",
            ClusterIPs = ["10.96.10.1"],
            Ports = [new ManifestPort("http", 80, 8099)],
            Endpoints = ["10.244.0.11", "10.244.0.12", "10.244.0.99"],
        };
        await using var lab = await NamespaceLab.CreateAsync();
        lab.Serve("a", "10.244.0.11", 8099);
        (await lab.RunAsync("node", "ip", "route", "add", "10.244.0.99/32", "dev", "veth-a")).Succeeded();
        lab.Manifests.Write(service);
        await lab.StartAgentAsync(new AgentOptions { Config = NodeSetup.Userspace.Config });

        var times = new List<TimeSpan>();
        for (var i = 0; i < 100; i++)
        {
            var watch = Stopwatch.StartNew();
            Assert.Equal("a", (await lab.AskAsync("client", HybridNode.WebAddress)).Pod);
            times.Add(watch.Elapsed);
        }

        times.Sort();
        // 0.25 s and 0.5 s are the time limits of the first two tries.
        Assert.InRange(times[^1], TimeSpan.Zero, TimeSpan.FromSeconds(2));
        Assert.InRange(times[80], TimeSpan.Zero, TimeSpan.FromMilliseconds(100));
    }

    [Fact]
    public async Task ASilentEndpointDoesNotHoldUpConnectionsToALiveOne()
    {
        await using var lab = await NamespaceLab.CreateAsync();
        (await lab.RunAsync("node", "ip", "route", "add", "10.244.0.99/32", "dev", "veth-a")).Succeeded();
        lab.Manifests.Write(HybridNode.Web);
        lab.Manifests.Write(HybridNode.Np with { Endpoints = ["10.244.0.99"] });
        await lab.StartAgentAsync(new AgentOptions { Config = NodeSetup.Userspace.Config });

        // 50 dials that hang, in the same loops as the live ones.
        var hanging = Enumerable.Range(0, 50).Select(async _ =>
        {
            using var socket = await lab.ConnectAsync("client", "10.96.10.4:80");
            return await Record.ExceptionAsync(() => NamespaceLab.AskAsync(socket, "WHO", TimeSpan.FromSeconds(15)));
        }).ToArray();
        for (var i = 0; i < 50; i++)
        {
            var watch = Stopwatch.StartNew();
            await lab.AskAsync("client", HybridNode.WebAddress);
            Assert.InRange(watch.Elapsed, TimeSpan.Zero, TimeSpan.FromMilliseconds(500));
        }

        // Those end too, with an error and not by the deadline of this test.
        foreach (var outcome in await Task.WhenAll(hanging))
            Assert.True(outcome is IOException or SocketException, $"{outcome}");
    }

    [Fact]
    public async Task AnAnswerThatComesWhileTheClientStillUploadsIsReadByEveryClient()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, HybridNode.Web);
        for (var i = 0; i < 20; i++)
        {
            using var client = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
            await UploadAsync(client, (byte[])[.. "EARLY\n"u8, .. new byte[20_000_000]]);
            var answer = new byte[256];
            var length = await client.ReceiveAsync(answer);
            Assert.Equal(HybridNode.ByAgent, Answer.Parse(Encoding.ASCII.GetString(answer, 0, length)).Port);
        }
    }

    /// <summary>A pager, a paused player, a suspended machine. The long form pauses for longer than any timer of a connection.</summary>
    [Fact]
    public async Task AClientThatPausesGetsTheRestHoweverLongItPaused()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, HybridNode.Web);
        using var pausing = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
        await pausing.SendAsync("SEND 40000000\n"u8.ToArray());
        pausing.Shutdown(SocketShutdown.Send);

        Task<double> ActiveAsync() => node.Agent.MetricAsync("edgemesh_tcp_connections_active");
        await Eventually.SeesAsync(ActiveAsync, active => active == 1, TimeSpan.FromSeconds(10));
        await Eventually.StaysAsync(ActiveAsync, active => active == 1, TimeSpan.FromSeconds(LongForm.IsAsked ? 150 : 1.5));

        Assert.Equal(40_000_000, await ReadPatternAsync(pausing));
    }

    [Fact]
    public async Task AClientThatDoesNotReadHoldsUpNobodyElse()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, HybridNode.Web);
        using var lazy = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
        await lazy.SendAsync("SEND 50000000\n"u8.ToArray());
        lazy.Shutdown(SocketShutdown.Send);
        using var silent = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);

        for (var i = 0; i < 50; i++)
        {
            var watch = Stopwatch.StartNew();
            await node.Lab.AskAsync("client", HybridNode.WebAddress);
            Assert.InRange(watch.Elapsed, TimeSpan.Zero, TimeSpan.FromMilliseconds(500));
        }

        Assert.Equal(50_000_000, await ReadPatternAsync(lazy));
    }

    [Theory]
    [MemberData(nameof(Setups.BesideKubeProxy), MemberType = typeof(Setups))]
    public async Task AClientAddressKeepsItsPodUntilThePodIsGone(KubeProxyRules kubeProxy, RulesIn rules, Through through)
    {
        var sticky = new ManifestService
        {
            Name = "sticky",
            ClusterIPs = ["10.96.10.3"],
            Ports = [new ManifestPort("", 443, 8081)],
            Endpoints = ["10.244.0.31", "10.244.0.32"],
            ClientAffinitySeconds = 600,
        };
        await using var node = await HybridNode.StartAsync(new NodeSetup(kubeProxy, rules, through), sticky);

        var first = await node.Lab.AskTimesAsync("client", "10.96.10.3:443", 20);
        var pod = Assert.Single(first.Select(answer => answer.Pod).Distinct());

        var other = pod == "a" ? "10.244.0.32" : "10.244.0.31";
        node.Lab.Manifests.Write(sticky with { Endpoints = [other] });
        await Eventually.SeesAsync(() => node.Lab.AskAsync("client", "10.96.10.3:443"), answer => answer.Pod != pod, TimeSpan.FromSeconds(3));
    }

    [Fact]
    public async Task AConnectionToTheListenerItselfIsRefused()
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, HybridNode.Web);

        var outcome = await Record.ExceptionAsync(() => node.Lab.AskAsync("node", "169.254.96.16:20007", TimeSpan.FromSeconds(3)));

        Assert.True(outcome is SocketException or IOException, $"{outcome}");
    }

    [Fact]
    public async Task NginxServesCurlThroughTheAgent()
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { PodServers = false });
        var configuration = Path.Combine(lab.Folder, "nginx.conf");
        await File.WriteAllTextAsync(configuration, $$"""
            daemon off;
            master_process off;
            pid {{lab.Folder}}/nginx.pid;
            error_log stderr;
            events { worker_connections 64; }
            http { access_log off; server { listen 8081; location / { return 200 "nginx in pod a, asked by $remote_addr\n"; } } }
            """);
        lab.Start("a", "nginx", "-c", configuration);
        lab.Manifests.Write(HybridNode.Web with { Endpoints = ["10.244.0.11"] });
        await lab.StartAgentAsync(new AgentOptions { Config = NodeSetup.Userspace.Config });

        var page = await Eventually.SeesAsync(
            () => lab.RunAsync("client", "curl", "-sS", "--max-time", "2", "http://10.96.10.1/"),
            result => result.ExitCode == 0,
            TimeSpan.FromSeconds(5));

        // A pod that is reached in user mode sees the node.
        Assert.Equal("nginx in pod a, asked by 10.244.0.1\n", page.Output);
    }

    /// <summary>Until all is sent, or the reset behind the answer has come.</summary>
    private static async Task UploadAsync(Socket client, ReadOnlyMemory<byte> upload)
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        try
        {
            while (upload.Length > 0)
                upload = upload[await client.SendAsync(upload, timeout.Token)..];
        }
        catch (SocketException)
        {
            // As on the direct path.
        }
    }

    private static async Task<long> ReadPatternAsync(Socket socket)
    {
        var pattern = PodServer.Pattern(64 * 1024);
        var buffer = new byte[64 * 1024];
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        long total = 0;
        for (int read; (read = await socket.ReceiveAsync(buffer, timeout.Token)) > 0; total += read)
        {
            for (var i = 0; i < read; i++)
            {
                if (buffer[i] != pattern[(int)((total + i) % pattern.Length)])
                    Assert.Fail($"Byte {total + i} is {buffer[i]}.");
            }
        }

        return total;
    }
}
