using System.Collections.Immutable;
using System.Net;
using EdgeMesh.Agent.Options;
using EdgeMesh.Catalog;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Supervision;
using EdgeMesh.Tunnel;
using EdgeMesh.Tunnel.Identity;
using Microsoft.Extensions.Logging;
using ConfiguredRelay = EdgeMesh.Agent.Options.RelayNode;

namespace EdgeMesh.Agent.Hosting.Tunnel;

/// <summary>This node in the mesh, from its key file to its end. A tunnel that cannot be is a notice and no more: services
/// whose endpoints can be reached directly are better off with an agent than without.</summary>
internal sealed partial class TunnelPart : IAsyncDisposable
{
    private static readonly TimeSpan LongestHeartbeat = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan ListenRetry = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan TakingOver = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan ResolveAgain = TimeSpan.FromSeconds(60);

    private readonly MeshNode _mesh;
    private readonly EdgeTunnelOptions _options;
    private readonly string _ownDevice;
    private readonly TimeProvider _time;
    private readonly ILogger<TunnelPart> _logger;
    private readonly TunnelMetrics _metrics;
    private ImmutableHashSet<string> _saidUnusable = [];
    private ImmutableHashSet<string> _kept = [];
    private ImmutableArray<AddressRange> _advertised = [];
    private volatile string? _fault;

    private TunnelPart(MeshNode mesh, AgentOptions options, TimeProvider time, ILogger<TunnelPart> logger)
    {
        _mesh = mesh;
        _options = options.Tunnel;
        _ownDevice = options.DeviceName;
        _time = time;
        _logger = logger;
        _metrics = new TunnelMetrics(mesh);
    }

    public ITunnelDialer Dialer => _mesh;

    public Reachability Reachability => _mesh.Reachability;

    /// <summary>Told, on any thread, when <see cref="Reachability"/> decides otherwise than before; must be quick.</summary>
    public Action<Reachability>? ReachabilityChanged
    {
        set => _mesh.ReachabilityChanged = value;
    }

    /// <summary>Why the tunnel does not work yet; null while it does.</summary>
    public string? Fault => _fault;

    public TunnelLoopState Loop => _mesh.Loop;

    public MeshStatus ReadStatus() => _mesh.ReadStatus();

    /// <param name="notice">Why there is none although it is enabled, or what to mend although there is one; else null.</param>
    /// <returns>Null where the tunnel is off.</returns>
    public static TunnelPart? Create(AgentOptions options, ILoggerFactory loggers, TimeProvider time, Supervisor supervisor, out string? notice)
    {
        notice = null;
        if (!options.Tunnel.Enable)
            return null;
        try
        {
            var keys = PresharedKeys.Read(options.Tunnel.PskPath);
            notice = keys.Notice;
            return Create(options, keys, loggers, time, supervisor);
        }
        catch (Exception fault) when (fault is PresharedKeyException or NetlinkException)
        {
            notice = $"The tunnel is off: {fault.Message}";
        }
        catch (Exception fault) when (fault is DllNotFoundException or EntryPointNotFoundException)
        {
            notice = $"The tunnel is off: it needs libcrypto of OpenSSL 3, which is not on this machine ({fault.Message.ReplaceLineEndings(" ")}). Install libssl3.";
        }

        return null;
    }

    private static TunnelPart Create(AgentOptions options, PresharedKeys keys, ILoggerFactory loggers, TimeProvider time, Supervisor supervisor)
    {
        var tunnel = options.Tunnel;
        var addresses = TunnelAddresses.Of(tunnel, options.DeviceName, NodeAddresses.List());
        var mesh = new MeshNode(
            new MeshOptions
            {
                NodeName = options.NodeName,
                Keys = keys,
                Listen = addresses.Listen,
                // All nodes of a mesh have the same port.
                AnnouncedPort = checked((ushort)tunnel.ListenPort),
                Advertise = addresses.Advertise,
                Ranges = addresses.Ranges,
                DiscoveryAddresses = addresses.Discovery,
                IsRelay = tunnel.RelayNodes.Any(relay => relay.NodeName == options.NodeName),
                Limits = tunnel.Limits is { } limits
                    ? new TunnelLimits
                    {
                        StreamsIn = limits.StreamsIn,
                        StreamsOut = limits.StreamsOut,
                        StreamsInPerPeer = limits.PeerStreamsIn,
                        StreamsOutPerPeer = limits.PeerStreamsOut,
                    }
                    : Unlimited,
                Heartbeat = tunnel.HeartbeatPeriod < LongestHeartbeat ? tunnel.HeartbeatPeriod : LongestHeartbeat,
                PollingLimit = Polling.TunnelLimit,
                DatagramIdle = ConntrackTimeouts.Read().UdpStream,
            },
            loggers, time, supervisor);
        return new TunnelPart(mesh, options, time, loggers.CreateLogger<TunnelPart>()) { _advertised = addresses.Ranges };
    }

