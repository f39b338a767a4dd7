using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using EdgeMesh.Tunnel.Identity;
using Microsoft.Extensions.Logging;
using Xunit;

namespace EdgeMesh.Tests.Tunnel;

/// <summary>Whole mesh nodes in one process, over loopback. Each node has an address of its own, 127.0.x.y.</summary>
internal sealed class MeshLab : IAsyncDisposable
{
    internal const string KeyText = "q1Zt0mXw7Lr4Yc9Vb2Ns6Kd8Hf3Jg5Ta1Pe0Uo7Iz4w=";

    internal static readonly ServicePortName Web = new("shop", "web", "http", TransportProtocol.Tcp);
    private static readonly InetEndpoint SomeClient = InetEndpoint.Parse("10.9.8.7:40000");

    private readonly List<IAsyncDisposable> _parts = [];
    private readonly CancellationTokenSource _deadline = new(TimeSpan.FromSeconds(60));

    internal CancellationToken Token => _deadline.Token;

    internal CollectingLoggers Logs { get; } = new();

    internal static PresharedKeys Keys(params string[] keys) => PresharedKeys.Parse(string.Join('\n', keys.Length == 0 ? [KeyText] : keys), "the test's keys");

    internal async Task<MeshNode> NodeAsync(string name, string address, IEnumerable<MeshNode>? relays = null, Func<MeshOptions, MeshOptions>? change = null, TimeProvider? time = null)
    {
        var options = new MeshOptions
        {
            NodeName = name,
            Keys = Keys(),
            Listen = [InetEndpoint.Parse(address + ":0")],
            Relays = [.. (relays ?? []).Select(RelayOf)],
            DialMark = 0,
            AllowLoopback = true,
            Heartbeat = TimeSpan.FromMilliseconds(500),
            RangeCheck = TimeSpan.FromMilliseconds(200),
            LongestBackOff = TimeSpan.FromMilliseconds(500),
        };
        var node = new MeshNode(change?.Invoke(options) ?? options, Logs, time ?? TimeProvider.System);
        _parts.Add(node);
        await node.StartAsync();
        return node;
    }

    internal Task<MeshNode> RelayAsync(string name, string address, IEnumerable<MeshNode>? relays = null) =>
        NodeAsync(name, address, relays, o => o with { IsRelay = true });

    internal static RelayNode RelayOf(MeshNode node) => new(node.ReadStatus().NodeName, node.Listeners);

    /// <summary>Two nodes that see each other: the far one is configured as a relay of the near one, and lists the endpoint.</summary>
    internal async Task<(MeshNode Near, MeshNode Far)> TwoNodesAsync(InetEndpoint endpoint, Func<MeshOptions, MeshOptions>? change = null, TimeProvider? time = null)
    {
        var far = await NodeAsync("far", "127.0.40.2", change: o => (change?.Invoke(o) ?? o) with { IsRelay = true }, time: time);
        var near = await NodeAsync("near", "127.0.40.1", [far], change, time);
        Serve(far, new TransportAddress(endpoint, TransportProtocol.Tcp));
        await UntilState(near, "far", PeerState.Direct);
        Assert.True(near.CanReach("far"));
        return (near, far);
    }

    /// <summary>Two nodes that each see a relay, and not each other: they say no address of their own.</summary>
    internal async Task<(MeshNode Near, MeshNode Far, MeshNode Relay)> BehindRelayAsync(InetEndpoint endpoint)
    {
        var relay = await RelayAsync("relay", "127.0.42.3");
        var far = await NodeAsync("far", "127.0.42.2", [relay], o => o with { Listen = [] });
        var near = await NodeAsync("near", "127.0.42.1", [relay], o => o with { Listen = [] });
        Serve(far, new TransportAddress(endpoint, TransportProtocol.Tcp));
        await Until(() => relay.ReadStatus().Counts.Reservations == 2);
        Assert.True(near.CanReach("far"));
        return (near, far, relay);
    }

