using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Forwarding.Udp;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Testing.Lab;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.Tests.Forwarding.Udp;

/// <summary>The forwarder on loopback, with the answer of conntrack made up: no rules and no root are needed.</summary>
public sealed class UdpForwarderTests
{
    private static readonly TimeSpan _deadline = TimeSpan.FromSeconds(5);
    private static readonly InetEndpoint _service = InetEndpoint.Parse("10.96.0.10:53");
    private static readonly ServicePortName _name = new("default", "echo", "dns", TransportProtocol.Udp);

    private readonly InetEndpoint _listener = FreeEndpoint("127.0.0.1");
    private InetEndpoint _original = _service;
    private int _lookups;

    [Theory]
    [InlineData("127.0.0.1", 0)]
    [InlineData("127.0.0.1", 1)]
    [InlineData("127.0.0.1", 65_507)]
    [InlineData("::1", 512)]
    [InlineData("::1", 65_487)]
    public async Task ADatagramOfAnySizeComesBack(string loopback, int size)
    {
        using var echo = new EchoServer(loopback);
        var listener = FreeEndpoint(loopback);
        await using var forwarder = Start(Routes(echo.Endpoint), listener: listener);
        using var client = Client(listener);
        var datagram = new byte[size];
        new Random(1).NextBytes(datagram);

        Assert.Equal(datagram, await NamespaceLab.ExchangeAsync(client, datagram));
        // The answer is counted once it has been sent, so it may be here first.
        await Eventually.HoldsAsync(() => forwarder.Statistics().DatagramsToClients == 1, _deadline);
        var statistics = forwarder.Statistics();
        Assert.Equal((1, 1, size, size), (statistics.FlowsOpened, statistics.FlowsActive, statistics.BytesToEndpoints, statistics.BytesToClients));
        var service = Assert.Single(forwarder.ServiceStatistics());
        Assert.Equal(new UdpServiceStatistics(_name, 1, 1, 0, size, size), service);
    }

    [Fact]
    public async Task AFlowToAnotherNodeGoesThroughTheTunnelAndStaysThereWhenTheDirectWayOpens()
    {
        var tunnel = new FakeTunnel();
        using var echo = new EchoServer("127.0.0.1", "direct");
        await using var forwarder = Start(Routes([echo.Endpoint], ["edge-b"]), change: options => options with { Tunnel = tunnel });
        using var client = Client(_listener);
        foreach (var size in (int[])[3, 0, 65_000])
            Assert.Equal(new byte[size], await NamespaceLab.ExchangeAsync(client, new byte[size]));
        Assert.Equal(("edge-b", echo.Endpoint, _name), (tunnel.Flows.Single().Node, tunnel.Flows.Single().Endpoint, tunnel.Flows.Single().Service));

        forwarder.Use(Routes(echo.Endpoint));

        Assert.Equal("WHO", await AskAsync(client));
        using var other = Client(_listener);
        Assert.Equal("direct", await AskAsync(other));
    }

    [Fact]
    public async Task AFlowWhoseDirectWayIsLostGoesOnThroughTheTunnel()
    {
        var tunnel = new FakeTunnel();
        using var echo = new EchoServer("127.0.0.1", "direct");
        await using var forwarder = Start(Routes(echo.Endpoint), change: options => options with { Tunnel = tunnel });
        using var client = Client(_listener);
        Assert.Equal("direct", await AskAsync(client));

        forwarder.Use(Routes([echo.Endpoint], ["edge-b"]));

        Assert.Equal("WHO", await AskAsync(client));
        Assert.Single(tunnel.Flows);
    }

    [Fact]
    public async Task AFlowThatTheTunnelLetsGoOfIsClosedAtOnceAndTheNextDatagramOpensAnother()
    {
        var tunnel = new FakeTunnel();
        await using var forwarder = Start(Routes([InetEndpoint.Parse("10.0.0.9:53")], ["edge-b"]), change: options => options with { Tunnel = tunnel });
        using var client = Client(_listener);
        Assert.Equal("WHO", await AskAsync(client));

        tunnel.EndFlows();

        await Eventually.HoldsAsync(() => forwarder.Statistics() is { FlowsActive: 0 } seen && seen.FlowsClosed[(int)UdpCloseReason.TunnelEnded] == 1, _deadline);
        Assert.Equal(1, forwarder.Statistics().DatagramsToClients);
        Assert.Equal("WHO", await AskAsync(client));
        Assert.Equal(2, tunnel.Flows.Count);
    }