    /// <summary>Joins the mesh and stays until cancelled.</summary>
    /// <param name="relays">As configured now; asked again at every change and, where DNS is needed, from time to time.</param>
    public async Task RunAsync(Func<ImmutableArray<ConfiguredRelay>> relays, CancellationToken cancellationToken)
    {
        await ListenAsync(cancellationToken);
        while (true)
        {
            var wanted = relays();
            var resolved = await RelayAddresses.ResolveAsync(
                wanted, _options.ListenPort, (name, token) => System.Net.Dns.GetHostAddressesAsync(name, token), SayUnusable, cancellationToken);
            _mesh.ReloadRelays(resolved);
            var since = _time.GetTimestamp();
            using var timer = new PeriodicTimer(LookAgain, _time);
            while (relays() == wanted && !(RelayAddresses.NeedDns(wanted) && _time.GetElapsedTime(since) > ResolveAgain))
            {
                await timer.WaitForNextTickAsync(cancellationToken);
                await AdvertiseAsync();
            }
        }
    }

    /// <summary>Bridges of pod networks come with the first pod, and addresses with their lease.</summary>
    private async Task AdvertiseAsync()
    {
        ImmutableArray<AddressRange> ranges;
        try
        {
            ranges = TunnelAddresses.Of(_options, _ownDevice, NodeAddresses.List()).Ranges;
        }
        catch (NetlinkException)
        {
            // What was said before stays said; the next look is soon.
            return;
        }

        if (ranges.SequenceEqual(_advertised))
            return;
        _advertised = ranges;
        await _mesh.AdvertiseAsync(ranges);
    }

    /// <summary>What runs on this node is what is dialled for peers; what runs elsewhere says which nodes matter to this one.</summary>
    public void Update(ServiceCatalog catalog)
    {
        _mesh.Update(catalog.LocalEndpoints);
        var nodes = new HashSet<string>(StringComparer.Ordinal);
        foreach (var service in catalog.Services)
        {
            foreach (var port in service.Ports)
            {
                foreach (ref readonly var endpoint in port.Endpoints.AsSpan())
                {
                    if (endpoint is { IsLocal: false, Node: { } node })
                        nodes.Add(node);
                }
            }
        }

        if (!nodes.SetEquals(_kept))
            _mesh.KeepNodes(_kept = [.. nodes]);
    }

    /// <summary>Refuses new connections of peers, waits until those that stand have ended, and leaves the mesh at the limit.</summary>
    public Task DrainAsync(TimeSpan limit) => _mesh.DrainAsync(limit);

    public async ValueTask DisposeAsync()
    {
        _metrics.Dispose();
        await _mesh.DisposeAsync();
    }

    /// <summary>tunnelLimitConfig.enable is false: bounds all the same, since a peer's streams cost memory.</summary>
    private static TunnelLimits Unlimited { get; } = new() { StreamsIn = 100_000, StreamsOut = 100_000, StreamsInPerPeer = 100_000, StreamsOutPerPeer = 100_000 };

    private async Task ListenAsync(CancellationToken cancellationToken)
    {
        var start = _time.GetTimestamp();
        var said = false;
        using var timer = new PeriodicTimer(ListenRetry, _time);
        while (true)
        {
            try
            {
                await _mesh.StartAsync();
                if (said)
                    LogListensNow(_options.ListenPort);
                _fault = null;
                return;
            }
            catch (IOException fault)
            {
                // An agent that is taken over from has the port a little longer; that is nothing to tell a person.
                if (!said && _time.GetElapsedTime(start) > TakingOver)
                {
                    said = true;
                    LogCannotListen(_options.ListenPort, fault.Message);
                }

                _fault = $"The tunnel cannot listen on port {_options.ListenPort}: {fault.Message}";
            }

            await timer.WaitForNextTickAsync(cancellationToken);
        }
    }

    private void SayUnusable(string address, string reason)
    {
        if (_saidUnusable.Contains(address))
            return;
        _saidUnusable = _saidUnusable.Add(address);
        LogUnusable(address, reason);
    }
}
