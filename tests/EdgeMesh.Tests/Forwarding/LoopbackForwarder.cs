using System.Collections.Frozen;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.Tests.Forwarding;

/// <summary>A forwarder on loopback whose connections were all going to <see cref="Service"/>, since no rule redirects them.</summary>
internal sealed class LoopbackForwarder : IAsyncDisposable
{
    public static readonly InetEndpoint Service = InetEndpoint.Parse("10.96.0.10:80");

    public static readonly ServicePortName Name = new("shop", "web", "http", TransportProtocol.Tcp);

    private volatile RouteTable _routes = RouteTable.Empty;

    public LoopbackForwarder(IEnumerable<EndPoint> endpoints, Func<ForwarderOptions, ForwarderOptions>? change = null, IHeartbeat? heartbeat = null, string listener = "127.0.0.1:0", InheritedSockets? inherited = null)
    {
        SetEndpoints(endpoints);
        var options = new ForwarderOptions
        {
            Listeners = [InetEndpoint.Parse(listener)],
            LoopCount = 2,
            DialMark = 0,
            OriginalDestination = (int _, bool _, out InetEndpoint destination) =>
            {
                destination = Service;
                return 0;
            },
        };
        Forwarder = new TcpForwarder(change?.Invoke(options) ?? options, () => _routes, heartbeat, NullLoggerFactory.Instance, TimeProvider.System);
        Forwarder.Start(inherited);
    }

    public TcpForwarder Forwarder { get; }

    public InetEndpoint Listener => Forwarder.Listeners[0];

    public long Refused(RefusalReason reason) => Forwarder.ReadStatistics().Refused[(int)reason];

    public long DialFailures(DialFailure reason) => Forwarder.ReadStatistics().DialFailures[(int)reason];

    private static IEnumerable<ServiceEndpoint> On(IEnumerable<EndPoint> endpoints, string?[] nodes) =>
        endpoints.Cast<IPEndPoint>().Select((e, i) => new ServiceEndpoint(
            InetEndpoint.From(e), i < nodes.Length && nodes[i] is { } node ? node : "edge-b", IsLocal: false));

    /// <param name="nodes">Through which node the tunnel reaches each; null: directly.</param>
    public void SetEndpoints(IEnumerable<EndPoint> endpoints, params string?[] nodes) => _routes = new RouteTable(new Dictionary<TransportAddress, Route>
    {
        [new TransportAddress(Service, TransportProtocol.Tcp)] = new Route
        {
            Service = Name,
            Endpoints = [.. On(endpoints, nodes)],
            Tunnelled = On(endpoints, nodes).Where((_, i) => i < nodes.Length && nodes[i] is not null).ToFrozenSet(),
        },
    }.ToFrozenDictionary());

    /// <param name="from">The client's address; null: any.</param>
    public async Task<Socket> ConnectAsync(string? from = null)
    {
        var address = Listener.Address.ToIPAddress();
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        if (from is not null)
            socket.Bind(new IPEndPoint(IPAddress.Parse(from), 0));
        await socket.ConnectAsync(new IPEndPoint(address, Listener.Port), TestContext.Current.CancellationToken);
        return socket;
    }

    public static TcpListener StartBackend(int backlog = 512)
    {
        var backend = new TcpListener(IPAddress.Loopback, 0);
        backend.Start(backlog);
        return backend;
    }

    /// <summary>An address that refuses: it was free a moment ago, and the socket that holds it does not listen.</summary>
    public static Socket HoldClosedPort()
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return socket;
    }

    /// <summary>A new connection is reset, be it while the client still connects or after.</summary>
    public async Task AssertRefusesAsync(string? from = null)
    {
        try
        {
            using var client = await ConnectAsync(from);
            await AssertResetAsync(client);
        }
        catch (SocketException e)
        {
            Assert.Equal(SocketError.ConnectionReset, e.SocketErrorCode);
        }
    }

    public static async Task AssertResetAsync(Socket socket)
    {
        var error = await Assert.ThrowsAsync<SocketException>(async () =>
        {
            while (await socket.ReceiveAsync(new byte[4096], TestContext.Current.CancellationToken) > 0)
            {
                // What came before the reset.
            }

            throw new InvalidOperationException("The stream ended without a reset.");
        }).WaitAsync(TimeSpan.FromSeconds(10));
        Assert.Equal(SocketError.ConnectionReset, error.SocketErrorCode);
    }

    public static async Task UntilAsync(Func<bool> condition, string what)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(5));
        while (!condition())
        {
            try
            {
                await timer.WaitForNextTickAsync(deadline.Token);
            }
            catch (OperationCanceledException)
            {
                Assert.Fail($"Within 10 s it did not happen that {what}.");
            }
        }
    }

    public ValueTask DisposeAsync() => Forwarder.DisposeAsync();
}
