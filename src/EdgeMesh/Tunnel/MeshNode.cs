using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Datagrams;
using EdgeMesh.Linux.Sockets;
using EdgeMesh.Net;
using EdgeMesh.Supervision;
using EdgeMesh.Tunnel.Admission;
using EdgeMesh.Tunnel.Discovery;
using EdgeMesh.Tunnel.Identity;
using EdgeMesh.Tunnel.Loop;
using EdgeMesh.Tunnel.Proxy;
using EdgeMesh.Tunnel.Reach;
using EdgeMesh.Tunnel.Sessions;
using Microsoft.Extensions.Logging;
using EdgeMesh.LibP2P.Admission;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Identify;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Ping;
using EdgeMesh.LibP2P.Relay;
using EdgeMesh.LibP2P.Yamux;

namespace EdgeMesh.Tunnel;

/// <summary>
/// This node's part in the mesh: sessions to relays and to the nodes of endpoints, connections of clients carried over them,
/// and connections of peers brought to endpoints on this node.
/// <code>
///   Sessions   who is connected, how, and which session new streams take
///   Proxy      one stream: the request, the answer, bytes or datagrams
///   Reach      which addresses of which node need no tunnel
///   Discovery  nodes on the same LAN
/// </code>
/// </summary>
public sealed partial class MeshNode : ITunnelDialer, IAsyncDisposable
{
    private readonly MeshOptions _options;
    private readonly CancellationTokenSource _stopping = new();
    private readonly ConcurrentDictionary<string, PeerLink> _links = new(StringComparer.Ordinal);
    private readonly RelaySet _relays = new();
    private readonly Ed25519KeyPair _identity;
    private readonly MeshContext _mesh;
    private readonly HelloExchange _hello;
    private readonly InboundProxy _inbound;
    private readonly OutboundProxy _outbound;
    private readonly RelayServer? _relayServer;
    private readonly RangeVerifier _reach;
    private readonly TunnelLoop _loop;
    private readonly Doorkeeper _door;
    private readonly ConcurrentDictionary<Task, byte> _carried = new();
    private ImmutableHashSet<string> _kept = [];
    private bool _began;

    /// <param name="supervisor">Counts what fails in the background; null: one of its own.</param>
    public MeshNode(MeshOptions options, ILoggerFactory loggers, TimeProvider time, Supervisor? supervisor = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (!PresharedKeys.IsNodeName(options.NodeName))
            throw new ArgumentException($"'{options.NodeName}' cannot be the name of a node", nameof(options));
        _options = options;
        var logger = loggers.CreateLogger<MeshNode>();
        supervisor ??= new Supervisor(loggers.CreateLogger<Supervisor>(), time);
        var directory = new NodeDirectory(options.Keys, options.MaxPeers);
        _loop = new TunnelLoop(logger, time, LoopOptions(options), fault => supervisor.Report("tunnel-loop", fault));
        var counters = new MeshCounters(_loop);
        var faults = new MeshFaults(logger, time);
        var (known, debts) = (new KnownAddresses(time), new HandshakeDebts(time));
        var sessions = new SessionRegistry(directory, counters, known, 2 * options.SessionWait, time, supervisor);
        _identity = options.Keys.DeriveOwn(options.NodeName);
        var admission = options.Keys.DeriveAdmission(_identity.PeerId);
        _door = new Doorkeeper(admission, options.DialTimeout, counters.Door, known, debts, faults, logger, time, fault => supervisor.Report("tunnel-door", fault));
        _inbound = new InboundProxy(options, sessions, counters, logger);
        var driver = new TunnelDriver(_loop, _door, options.DialMark, _inbound.Take);
        var host = new PeerHost(
            HostOptions(options, _identity, driver, time, supervisor) with
            {
                Admission = admission,
                IsKnownAddress = known.Contains,
                Connected = sessions.Take,
                Refused = (address, reason) =>
                {
                    counters.CountStranger();
                    if (reason is IdentityRefusedException)
                        faults.BrokeOff(address);
                    // Who is only mistaken about the key tries once a second, which is no debt.
                    if (address.TryGetTcpEndPoint(out var from))
                        debts.Note(AddressShare.Of(from.Address));
                },
            },
            logger);
        _mesh = new MeshContext
        {
            Options = options,
            Directory = directory,
            Host = host,
            Driver = driver,
            Sessions = sessions,
            RelayClient = RelayClient.Attach(host),
            Identify = IdentifyProtocol.Attach(host),
            Counters = counters,
            Faults = faults,
            DiscoveryDials = new DialAllowance(time),
            Supervisor = supervisor,
            Logger = logger,
            Time = time,
            Stopping = _stopping.Token,
        };
        PingProtocol.Attach(host);
        _hello = new HelloExchange(_mesh, LinkOf);
        _inbound.ServeOn(host);
        _outbound = new OutboundProxy(_mesh, LinkOf);
        _reach = new RangeVerifier(_mesh, () => _links.Values, _hello);
        if (options.IsRelay)
            _relayServer = RelayServer.Attach(host, RelayOptions());
        _loop.Start();
        _door.Start();
    }

