using System.Collections.Immutable;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using EdgeMesh.Linux;
using EdgeMesh.Names;
using EdgeMesh.Net;
using EdgeMesh.Supervision;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Tests.Dns;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.Tests.Names;

/// <summary>The whole server over real sockets on loopback.</summary>
public sealed class NameServerTests(ITestOutputHelper output) : IAsyncDisposable
{
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(20);

    private readonly LoopbackUpstream _upstream = new();
    private readonly ClusterZone _zone = MakeZone();
    private NameServer? _server;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private IPEndPoint Address { get; } = new(OwnLoopback.Next(), 5_353);

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
            await _server.DisposeAsync();
        _upstream.Dispose();
    }

    [Fact]
    public async Task NamesOfTheClusterAndOfTheWorldAreAnsweredByUdpAndTcp()
    {
        Start();
        Assert.Equal("NOERROR aa\nweb.demo.svc.cluster.local. 30 A 10.96.0.10", await AskByUdpAsync("web.demo.svc.cluster.local"));
        Assert.Equal("NOERROR\nwww.example. 60 A 192.0.2.9", await AskByUdpAsync("www.example"));
        using var stream = await ConnectAsync();
        Assert.Equal("NOERROR aa\nweb.demo.svc.cluster.local. 30 A 10.96.0.10", await AskAsync(stream, "web.demo.svc.cluster.local"));
        Assert.Equal("NOERROR\nother.example. 60 A 192.0.2.9", await AskAsync(stream, "other.example"));
        Assert.Equal((2, 2), (_server!.Counters.RequestsByUdp, _server.Counters.RequestsByTcp));
        Assert.Equal(2, _upstream.Asked);
    }

    [Fact]
    public async Task QuestionsOnOneConnectionAreAnsweredInAnyOrder()
    {
        using var held = new ManualResetEventSlim();
        _upstream.Answer = (query, _) =>
        {
            held.Wait(Soon);
            return DnsText.Reply(query, ResponseCode.NoError, "60 A 192.0.2.9");
        };
        Start();
        using var client = await ConnectAsync();
        await client.SendAsync((byte[])[.. Framed("slow.example", 1), .. Framed("web.demo.svc.cluster.local", 2), .. Framed("dual.demo.svc.cluster.local", 3)], Stop);
        Assert.Equal(2, (await ReadAsync(client))[1]);
        Assert.Equal(3, (await ReadAsync(client))[1]);
        held.Set();
        Assert.Equal(1, (await ReadAsync(client))[1]);
    }

    [Fact]
    public async Task AClientThatClosesItsHalfGetsItsAnswers()
    {
        Start();
        using var client = await ConnectAsync();
        await client.SendAsync(Framed("www.example", 1), Stop);
        client.Shutdown(SocketShutdown.Send);
        Assert.Equal("NOERROR\nwww.example. 60 A 192.0.2.9", DnsText.Show(await ReadAsync(client)));
        Assert.Equal(0, await client.ReceiveAsync(new byte[1], Stop));
    }

    [Fact]
    public async Task ATruncatedAnswerOfAnUpstreamIsFetchedByTcp()
    {
        _upstream.Answer = (query, byTcp) => byTcp ? DnsText.Reply(query, ResponseCode.NoError, "60 A 192.0.2.10") : DnsText.Truncated(query);
        Start();
        Assert.Equal("NOERROR\nbig.example. 60 A 192.0.2.10", await AskByUdpAsync("big.example"));
    }

    [Fact]
    public async Task AnUpstreamWhereNobodyListensCostsNoTime()
    {
        using var nobody = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        nobody.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        var dead = new UpstreamServer((IPEndPoint)nobody.LocalEndPoint!);
        nobody.Close();
        Start(options => options with { Upstreams = UpstreamTable.ForAll(dead, _upstream.Server) });
        Assert.Equal("NOERROR\nwww.example. 60 A 192.0.2.9", await AskByUdpAsync("www.example"));
        Assert.Equal(1, _server!.Upstreams[0].Failed);
    }

    [Fact]
    public async Task ASilentUpstreamIsFollowedByTheNextWithinASecond()
    {
        using var silent = new LoopbackUpstream { Answer = (_, _) => null };
        Start(options => options with { Upstreams = UpstreamTable.ForAll(silent.Server, _upstream.Server) });
        var began = Stopwatch.GetTimestamp();
        Assert.Equal("NOERROR\nwww.example. 60 A 192.0.2.9", await AskByUdpAsync("www.example"));
        output.WriteLine($"answered after {Stopwatch.GetElapsedTime(began).TotalMilliseconds:F0} ms");
        Assert.Equal(1, silent.Asked);
    }

    [Theory]
    [InlineData("dns.example", true)]
    [InlineData("other.example", false)]
    public async Task AnUpstreamIsAskedByTlsWhereItsCertificateIsForItsName(string name, bool isBelieved)
    {
        using var authority = new TlsAuthority();
        using var upstream = new LoopbackUpstream(authority.CertificateFor("dns.example"));
        Start(options => options with { Upstreams = UpstreamTable.ForAll(upstream.Server with { TlsName = name }), UpstreamAuthorities = authority.Roots });
        Assert.Equal(isBelieved ? "NOERROR\nwww.example. 60 A 192.0.2.9" : "SERVFAIL", await AskByUdpAsync("www.example"));
        Assert.Equal(isBelieved ? 1 : 0, upstream.Asked);
        if (!isBelieved)
            return;
        // By the same connection.
        Assert.Equal("NOERROR\nother.example. 60 A 192.0.2.9", await AskByUdpAsync("other.example"));
        Assert.Equal(1, upstream.Connections);
    }

    [Fact]
    public async Task UpstreamsCanBeChangedWhileItRuns()
    {
        using var other = new LoopbackUpstream { Answer = (query, _) => DnsText.Reply(query, ResponseCode.NoError, "60 A 192.0.2.77") };
        Start();
        await AskByUdpAsync("www.example");
        _server!.Use(UpstreamTable.ForAll(other.Server));
        await Eventually.HoldsAsync(() => _server.Upstreams[0].Server == other.Server, Soon);
        Assert.Equal("NOERROR\nnew.example. 60 A 192.0.2.77", await AskByUdpAsync("new.example"));
    }

    [Fact]
    public async Task BadBytesAreSurvivedAndOthersServed()
    {
        Start();
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        client.Connect(Address);
        var random = new Random(1);
        var query = DnsText.Query("web.demo.svc.cluster.local", RecordType.A, edns: 1232);
        for (var i = 0; i < 2_000; i++)
        {
            var bytes = (byte[])query.Clone();
            for (var flips = random.Next(1, 20); flips > 0; flips--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            client.Send(bytes.AsSpan(0, random.Next(bytes.Length + 1)));
        }

        client.Send(new byte[60_000]);
        Assert.StartsWith("NOERROR aa", await AskByUdpAsync("web.demo.svc.cluster.local"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ATooLongFrameOneByteAtATimeIsRefusedAndTheConnectionGoesOn()
    {
        Start();
        using var client = await ConnectAsync();
        byte[] frame = [0xFF, 0xFF, .. DnsText.Query("web.demo.svc.cluster.local", RecordType.A), .. Enumerable.Repeat((byte)0xFF, 65_535)];
        frame = frame[..(2 + 65_535)];
        // The count of records says that more follows, which is cut off.
        frame[2 + 11] = 9;
        foreach (var b in frame)
            await client.SendAsync((byte[])[b], Stop);
        Assert.Equal("FORMERR", DnsText.Show(await ReadAsync(client)));
        Assert.StartsWith("NOERROR aa", await AskAsync(client, "web.demo.svc.cluster.local"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task IdleConnectionsGiveWayAndEnd()
    {
        Start(options => options with { MaxConnections = 20, IdleTimeout = TimeSpan.FromSeconds(2) });
        var clients = new List<Socket>();
        for (var i = 0; i < 50; i++)
            clients.Add(await ConnectAsync());
        await Eventually.HoldsAsync(() => _server!.Sockets.Closed == 30, Soon);
        Assert.Equal(20, _server!.Sockets.Connections);
        using var last = await ConnectAsync();
        Assert.StartsWith("NOERROR aa", await AskAsync(last, "web.demo.svc.cluster.local"), StringComparison.Ordinal);
        // Half a length is no request: it does not keep the connection.
        await clients[^1].SendAsync((byte[])[0], Stop);
        await Eventually.HoldsAsync(() => _server.Sockets.Connections == 0, Soon);
        clients.ForEach(c => c.Dispose());
    }

    [Fact]
    public async Task StrangersAreRefused()
    {
        Start(options => options with { Allows = _ => false });
        Assert.Equal("REFUSED", await AskByUdpAsync("www.example"));
        Assert.Equal(0, _upstream.Asked);
    }

    [Fact]
    public async Task TheAgentItselfAsksAndLearnsWhere()
    {
        Start(options => options with { Allows = _ => false });
        Assert.Equal(AnswerSource.Zone, (await _server!.AskAsync("web.demo.svc.cluster.local", RecordType.A, Stop)).Source);
        Assert.Equal(AnswerSource.Upstream, (await _server.AskAsync("www.example", RecordType.A, Stop)).Source);
        var again = await _server.AskAsync("www.example", RecordType.A, Stop);
        Assert.Equal((AnswerSource.Cache, "NOERROR\nwww.example. 60 A 192.0.2.9"), (again.Source, DnsText.Show(again.Message).Replace(" 59 ", " 60 ", StringComparison.Ordinal)));
        await Assert.ThrowsAsync<ArgumentException>(() => _server.AskAsync("a..b", RecordType.A, Stop));
    }

    [Fact]
    public async Task AnUpstreamThatIsThisServerIsFound()
    {
        Start();
        _server!.Use(UpstreamTable.ForAll(new UpstreamServer(Address)));
        _server.LookForLoop();
        await Eventually.HoldsAsync(() => _server.SeesItself, Soon);
        await Eventually.HoldsAsync(() => _server.Pending == 0, Soon);
    }

    [Fact]
    public void ATakenAddressIsNamed()
    {
        using var taken = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        taken.Bind(Address);
        var fault = Assert.Throws<IOException>(() => Start());
        Assert.Contains(Address.ToString(), fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ASuccessorTakesOverWithoutALostQuestion()
    {
        Start();
        var successor = NameServer.Start(Options() with { Listen = _server!.Endpoints }, _zone, TimeProvider.System, NullLogger<NameServer>.Instance, new Supervisor(NullLogger<Supervisor>.Instance, TimeProvider.System));
        try
        {
            _server.SteerToFirst();
            Assert.StartsWith("NOERROR aa", await AskByUdpAsync("web.demo.svc.cluster.local"), StringComparison.Ordinal);
            Assert.Equal((1, 0), (_server.Counters.RequestsByUdp, successor.Counters.RequestsByUdp));
            // Each side does it, in either order.
            _server.SteerToSecond();
            successor.SteerToSecond();
            for (var i = 0; i < 20; i++)
                Assert.StartsWith("NOERROR aa", await AskByUdpAsync("web.demo.svc.cluster.local"), StringComparison.Ordinal);
            Assert.Equal((1, 20), (_server.Counters.RequestsByUdp, successor.Counters.RequestsByUdp));
            await _server.StopAsync(Soon);
            Assert.StartsWith("NOERROR aa", await AskByUdpAsync("web.demo.svc.cluster.local"), StringComparison.Ordinal);
        }
        finally
        {
            await successor.DisposeAsync();
        }
    }

    /// <summary>The loop's thread is asked from within, by the predicate that it calls for each request.</summary>
    [Fact]
    public async Task AnAnswerAtOnceAllocatesNothingInTheWholeLoop()
    {
        var allocated = new List<long>(20_000);
        Start(options => options with
        {
            Allows = _ =>
            {
                allocated.Add(GC.GetAllocatedBytesForCurrentThread());
                return true;
            },
        });
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        client.Connect(Address);
        var query = DnsText.Query("web.demo.svc.cluster.local", RecordType.A, edns: 1232);
        var buffer = new byte[1232];
        var began = Stopwatch.GetTimestamp();
        for (var i = 0; i < 5_000; i++)
        {
            client.Send(query);
            Assert.True(client.Receive(buffer) > 12);
        }

        output.WriteLine($"{5_000 / Stopwatch.GetElapsedTime(began).TotalSeconds:N0} questions a second, one after the other");
        var bytes = allocated[^1] - allocated[1_000];
        output.WriteLine($"{bytes / 4_000.0:F2} bytes allocated per answered question");
        Assert.InRange(bytes, 0, 4_000);
        await _server!.DisposeAsync();
    }

    private static ClusterZone MakeZone()
    {
        var zone = new ClusterZone(new ZoneOptions());
        zone.Take(ClusterObjects.Facts(ClusterObjects.Service("demo/web", "10.96.0.10", "http:80"), ClusterObjects.Service("demo/dual", "10.96.0.11", "http:80")));
        return zone;
    }

    private NameServerOptions Options() => new()
    {
        Listen = [InetEndpoint.From(Address)],
        Allows = _ => true,
        Upstreams = UpstreamTable.ForAll(_upstream.Server),
        Cache = new() { MaxPositive = 300 },
    };

    private void Start(Func<NameServerOptions, NameServerOptions>? change = null) =>
        _server = NameServer.Start(change is null ? Options() : change(Options()), _zone, TimeProvider.System, NullLogger<NameServer>.Instance, new Supervisor(NullLogger<Supervisor>.Instance, TimeProvider.System));

    private async Task<string> AskByUdpAsync(string name)
    {
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        await client.ConnectAsync(Address, Stop);
        await client.SendAsync(DnsText.Query(name, RecordType.A), Stop);
        var buffer = new byte[4096];
        return DnsText.Show(buffer, await client.ReceiveAsync(buffer, Stop).AsTask().WaitAsync(Soon, Stop));
    }

    private async Task<Socket> ConnectAsync()
    {
        var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await client.ConnectAsync(Address, Stop);
        return client;
    }

    private static async Task<string> AskAsync(Socket client, string name)
    {
        await client.SendAsync(Framed(name, 7), Stop);
        return DnsText.Show(await ReadAsync(client));
    }

    private static byte[] Framed(string name, ushort id)
    {
        var query = DnsText.Query(name, RecordType.A, id: id);
        return [(byte)(query.Length >> 8), (byte)query.Length, .. query];
    }

    private static async Task<byte[]> ReadAsync(Socket client)
    {
        var prefix = await ReadAsync(client, 2);
        return await ReadAsync(client, (prefix[0] << 8) | prefix[1]);
    }

    private static async Task<byte[]> ReadAsync(Socket client, int count)
    {
        var bytes = new byte[count];
        for (var at = 0; at < count;)
        {
            var read = await client.ReceiveAsync(bytes.AsMemory(at), Stop).AsTask().WaitAsync(Soon, Stop);
            Assert.NotEqual(0, read);
            at += read;
        }

        return bytes;
    }
}