    /// <summary>An endpoint that runs <paramref name="serve"/> for each connection.</summary>
    internal InetEndpoint Endpoint(Func<Socket, CancellationToken, Task> serve)
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        _parts.Add(new Serving(listener, serve, Token));
        return At(listener);
    }

    /// <summary>Sends back whatever comes, and ends when its client does.</summary>
    internal InetEndpoint Echo() => Endpoint(async (socket, token) =>
    {
        var buffer = new byte[64 * 1024];
        int count;
        while ((count = await socket.ReceiveAsync(buffer, token)) > 0)
            await SendAsync(socket, buffer.AsMemory(0, count), token);
        socket.Shutdown(SocketShutdown.Send);
    });

    internal InetEndpoint DatagramEcho()
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _parts.Add(new Echoing(socket, Token));
        return At(socket);
    }

    /// <summary>A client whose connection is given to a node's tunnel, as the forwarding loops do.</summary>
    internal async Task<CarriedClient> CarryAsync(ITunnelDialer dialer, string node, InetEndpoint endpoint, byte[]? first = null,
        Func<TunnelDestination, TunnelRefusal, TunnelDestination?>? next = null, Func<TunnelDestination, TunnelDestination>? change = null)
    {
        using var listener = TcpListenSocket.Open(InetEndpoint.Parse("127.0.0.1:0"), 1, new PeerWatch());
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(IPAddress.Loopback, listener.Endpoint.Port, Token);
        var descriptor = TcpSocket.Accept(listener.Descriptor, out var peer);
        Assert.True(descriptor >= 0);
        var outcome = new TaskCompletionSource<TunnelOutcome>(TaskCreationOptions.RunContinuationsAsynchronously);
        var refusals = new ConcurrentQueue<TunnelRefusal>();
        var asked = Destination(node, endpoint, TransportProtocol.Tcp) with { Client = peer };
        CarryTo(change?.Invoke(asked) ?? asked);
        var client = new CarriedClient(socket, outcome.Task, refusals, Token);
        _parts.Add(client);
        return client;

        void CarryTo(TunnelDestination destination) => dialer.Carry(new TunnelledClient
        {
            Descriptor = descriptor,
            FirstBytes = first ?? [],
            Destination = destination,
            Refused = refusal =>
            {
                refusals.Enqueue(refusal);
                if (next?.Invoke(destination, refusal) is { } another)
                {
                    CarryTo(another);
                    return;
                }

                TcpSocket.Abort(descriptor);
                outcome.SetResult(new TunnelOutcome(destination, TunnelEnd.Refused, 0, 0));
            },
            Finished = o => outcome.SetResult(o),
        });
    }

    internal static TunnelDestination Destination(string node, InetEndpoint endpoint, TransportProtocol protocol) =>
        new(node, endpoint, protocol, Web with { Protocol = protocol }, SomeClient);

    /// <summary>The socket of a descriptor, which it owns from then on.</summary>
    internal static Socket Own(int descriptor) => new(new SafeSocketHandle(descriptor, ownsHandle: true));

    internal static void Serve(MeshNode node, params TransportAddress[] endpoints) => node.Update([.. endpoints]);

    internal static PeerStatus? Peer(MeshNode node, string name) => node.ReadStatus().Peers.FirstOrDefault(p => p.Name == name);

    internal static Task UntilState(MeshNode node, string peer, PeerState state, int seconds = 15) =>
        Until(() => Peer(node, peer)?.State == state, seconds, () => $"{node.ReadStatus().NodeName} -> {peer}: {Peer(node, peer)}");

    internal static async Task Until(Func<bool> condition, int seconds = 15, Func<string>? state = null)
    {
        var waited = Stopwatch.StartNew();
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(10));
        while (!condition())
        {
            if (waited.Elapsed.TotalSeconds > seconds)
                Assert.Fail($"what was waited for did not happen within {seconds} s; {state?.Invoke()}");
            await timer.WaitForNextTickAsync();
        }
    }

    internal static async Task SendAsync(Socket socket, ReadOnlyMemory<byte> bytes, CancellationToken token)
    {
        while (!bytes.IsEmpty)
            bytes = bytes[await socket.SendAsync(bytes, token)..];
    }

    internal static async Task<byte[]> ReceiveAllAsync(Socket socket, CancellationToken token)
    {
        using var all = new MemoryStream();
        var buffer = new byte[64 * 1024];
        int count;
        while ((count = await socket.ReceiveAsync(buffer, token)) > 0)
            all.Write(buffer, 0, count);
        return all.ToArray();
    }

    private static InetEndpoint At(Socket socket) => new(InetAddress.Parse("127.0.0.1"), (ushort)((IPEndPoint)socket.LocalEndPoint!).Port);

    public async ValueTask DisposeAsync()
    {
        foreach (var part in Enumerable.Reverse(_parts))
            await part.DisposeAsync();
        _deadline.Dispose();
        Logs.Dispose();
    }

    private sealed class Serving : IAsyncDisposable
    {
        private readonly Socket _listener;
        private readonly ConcurrentBag<Task> _connections = [];
        private readonly Task _accepting;

        internal Serving(Socket listener, Func<Socket, CancellationToken, Task> serve, CancellationToken token)
        {
            _listener = listener;
            _accepting = AcceptAsync(serve, token);
        }

        private async Task AcceptAsync(Func<Socket, CancellationToken, Task> serve, CancellationToken token)
        {
            try
            {
                while (true)
                {
                    var socket = await _listener.AcceptAsync(token);
                    _connections.Add(ServeAsync(socket, serve, token));
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
            {
                // The test is over.
            }
        }

        private static async Task ServeAsync(Socket socket, Func<Socket, CancellationToken, Task> serve, CancellationToken token)
        {
            using (socket)
            {
                try
                {
                    await serve(socket, token);
                }
                catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
                {
                    // The client broke off, which some tests do on purpose.
                }
            }
        }

        public async ValueTask DisposeAsync()
        {
            _listener.Dispose();
            await _accepting;
        }
    }

    private sealed class Echoing : IAsyncDisposable
    {
        private readonly Socket _socket;
        private readonly Task _running;

        internal Echoing(Socket socket, CancellationToken token)
        {
            _socket = socket;
            _running = RunAsync(token);
        }

        private async Task RunAsync(CancellationToken token)
        {
            var buffer = new byte[64 * 1024];
            try
            {
                while (true)
                {
                    var got = await _socket.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(IPAddress.Any, 0), token);
                    await _socket.SendToAsync(buffer.AsMemory(0, got.ReceivedBytes), got.RemoteEndPoint, token);
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
            {
                // The test is over.
            }
        }

        public async ValueTask DisposeAsync()
        {
            _socket.Dispose();
            await _running;
        }
    }
}

/// <summary>The client's end of a connection in the tunnel.</summary>
internal sealed class CarriedClient(Socket socket, Task<TunnelOutcome> outcome, ConcurrentQueue<TunnelRefusal> refusals, CancellationToken token) : IAsyncDisposable
{
    internal Socket Socket => socket;

    internal Task<TunnelOutcome> Outcome => outcome.WaitAsync(token);

    internal IReadOnlyCollection<TunnelRefusal> Refusals => refusals;

    internal Task SendAsync(ReadOnlyMemory<byte> bytes) => MeshLab.SendAsync(socket, bytes, token);

    internal async Task<byte[]> ReceiveAsync(int count)
    {
        var bytes = new byte[count];
        for (var got = 0; got < count;)
        {
            var some = await socket.ReceiveAsync(bytes.AsMemory(got), token);
            Assert.NotEqual(0, some);
            got += some;
        }

        return bytes;
    }

    internal Task<byte[]> ReceiveAllAsync() => MeshLab.ReceiveAllAsync(socket, token);

    public ValueTask DisposeAsync()
    {
        socket.Dispose();
        return ValueTask.CompletedTask;
    }
}

/// <summary>Keeps what all nodes of a lab log.</summary>
internal sealed class CollectingLoggers : ILoggerFactory
{
    private readonly EdgeMesh.Testing.CollectingLogger<MeshLab> _logger = new();

    internal IEnumerable<string> Warnings => _logger.Lines.Where(l => l.Level >= LogLevel.Warning).Select(l => l.Text);

    internal IEnumerable<string> All => _logger.Lines.Select(l => $"{l.Level}: {l.Text}");

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

    public ILogger CreateLogger(string categoryName) => _logger;

    public void Dispose()
    {
    }
}