    [Fact]
    public async Task ANodeThatTakesNoFlowIsFollowedByTheNextEndpoint()
    {
        var tunnel = new FakeTunnel();
        tunnel.Refuses["edge-b"] = EdgeMesh.Tunnel.TunnelRefusal.NoSession;
        using var echo = new EchoServer("127.0.0.1", "direct");
        await using var forwarder = Start(Routes([InetEndpoint.Parse("10.0.0.9:53"), echo.Endpoint], ["edge-b", null]), change: options => options with { Tunnel = tunnel });
        for (var i = 0; i < 4; i++)
        {
            using var client = Client(_listener);
            Assert.Equal("direct", await AskAsync(client));
        }
    }

    [Fact]
    public async Task OneClientStaysWithItsEndpointAndTwoClientsAreSpread()
    {
        using var first = new EchoServer("127.0.0.1", "first");
        using var second = new EchoServer("127.0.0.1", "second");
        await using var forwarder = Start(Routes(first.Endpoint, second.Endpoint));
        using var one = Client(_listener);
        using var other = Client(_listener);

        var (mine, theirs) = (await AskAsync(one), await AskAsync(other));
        Assert.Equal(["first", "second"], new[] { mine, theirs }.Order());
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(mine, await AskAsync(one));
            Assert.Equal(theirs, await AskAsync(other));
        }