    /// <summary>Which addresses of other nodes are verified to need no tunnel.</summary>
    public Reachability Reachability => _reach.Current;

    /// <summary>Told, on any thread, when <see cref="Reachability"/> decides otherwise than before; must be quick.</summary>
    public Action<Reachability>? ReachabilityChanged
    {
        get => _reach.Changed;
        set => _reach.Changed = value;
    }

    /// <summary>Where it listens, with granted ports.</summary>
    public ImmutableArray<InetEndpoint> Listeners { get; private set; } = [];

    /// <summary>This node's name in libp2p.</summary>
    public string PeerId => _identity.PeerId.ToString();

    /// <summary>Listens, and begins to keep sessions. After a failure it can be called again and goes on where it was.</summary>
    /// <exception cref="IOException">An address is not on this node, or its port is taken.</exception>
    public Task StartAsync()
    {
        foreach (var endpoint in _options.Listen.Skip(_mesh.Host.ListenAddresses.Count))
        {
            try
            {
                _mesh.Host.Listen(endpoint.ToIPEndPoint());
            }
            catch (SocketException e)
            {
                throw new IOException($"The tunnel cannot listen on {endpoint}: {e.Message}. Another process has the port, or the address is not on this node (modules.edgeTunnel.listenPort).", e);
            }
        }

        Listeners = [.. _mesh.Host.ListenAddresses.Select(a => a.TryGetTcpEndPoint(out var e) ? InetEndpoint.From(e) : default)];
        ReloadRelays(_options.Relays);
        // Whoever listens again after a fault has begun the rest before.
        if (Interlocked.Exchange(ref _began, true))
            return Task.CompletedTask;
        _reach.Start();
        if (!_options.DiscoveryAddresses.IsEmpty)
        {
            var discovery = new MulticastDiscovery(_mesh, LinkOf, _hello);
            foreach (var address in _options.DiscoveryAddresses.Where(a => !a.IsIPv6))
                _mesh.Supervisor.StartLoop("discovery", _ => discovery.RunAsync(address), _mesh.Stopping);
        }

        _mesh.Supervisor.StartLoop("forget-nodes", _ => ForgetAsync(), _mesh.Stopping);
        return Task.CompletedTask;
    }

    /// <summary>What this node's catalog lists as endpoints on this node: only these are dialled for peers.</summary>
    public void Update(ImmutableHashSet<TransportAddress> dialable) => _inbound.Update(dialable);

    /// <summary>The nodes that run endpoints of services here: a session to each is kept, and their ranges are verified.</summary>
    public void KeepNodes(ImmutableHashSet<string> nodes)
    {
        ArgumentNullException.ThrowIfNull(nodes);
        var before = Interlocked.Exchange(ref _kept, nodes);
        foreach (var gone in before.Except(nodes))
        {
            if (_links.TryGetValue(gone, out var link))
                link.IsKept = link.IsRelay;
        }

        foreach (var name in nodes)
        {
            if (!before.Contains(name) && LinkOf(name) is { } link)
            {
                link.IsKept = true;
                link.TryNow();
            }
        }
    }

    /// <summary>The ranges that lead to this node are these now.</summary>
    public Task AdvertiseAsync(ImmutableArray<AddressRange> ranges) => _hello.AdvertiseAsync(ranges, _stopping.Token);

    /// <summary>The relays are these from now on. Sessions to others are left alone and no longer kept.</summary>
    public void ReloadRelays(ImmutableArray<RelayNode> relays)
    {
        var places = new List<RelayPlace>();
        foreach (var relay in relays.Where(r => r.Name != _options.NodeName).DistinctBy(r => r.Name))
        {
            if (LinkOf(relay.Name) is not { } link)
                continue;
            link.IsRelay = link.IsKept = true;
            link.SetConfigured([.. relay.Addresses.Select(a => a.ToIPEndPoint())]);
            var place = _relays.Places.FirstOrDefault(p => p.Link == link);
            if (place is null)
            {
                place = new RelayPlace(link, _mesh, TryAllNow);
                _mesh.Supervisor.StartLoop("relay-place", _ => place.RunAsync(), _mesh.Stopping);
            }

            places.Add(place);
        }

        var before = _relays.Places;
        _relays.Set(places);
        foreach (var place in before.Except(places))
        {
            place.Remove();
            place.Link.IsRelay = false;
            place.Link.IsKept = _kept.Contains(place.Link.Name);
            place.Link.SetConfigured([]);
        }
    }

    /// <inheritdoc/>
    public bool CanReach(string node) =>
        node != _options.NodeName && !_stopping.IsCancellationRequested && !_loop.HasFailed
        && (_links.TryGetValue(node, out var link)
            ? link.Best is not null || (!link.WasNotFound && _relays.IsAnyConnected)
            : _relays.IsAnyConnected);

    /// <inheritdoc/>
    public void Carry(TunnelledClient client)
    {
        ArgumentNullException.ThrowIfNull(client);
        Track(_outbound.Carry(client));
    }

