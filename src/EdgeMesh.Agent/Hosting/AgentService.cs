using System.Collections.Immutable;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Commands;
using EdgeMesh.Agent.Options;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Forwarding.Udp;
using EdgeMesh.Kubernetes;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.Planning;
using EdgeMesh.Reconciling;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

/// <summary>The agent from start to stop. The numbered steps are those of ARCHITECTURE.md.</summary>
internal sealed partial class AgentService(
    RunArguments arguments, AgentLogging logging, ILoggerFactory loggers, TimeProvider time) : IHostedService, IAsyncDisposable
{
    private const uint OwnMark = 0x1000;
    private static readonly TimeSpan WithdrawDeadline = TimeSpan.FromSeconds(10);

    private readonly AgentOptions _options = arguments.Options;
    private readonly ILogger<AgentService> _logger = loggers.CreateLogger<AgentService>();
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _parts = [];
    private readonly DateTimeOffset _startedAt = time.GetUtcNow();

    private volatile AgentOptions _inForce = arguments.Options;
    private volatile bool _draining;
    private RouteTable _routes = RouteTable.Empty;
    private bool _leased;

    private InstanceSocket? _instance;
    private ChosenBackend? _rules;
    private TcpForwarder? _tcp;
    private UdpForwarder? _udp;
    private ForwardingMetrics? _metrics;
    private IClusterSource? _source;
    private Reconciler? _reconciler;
    private AdminServer? _admin;
    private StatusBuilder? _status;

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        // 2. One agent per network namespace.
        await ClaimNodeAsync(cancellationToken);

        // 3. Descriptors.
        var descriptors = DescriptorLimit.Raise(ConnectionBudget.WantedDescriptors, _logger);

        // 4. The listen device.
        var device = EnsureDevice();

        // 5. The rule backend.
        _rules = await RuleBackends.ChooseAsync(_options.Proxy, time, cancellationToken);
        ImmutableArray<string> notices = device.IPv6Missing is { } why ? [.. _rules.Notices, $"IPv6 services are left to kube-proxy: {why}"] : _rules.Notices;
        foreach (var notice in notices)
            LogNotice(notice);

        // 6. The listeners.
        var listeners = ListenerAddresses.Listeners(
            _options.DeviceAddress, _options.Proxy.ListenPort, device.IPv6Missing is null, _rules.Backend.Families);
        StartForwarding([.. listeners.Values.Select(l => new InetEndpoint(InetAddress.From(l.Address), (ushort)l.Port))], descriptors);

        // 7. Facts, rules, guard, configuration.
        _source = SourceFactory.Create(_options, socket => SocketMark.TrySet(socket, OwnMark), loggers, time);
        LogStarting(AgentVersion.Text, _options.NodeName, _options.NodeKind.ToString(), _source.Description, _rules.Backend.Name, _rules.Reason);
        var planning = new PlanningOptions
        {
            DataPath = _options.Proxy.DataPath,
            Policy = _options.Proxy.Balancing,
            Listeners = listeners,
            KernelChoices = _rules.KernelChoices,
            MasqueradeAll = _options.Proxy.MasqueradeAll,
        };
        StartReconciling(planning);

        // 8. Admin.
        _status = new StatusBuilder(_options, _rules, notices, _source, _reconciler!, _tcp!, _udp!, _startedAt);
        await StartAdminAsync(cancellationToken);
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        // 1. Not ready any more.
        _draining = true;

        // 2. No more facts, no more rules.
        await _stop.CancelAsync();
        await Task.WhenAll(_parts);

        // 3. New connections to kube-proxy.
        await WithdrawAsync();

        // 4. Drain.
        var limit = _inForce.Proxy.DrainTimeout;
        LogDraining(_tcp?.ReadStatistics().Active ?? 0, _udp?.Statistics().FlowsActive ?? 0, limit.TotalSeconds);
        var flows = _udp?.DrainAsync(limit, time) ?? Task.FromResult(true);
        var cut = _tcp is null ? 0 : await _tcp.DrainAsync(limit);
        await flows;
        LogStopped(cut);
    }

    public async ValueTask DisposeAsync()
    {
        if (_admin is not null)
            await _admin.DisposeAsync();
        _metrics?.Dispose();
        _reconciler?.Dispose();
        if (_tcp is not null)
            await _tcp.DisposeAsync();
        if (_udp is not null)
            await _udp.DisposeAsync();
        (_source as IDisposable)?.Dispose();
        (_rules?.Heartbeat as IDisposable)?.Dispose();
        _rules?.Link?.Dispose();
        if (_instance is not null)
            await _instance.DisposeAsync();
        _stop.Dispose();
    }

    private async Task ClaimNodeAsync(CancellationToken cancellationToken)
    {
        var identity = $"edgemesh-agent {AgentVersion.Text}, process {Environment.ProcessId}";
        (_instance, var holder) = await InstanceSocket.ClaimAsync(identity, cancellationToken);
        if (_instance is null)
        {
            throw new AgentStartException(
                $"Another agent already works on this node: {holder}. Two would fight over the same rules; stop that one first.");
        }
    }

    private ListenDeviceState EnsureDevice()
    {
        try
        {
            return ListenDevice.Ensure(_options.DeviceName, ListenerAddresses.Of(_options.DeviceAddress));
        }
        catch (NetlinkException fault)
        {
            throw new AgentStartException($"The listen device {_options.DeviceName} could not be set up: {fault.Message} The agent needs CAP_NET_ADMIN in the host's network.", fault);
        }
    }

    private void StartForwarding(ImmutableArray<InetEndpoint> listeners, long descriptors)
    {
        var connections = ConnectionBudget.Connections(descriptors, _options.Proxy.MaxConnections, _options.Proxy.MaxUdpFlows);
        try
        {
            _tcp = new TcpForwarder(
                new ForwarderOptions
                {
                    Listeners = listeners,
                    MaxConnections = connections,
                    MaxPendingDials = _options.Proxy.MaxPendingDials,
                    DialMark = OwnMark,
                },
                () => Volatile.Read(ref _routes), _rules!.Heartbeat, loggers, time);
            _tcp.Start();
            _udp = UdpForwarder.Start(
                new UdpForwarderOptions
                {
                    Listeners = listeners,
                    MaxFlows = _options.Proxy.MaxUdpFlows,
                    Mark = OwnMark,
                },
                RouteTable.Empty, time, loggers.CreateLogger<UdpForwarder>());
        }
        catch (IOException fault)
        {
            throw new AgentStartException($"The user-mode listener could not be started: {fault.Message} If another program has the port, change modules.edgeProxy.listenPort or stop that program.", fault);
        }

        _metrics = new ForwardingMetrics(_tcp, _udp);
        LogListening(string.Join(", ", listeners), connections);
    }

    private void StartReconciling(PlanningOptions planning)
    {
        var cleaner = new ConntrackCleaner(loggers.CreateLogger<ConntrackCleaner>());
        _reconciler = new Reconciler(
            _source!, _rules!.Backend, new ReconcilerOptions(Policy(_options), planning), SetRoutes,
            (stale, token) => CleanConntrackAsync(cleaner, stale, token), time, loggers.CreateLogger<Reconciler>());
        var guard = new OrderGuard(
            _rules.IsLegacy,
            new RuleWatch
            {
                ChainPrefixes = ["EDGEMESH-", "KUBE-PORTALS-"],
                Tables = [NftablesBackend.TableName],
                IsOwn = _rules.Senders.Contains,
            },
            _options.DeviceName, ListenerAddresses.Of(_options.DeviceAddress), _reconciler, time, loggers.CreateLogger<OrderGuard>());
        _parts.Add(RunPartAsync("The source", _source!.RunAsync));
        if (_options.Proxy.Enable)
        {
            _parts.Add(RunPartAsync("The reconciler", _reconciler.RunAsync));
            _parts.Add(RunPartAsync("The order guard", guard.RunAsync));
        }

        _parts.Add(RunPartAsync("The configuration watcher", token => WatchConfigurationAsync(planning, token)));
        _parts.Add(RunPartAsync("The conntrack watch", WatchConntrackAsync));
    }

    private async Task StartAdminAsync(CancellationToken cancellationToken)
    {
        _admin = new AdminServer(_options.AdminAddress, Health, token => _status!.BuildAsync(_draining ? "draining" : "running", token), loggers);
        try
        {
            await _admin.StartAsync(cancellationToken);
        }
        catch (IOException fault)
        {
            throw new AgentStartException($"The admin address {_options.AdminAddress} cannot be used: {fault.Message} Change commonConfig.adminAddress, or stop the program that has it.", fault);
        }

        LogAdmin(_options.AdminAddress.ToString());
    }

    private async Task WithdrawAsync()
    {
        if (_reconciler is null || !_options.Proxy.Enable)
            return;
        try
        {
            using var deadline = new CancellationTokenSource(WithdrawDeadline, time);
            await _reconciler.WithdrawAsync(deadline.Token);
        }
        catch (Exception fault) when (fault is NetfilterException or OperationCanceledException)
        {
            LogWithdrawFailed(fault.Message);
        }
    }

    private async Task WatchConfigurationAsync(PlanningOptions planning, CancellationToken cancellationToken)
    {
        var watcher = new ConfigFileWatcher(
            arguments.Loaded, arguments.Environment, arguments.Overrides, time, loggers.CreateLogger<ConfigFileWatcher>());
        await foreach (var change in watcher.WatchAsync(cancellationToken))
        {
            _inForce = change.Options;
            logging.Level = change.Options.LogLevel;
            _reconciler!.Change(new ReconcilerOptions(Policy(change.Options), planning));
        }
    }

    private async Task WatchConntrackAsync(CancellationToken cancellationToken)
    {
        var pressure = new ConntrackPressure(loggers.CreateLogger<ConntrackPressure>());
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(10), time);
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            if (ConntrackUsage.Read() is { } usage)
                pressure.Observe(usage);
        }
    }

    /// <summary>One part's fault must not take the others with it: a node that forwards without its watcher is better off.</summary>
    private async Task RunPartAsync(string name, Func<CancellationToken, Task> run)
    {
        await Task.Yield();
        try
        {
            await run(_stop.Token);
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // The agent stops.
        }
        catch (Exception fault)
        {
            LogPartFailed(name, fault);
        }
    }

    private void SetRoutes(RouteTable routes)
    {
        Volatile.Write(ref _routes, routes);
        _udp!.Use(routes);
        if (_leased || _reconciler?.State.Syncs is not > 0)
            return;
        // Rules of the kernel path wait for the lease; the first ones need not wait for the next beat.
        try
        {
            _rules!.Heartbeat?.RenewLease();
        }
        catch (IOException)
        {
            // The next beat tries again, and says so when it fails.
        }

        _leased = _reconciler.State.LastSync is not null;
    }

    private HealthFacts Health() => new()
    {
        Reconciler = _reconciler!.State,
        Draining = _draining,
        SlowestLoop = _tcp!.SlowestTurn(),
        FaultAge = _reconciler.State.FaultSince is { } since ? time.GetUtcNow() - since : null,
        Handles = _options.Proxy.Enable,
    };

    private static async Task<int> CleanConntrackAsync(ConntrackCleaner cleaner, UdpStaleness stale, CancellationToken cancellationToken)
    {
        try
        {
            var cleaning = await cleaner.DeleteUdpAsync(
                (in ConntrackFlow flow) => stale.IsStale(flow.OriginalDestination, flow.ReplySource), cancellationToken);
            return cleaning.Deleted;
        }
        catch (NetlinkException fault)
        {
            throw new IOException(fault.Message, fault);
        }
    }

    private static CatalogPolicy Policy(AgentOptions options) => new()
    {
        FilterMode = options.Proxy.FilterMode,
        ExcludedServices = [.. options.Proxy.ExcludeServices],
        NodeName = options.NodeName,
    };
}