        Assert.Equal(2, forwarder.Statistics().FlowsOpened);
        Assert.Equal(2, _lookups);
    }

    [Fact]
    public async Task AnEndpointThatRefusesIsLeftForTheNext()
    {
        using var alive = new EchoServer("127.0.0.1", "alive");
        // Below every range that the kernel gives out: a port that was free a moment ago may be another test's by now.
        var dead = InetEndpoint.Parse("127.0.0.1:1");
        await using var forwarder = Start(Routes(dead, alive.Endpoint));
        using var client = Client(_listener);
        using var other = Client(_listener);

        // One of two new flows meets the dead one, or both: a flow that has moved on took the turn of the one alive. The datagram
        // that finds out is lost, as it is without a proxy, and the kernel bounds how often it says so for the whole machine:
        // the clients ask again, as clients of UDP do.
        await Eventually.SeesAsync(
            () =>
            {
                client.Send("WHO"u8);
                other.Send("WHO"u8);
                return forwarder.Statistics();
            },
            seen => seen is { FlowsMoved: 1 or 2, DatagramsToClients: > 0 },
            _deadline);
        foreach (var socket in (Socket[])[client, other])
            Assert.Equal("alive", await AskAsync(socket));

        var statistics = forwarder.Statistics();
        Assert.Equal(statistics.FlowsMoved, statistics.EndpointFailures);
    }

    [Fact]
    public async Task WithAffinityAllFlowsOfAClientAddressGoToOneEndpoint()
    {
        using var first = new EchoServer("127.0.0.1", "first");
        using var second = new EchoServer("127.0.0.1", "second");
        var route = new Route { Service = _name, Endpoints = [Place(first.Endpoint), Place(second.Endpoint)], ClientIPAffinity = TimeSpan.FromHours(3) };
        await using var forwarder = Start(new RouteTable(
            new Dictionary<TransportAddress, Route> { [new TransportAddress(_service, TransportProtocol.Udp)] = route }.ToFrozenDictionary()));
        var answers = new HashSet<string>();
        for (var i = 0; i < 6; i++)
        {
            using var client = Client(_listener);
            answers.Add(await AskAsync(client));
        }

        Assert.Single(answers);
        Assert.Equal(6, forwarder.Statistics().FlowsOpened);
    }

    [Fact]
    public async Task TheOnlyEndpointGetsASecondChanceWhenItIsUpAgain()
    {
        var endpoint = FreeEndpoint("127.0.0.1");
        await using var forwarder = Start(Routes(endpoint));
        using var client = Client(_listener);
        await client.SendAsync("lost"u8.ToArray());
        await Eventually.HoldsAsync(() => forwarder.Statistics().EndpointFailures == 1, _deadline);

        using var back = new EchoServer("127.0.0.1", "back", endpoint.Port);

        Assert.Equal("back", await AskAsync(client));
        Assert.Equal(1, forwarder.Statistics().FlowsOpened);
    }

    [Fact]
    public async Task AFlowWhoseEndpointLeavesTheRouteCloses()
    {
        using var first = new EchoServer("127.0.0.1", "first");
        using var second = new EchoServer("127.0.0.1", "second");
        await using var forwarder = Start(Routes(first.Endpoint));
        using var client = Client(_listener);
        Assert.Equal("first", await AskAsync(client));

        forwarder.Use(Routes(second.Endpoint));

        await Eventually.HoldsAsync(() => forwarder.Statistics().FlowsActive == 0, _deadline);
        Assert.Equal(1, forwarder.Statistics().FlowsClosed[(int)UdpCloseReason.RouteChanged]);
        Assert.Equal("second", await AskAsync(client));
    }

    [Fact]
    public async Task AFlowThatKeepsItsEndpointOutlivesAChangeOfRoutes()
    {
        using var first = new EchoServer("127.0.0.1", "first");
        using var second = new EchoServer("127.0.0.1", "second");
        await using var forwarder = Start(Routes(first.Endpoint));
        using var client = Client(_listener);
        Assert.Equal("first", await AskAsync(client));

        forwarder.Use(Routes(second.Endpoint, first.Endpoint));

        Assert.Equal("first", await AskAsync(client));
        Assert.Equal(1, forwarder.Statistics().FlowsOpened);
    }

    [Fact]
    public async Task AtTheBoundTheFlowThatWasIdleLongestGivesWay()
    {
        using var echo = new EchoServer("127.0.0.1");
        await using var forwarder = Start(Routes(echo.Endpoint), options => options with { MaxFlows = 2 });
        using var first = Client(_listener);
        using var second = Client(_listener);
        using var third = Client(_listener);
        await NamespaceLab.ExchangeAsync(first, [1]);
        await NamespaceLab.ExchangeAsync(second, [1]);
        await NamespaceLab.ExchangeAsync(third, [1]);
        Assert.Equal(2, forwarder.Statistics().FlowsActive);
        Assert.Equal(1, forwarder.Statistics().FlowsClosed[(int)UdpCloseReason.Evicted]);

        // The second still has its flow, and the first gets a new one.
        await NamespaceLab.ExchangeAsync(second, [2]);
        Assert.Equal(3, forwarder.Statistics().FlowsOpened);
        await NamespaceLab.ExchangeAsync(first, [2]);
        Assert.Equal(4, forwarder.Statistics().FlowsOpened);
    }

    [Fact]
    public async Task AnIdleFlowCloses()
    {
        using var echo = new EchoServer("127.0.0.1");
        await using var forwarder = Start(Routes(echo.Endpoint), options => options with { IdleTimeout = TimeSpan.FromMilliseconds(100) });
        using var client = Client(_listener);
        await NamespaceLab.ExchangeAsync(client, [1]);

        await Eventually.HoldsAsync(() => forwarder.Statistics().FlowsActive == 0, _deadline);
        Assert.Equal(1, forwarder.Statistics().FlowsClosed[(int)UdpCloseReason.Idle]);
        Assert.Equal([1], await NamespaceLab.ExchangeAsync(client, [1]));
    }

    [Fact]
    public async Task AFlowThatWentBothWaysForTwoSecondsIsKeptAsLongAsConntrackKeepsItAndOthersAreNot()
    {
        using var echo = new EchoServer("127.0.0.1");
        // Takes everything and answers nothing, as syslog does.
        using var silent = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        silent.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        var clock = new TurnableClock();
        var other = InetEndpoint.Parse("10.96.0.11:514");
        var routes = new RouteTable(Routes(echo.Endpoint).Routes.Append(new(
            new TransportAddress(other, TransportProtocol.Udp),
            new Route { Service = _name with { Name = "syslog" }, Endpoints = [Place(InetEndpoint.Parse(silent.LocalEndPoint!.ToString()!))] })).ToFrozenDictionary());
        await using var forwarder = Start(routes, clock: clock);
        using var asked = Client(_listener);
        using var talking = Client(_listener);
        using var oneWay = Client(_listener);
        await NamespaceLab.ExchangeAsync(talking, [1]);
        _original = other;
        oneWay.Send([1]);
        await Eventually.HoldsAsync(() => forwarder.Statistics().FlowsActive == 2, _deadline);
        _original = _service;
        clock.Turn(TimeSpan.FromSeconds(2.5));
        await NamespaceLab.ExchangeAsync(talking, [1]);
        await NamespaceLab.ExchangeAsync(asked, [1]);
        oneWay.Send([1]);
        await Eventually.HoldsAsync(() => forwarder.Statistics().DatagramsToEndpoints == 5, _deadline);

        // A question and its answer, and what goes one way however long, last half a minute.
        clock.Turn(TimeSpan.FromSeconds(20));
        forwarder.Use(routes);
        await NamespaceLab.ExchangeAsync(asked, [1]);
        Assert.Equal(3, forwarder.Statistics().FlowsActive);
        clock.Turn(TimeSpan.FromSeconds(12));
        await IdleAsync(1);
        Assert.Equal([2], await NamespaceLab.ExchangeAsync(asked, [2]));
        Assert.Equal(3, forwarder.Statistics().FlowsOpened);

        // By now the second is a stream too, and the first has been silent for longer.
        clock.Turn(TimeSpan.FromSeconds(75));
        forwarder.Use(routes);
        _original = other;
        oneWay.Send([1]);
        await Eventually.HoldsAsync(() => forwarder.Statistics().FlowsOpened == 4, _deadline);
        Assert.Equal(3, forwarder.Statistics().FlowsActive);
        clock.Turn(TimeSpan.FromSeconds(15));
        await IdleAsync(2);
        Assert.Equal(2, forwarder.Statistics().FlowsActive);

        Task IdleAsync(int flows) => Eventually.SeesAsync(
            () => forwarder.Statistics(), seen => seen.FlowsClosed[(int)UdpCloseReason.Idle] == flows, _deadline);
    }

    [Fact]
    public async Task TheTimesAreThoseThatThisNodeHas()
    {
        using var echo = new EchoServer("127.0.0.1");
        var clock = new TurnableClock();
        await using var forwarder = Start(
            Routes(echo.Endpoint), options => options with { IdleTimeout = TimeSpan.FromSeconds(600), UnassuredTimeout = TimeSpan.FromSeconds(5) }, clock: clock);
        using var asked = Client(_listener);
        using var talking = Client(_listener);
        await NamespaceLab.ExchangeAsync(talking, [1]);
        clock.Turn(TimeSpan.FromSeconds(3));
        await NamespaceLab.ExchangeAsync(talking, [1]);
        await NamespaceLab.ExchangeAsync(asked, [1]);

        clock.Turn(TimeSpan.FromSeconds(6));

        await Eventually.HoldsAsync(() => forwarder.Statistics().FlowsClosed[(int)UdpCloseReason.Idle] == 1, _deadline);
        clock.Turn(TimeSpan.FromSeconds(580));
        await NamespaceLab.ExchangeAsync(asked, [1]);
        Assert.Equal((2, 3), (forwarder.Statistics().FlowsActive, forwarder.Statistics().FlowsOpened));
        clock.Turn(TimeSpan.FromSeconds(30));
        await Eventually.HoldsAsync(() => forwarder.Statistics().FlowsActive == 0, _deadline);
    }

    [Fact]
    public async Task AfterAPauseAClientPortThatNowBelongsToAnotherServiceGoesThere()
    {
        using var first = new EchoServer("127.0.0.1", "first");
        using var second = new EchoServer("127.0.0.1", "second");
        var other = InetEndpoint.Parse("10.96.0.11:53");
        var clock = new TurnableClock();
        var otherRoute = new Route { Service = _name with { Name = "other" }, Endpoints = [Place(second.Endpoint)] };
        var routes = new RouteTable(Routes(first.Endpoint).Routes
            .Append(new(new TransportAddress(other, TransportProtocol.Udp), otherRoute)).ToFrozenDictionary());
        await using var forwarder = Start(routes, clock: clock);
        using var client = Client(_listener);
        Assert.Equal("first", await AskAsync(client));

        _original = other;
        clock.Turn(TimeSpan.FromSeconds(9));
        Assert.Equal("first", await AskAsync(client));
        Assert.Equal(1, _lookups);
        clock.Turn(TimeSpan.FromSeconds(11));
        Assert.Equal("second", await AskAsync(client));
        Assert.Equal(1, forwarder.Statistics().FlowsClosed[(int)UdpCloseReason.Reused]);
    }

    [Fact]
    public async Task WhatNobodyRedirectedOrNobodyServesIsDroppedAndCounted()
    {
        await using var forwarder = Start(Routes());
        using var client = Client(_listener);

        await DropsAsync(UdpDropReason.NoEndpoints);
        _original = InetEndpoint.Parse("10.96.9.9:53");
        await DropsAsync(UdpDropReason.NoRoute);
        _original = _listener;
        await DropsAsync(UdpDropReason.NotRedirected);
        Assert.Equal(0, forwarder.Statistics().FlowsOpened);

        async Task DropsAsync(UdpDropReason reason)
        {
            await client.SendAsync("x"u8.ToArray());
            await Eventually.HoldsAsync(() => forwarder.Statistics().Dropped[(int)reason] == 1, _deadline);
        }
    }

    [Fact]
    public async Task DrainingTakesNoNewFlowsLetsOldOnesAnswerAndEndsByItself()
    {
        using var echo = new EchoServer("127.0.0.1");
        await using var forwarder = Start(Routes(echo.Endpoint));
        using var old = Client(_listener);
        using var late = Client(_listener);
        await NamespaceLab.ExchangeAsync(old, [1]);

        forwarder.StopAccepting();
        await late.SendAsync("x"u8.ToArray());
        await Eventually.HoldsAsync(() => forwarder.Statistics().Dropped[(int)UdpDropReason.Stopping] == 1, _deadline);
        Assert.Equal([2], await NamespaceLab.ExchangeAsync(old, [2]));

        Assert.True(await forwarder.DrainAsync(TimeSpan.FromSeconds(10), TimeProvider.System));
        Assert.Equal(0, forwarder.Statistics().FlowsActive);
        forwarder.Use(RouteTable.Empty);
    }

    [Fact]
    public async Task NoDescriptorIsLeftBehind()
    {
        using var echo = new EchoServer("127.0.0.1");
        await Round();
        var before = UdpDescriptorsOf(echo);
        await Round();
        Assert.Equal(before, UdpDescriptorsOf(echo));

        async Task Round()
        {
            await using var forwarder = Start(Routes(echo.Endpoint));
            // All at once: the port of a client that is gone may be the next one's, and with it the flow.
            var clients = Enumerable.Range(0, 20).Select(_ => Client(_listener)).ToList();
            foreach (var client in clients)
                await NamespaceLab.ExchangeAsync(client, [1]);

            // The kernel's list may miss a line while sockets of other tests come and go.
            await Eventually.HoldsAsync(() => UdpDescriptorsOf(echo) == 20, _deadline);
            foreach (var client in clients)
                client.Dispose();
        }

        // Sockets connected to this echo server, whoever else runs tests in this process.
        static int UdpDescriptorsOf(EchoServer echo)
        {
            var remote = $"0100007F:{echo.Endpoint.Port:X4}";
            return File.ReadLines("/proc/net/udp").Count(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[2] == remote);
        }
    }

    [Fact]
    public void AListenerThatCannotBeOpenedSaysWhich()
    {
        var elsewhere = InetEndpoint.Parse("192.0.2.1:20007");
        var failure = Assert.Throws<IOException>(() => Start(Routes(), listener: elsewhere));
        Assert.Contains("192.0.2.1:20007", failure.Message, StringComparison.Ordinal);
    }

    private UdpForwarder Start(
        RouteTable routes, Func<UdpForwarderOptions, UdpForwarderOptions>? change = null, InetEndpoint? listener = null, TimeProvider? clock = null)
    {
        var options = new UdpForwarderOptions
        {
            Listeners = [listener ?? _listener],
            Mark = 0,
            OriginalDestination = (in InetEndpoint _, in InetEndpoint _, out InetEndpoint original, out int errno) =>
            {
                Interlocked.Increment(ref _lookups);
                original = _original;
                errno = 0;
                return ConntrackAnswer.Found;
            },
        };
        return UdpForwarder.Start(change?.Invoke(options) ?? options, routes, clock ?? TimeProvider.System, NullLogger<UdpForwarder>.Instance);
    }

    private static RouteTable Routes(params ImmutableArray<InetEndpoint> endpoints) => Routes(endpoints, []);

    private static ServiceEndpoint Place(InetEndpoint address) => new(address, "edge-b", IsLocal: false);

    private static RouteTable Routes(ImmutableArray<InetEndpoint> endpoints, ImmutableArray<string?> nodes) =>
        new(new Dictionary<TransportAddress, Route>
        {
            [new TransportAddress(_service, TransportProtocol.Udp)] = new Route
            {
                Service = _name,
                Endpoints = [.. endpoints.Select(Place)],
                Tunnelled = endpoints.Where((_, i) => i < nodes.Length && nodes[i] is not null).Select(Place).ToFrozenSet(),
            },
        }.ToFrozenDictionary());

    private static async Task<string> AskAsync(Socket client) =>
        System.Text.Encoding.ASCII.GetString(await NamespaceLab.ExchangeAsync(client, "WHO"u8.ToArray()));

    private static Socket Client(InetEndpoint listener)
    {
        var socket = new Socket(listener.Address.IsIPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        socket.Connect(listener.ToIPEndPoint());
        return socket;
    }

    private static InetEndpoint FreeEndpoint(string loopback)
    {
        var address = IPAddress.Parse(loopback);
        using var socket = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        socket.Bind(new IPEndPoint(address, 0));
        return new InetEndpoint(InetAddress.From(address), (ushort)((IPEndPoint)socket.LocalEndPoint!).Port);
    }

    private sealed class TurnableClock : TimeProvider
    {
        private long _offset;

        public override long GetTimestamp() => System.GetTimestamp() + Volatile.Read(ref _offset);

        public void Turn(TimeSpan by) => Interlocked.Add(ref _offset, (long)(by.TotalSeconds * TimestampFrequency));
    }

    /// <summary>Sends back what it gets; WHO is answered with its name.</summary>
    private sealed class EchoServer : IDisposable
    {
        private readonly Socket _socket;
        private readonly byte[] _name;

        public EchoServer(string loopback, string name = "echo", int port = 0)
        {
            var address = IPAddress.Parse(loopback);
            _name = System.Text.Encoding.ASCII.GetBytes(name);
            _socket = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            _socket.Bind(new IPEndPoint(address, port));
            Endpoint = new InetEndpoint(InetAddress.From(address), (ushort)((IPEndPoint)_socket.LocalEndPoint!).Port);
            _ = ServeAsync();
        }

        public InetEndpoint Endpoint { get; }

        public void Dispose() => _socket.Dispose();

        private async Task ServeAsync()
        {
            var buffer = new byte[65_536];
            try
            {
                while (true)
                {
                    var got = await _socket.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(IPAddress.Any.MapToFamily(_socket), 0));
                    var answer = buffer.AsMemory(0, got.ReceivedBytes);
                    await _socket.SendToAsync(answer.Span.SequenceEqual("WHO"u8) ? _name : answer, SocketFlags.None, got.RemoteEndPoint);
                }
            }
            catch (Exception end) when (end is SocketException or ObjectDisposedException)
            {
                // The test is over.
            }
        }
    }
}

file static class AnyAddress
{
    public static IPAddress MapToFamily(this IPAddress any, Socket socket) =>
        socket.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : any;
}