    /// <inheritdoc/>
    public int TryOpenDatagrams(TunnelDestination destination)
    {
        ArgumentNullException.ThrowIfNull(destination);
        if (!CanReach(destination.Node))
            return -Errno.EHOSTUNREACH;
        var result = DatagramPair.TryOpen(out var theirs, out var ours);
        if (result < 0)
            return result;
        Track(_outbound.CarryDatagrams(ours, destination));
        return theirs;
    }

    /// <summary>Refuses new streams of peers and waits until those that stand have ended, or the time is over. Returns how
    /// many are left.</summary>
    public async Task<int> DrainAsync(TimeSpan limit)
    {
        _inbound.IsDraining = true;
        using var over = new CancellationTokenSource(limit, _mesh.Time);
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100), _mesh.Time);
        try
        {
            while (_inbound.Count + _outbound.Count > 0)
                await timer.WaitForNextTickAsync(over.Token);
        }
        catch (OperationCanceledException)
        {
            // What is left is cut when the node is disposed of.
        }

        return _inbound.Count + _outbound.Count;
    }

    /// <summary>Cuts what stands and closes every session.</summary>
    public async ValueTask DisposeAsync()
    {
        _inbound.IsDraining = true;
        await _stopping.CancelAsync();
        await Task.WhenAll(_carried.Keys).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _mesh.Host.DisposeAsync();
        _door.Dispose();
        _loop.Stop();
        await _loop.Finished;
        _identity.Dispose();
    }

    private void Track(Task carried)
    {
        if (carried.IsCompleted)
            return;
        _carried.TryAdd(carried, 0);
        _mesh.Supervisor.Start("carried-connection", () => ForgetAsync(carried));
    }

    private async Task ForgetAsync(Task carried)
    {
        try
        {
            await carried;
        }
        finally
        {
            _carried.TryRemove(carried, out _);
        }
    }

    private PeerLink? LinkOf(string name)
    {
        if (_links.TryGetValue(name, out var link))
            return link;
        if (name == _options.NodeName || !PresharedKeys.IsNodeName(name) || _links.Count >= _options.MaxPeers)
            return null;
        link = _links.GetOrAdd(name, n => new PeerLink(n, _mesh, _relays, _hello.GreetAsync));
        link.Start();
        return link;
    }

    private void TryAllNow()
    {
        foreach (var link in _links.Values)
            link.TryNow();
    }

    /// <summary>Forgets nodes that nobody needs any more.</summary>
    private async Task ForgetAsync()
    {
        while (await _mesh.WaitAsync(TimeSpan.FromMinutes(1)))
        {
            foreach (var link in _links.Values)
            {
                if (!link.TryForget())
                    continue;
                _links.TryRemove(link.Name, out _);
                _mesh.Directory.Forget(link.Name);
            }
        }
    }

    private RelayServerOptions RelayOptions() => new()
    {
        MaxReservations = _options.MaxPeers,
        MaxCircuitsPerPeer = 1024,
        Admits = peer => _mesh.Directory.NameOf(peer) is { } name && _links.TryGetValue(name, out var link) && link.Best is not null,
        ConnectionOf = peer => _mesh.Directory.NameOf(peer) is { } name && _links.TryGetValue(name, out var link) && link.Best is { IsDirect: true } best ? best.Connection : null,
    };

    private static TunnelLoopOptions LoopOptions(MeshOptions options) => new()
    {
        Polling = options.PollingLimit,
        Watch = options.PeerWatch,
        EndpointTimeout = options.EndpointTimeout,
        // The other side needs its time to dial, and the way there and back comes on top.
        AnswerTimeout = options.EndpointTimeout + options.SessionWait,
        DatagramIdle = options.DatagramIdle,
    };

    private static PeerHostOptions HostOptions(MeshOptions options, Ed25519KeyPair identity, TunnelDriver driver, TimeProvider time, Supervisor supervisor) => new()
    {
        Identity = identity,
        Security = [NoiseSession.Protocol],
        // Every identity of the mesh is one; others cost many times as much to verify, and nobody needs them.
        IdentityKeys = [KeyType.Ed25519],
        AgentVersion = "edgemesh-agent",
        Yamux = new YamuxOptions
        {
            MaxOutboundStreams = (int)Math.Min((long)options.Limits.StreamsOutPerPeer + 4096, int.MaxValue),
            AcknowledgesWithFirstFrame = true,
            QuickRefill = TimeSpan.FromMilliseconds(2),
        },
        StreamsOfStrangers = SessionRegistry.StreamsOfStrangers,
        ConnectTimeout = options.DialTimeout,
        HandshakeTimeout = 2 * options.DialTimeout,
        WriteTimeout = TimeSpan.FromSeconds(10),
        KeepAlive = options.Heartbeat,
        MaxConnections = 4 * options.MaxPeers,
        PrepareSocket = options.Mark,
        Driver = driver,
        Background = supervisor.Start,
        Time = time,
    };
}
