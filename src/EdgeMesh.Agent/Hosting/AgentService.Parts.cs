using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Hosting.Tunnel;
using EdgeMesh.Agent.Options;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Agent.Hosting.Names;
using EdgeMesh.Hosts;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Memory;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.Planning;
using EdgeMesh.Reconciling;
using EdgeMesh.Tunnel;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

/// <summary>The parts of the agent: how each is made, and what runs while the agent does.</summary>
internal sealed partial class AgentService
{
    // The first sync is followed by the cache on the disk.
    private static readonly TimeSpan StartIsOver = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan BetweenLooks = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan BetweenAddressLooks = TimeSpan.FromSeconds(5);

    private static readonly ObjectName ApiService = new("default", "kubernetes");

    private readonly Lock _policyGate = new();
    private AddressesToProtect? _addresses;
    private volatile ProtectedAddresses _protected = ProtectedAddresses.None;
    private bool _addressesUnknown;

    // The reconciler and the guard: what writes rules, and rests while another agent takes over.
    private CancellationTokenSource? _writing;
    private Task _writers = Task.CompletedTask;

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

    private void StartSource()
    {
        _source = SourceFactory.Create(_options, socket => SocketMark.TrySet(socket, PacketMarks.Own), loggers, time);
        _sourceMetrics = new SourceMetrics(_source, time);
        AddPart("source", _source.RunAsync);
    }

    private void PrepareTunnel()
    {
        _tunnel = TunnelPart.Create(_options, loggers, time, _supervisor, out var notice);
        if (notice is null)
            return;
        _notices = _notices.Add(notice);
        // What the tunnel works with all the same, the check of the configuration has told already.
        if (_tunnel is not null)
            return;
        _tunnelOff = notice;
        LogNotice(notice);
    }

    private void StartNames()
    {
        if (!_options.Dns.Enable)
            return;
        _names = new NamesPart(_options, _ipv6OnDevice, _source!, () => _host!.Facts, () => _protected.Own, loggers, time, _supervisor);
        // Who takes over answers before the predecessor may go.
        _names.Begin();
        AddPart("dns", _names.RunAsync);
    }

    private async Task LeaveMeshAsync()
    {
        if (Interlocked.Exchange(ref _tunnel, null) is { } tunnel)
            await tunnel.DisposeAsync();
    }

    private async Task StartReconcilingAsync(PlanningOptions planning, CancellationToken cancellationToken)
    {
        _addresses = new AddressesToProtect(_options, () => SourceFactory.ApiServer(_options), System.Net.Dns.GetHostAddressesAsync);
        await LookAtAddressesAsync(cancellationToken);
        var cleaner = new ConntrackCleaner(loggers.CreateLogger<ConntrackCleaner>());
        _reconciler = new Reconciler(
            _source!, _backend!, new ReconcilerOptions(Policy(_options, _protected), planning), SetRoutes,
            (stale, token) => CleanConntrackAsync(cleaner, stale, token), time, loggers.CreateLogger<Reconciler>())
        {
            CatalogChanged = catalog => _tunnel?.Update(catalog),
            ProgramTime = () => _programs!.Total,
        };
        if (_tunnel is not null)
        {
            var tunnel = _tunnel;
            tunnel.ReachabilityChanged = _reconciler.Change;
            _reconciler.Change(tunnel.Reachability);
            AddPart("tunnel", token => tunnel.RunAsync(() => _inForce.Tunnel.RelayNodes, token));
        }

        if (_options.Proxy.Enable)
        {
            StartWriting();
            AddPart("after-first-sync", AfterFirstSyncAsync);
        }
        else
        {
            // An agent that handled services before may have left rules that nobody would follow changes of.
            await RemoveRulesAsync(cancellationToken);
        }

        if (_options.Proxy.Enable || _options.Dns.Enable)
            AddPart("host-watch", token => _host!.RunAsync(_reconciler, _ => UsePolicy(), token));
        AddPart("config-watcher", WatchConfigurationAsync);
        AddPart("address-watch", WatchAddressesAsync);
        AddPart("conntrack-watch", WatchConntrackAsync);
    }

    private OrderGuard NewGuard(ChosenBackend rules) => new(
        rules.IsLegacy,
        new RuleWatch
        {
            ChainPrefixes = ["EDGEMESH-", "KUBE-PORTALS-"],
            Tables = [NftablesBackend.TableName],
            IsOwn = _senders.Contains,
        },
        _options.DeviceName, ListenerAddresses.Of(_options.DeviceAddress), _reconciler!, _supervisor, time, loggers.CreateLogger<OrderGuard>());

    private void StartWriting()
    {
        _writing?.Dispose();
        _writing = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        _writers = Task.WhenAll(
            RunPartAsync("reconciler", _reconciler!.RunAsync, _writing.Token),
            GuardAsync(_writing.Token),
            RunPartAsync("rule-backend", FollowRulesAsync, _writing.Token));
    }

    private async Task StopWritingAsync()
    {
        if (_writing is not null)
            await _writing.CancelAsync();
        await _writers;
    }

    private async Task AfterFirstSyncAsync(CancellationToken cancellationToken)
    {
        await _reconciler!.FirstSync.WaitAsync(cancellationToken);
        _host!.KeepRoutes(_reconciler.State.Plan);
        _heart?.Open();
        _tcp!.BeatSoon();
        // What the lists and the rules of a whole cluster were read from and written through is not needed again.
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        foreach (var notice in _rules!.FoundAtFirstSync())
            LogFound(notice);
        await ForgetStartAsync(cancellationToken);
    }

    /// <summary>Most of the program's code runs only while it starts (decision 12).</summary>
    private async Task ForgetStartAsync(CancellationToken cancellationToken)
    {
        await Task.Delay(StartIsOver, time, cancellationToken);
        var before = ProgramPages.Look();
        await Task.Delay(BetweenLooks, time, cancellationToken);
        var released = ProgramPages.Release(before);
        // A short one: it takes what has come since the full one above, the looks too, and finds nothing older to look at.
        GC.Collect(1, GCCollectionMode.Forced, blocking: true, compacting: true);
        ProgramPages.TrimHeap();
        LogStartForgotten(released / (1024.0 * 1024));
    }

    private async Task StartAdminAsync(CancellationToken cancellationToken)
    {
        var status = new StatusBuilder(
            _options, () => _rules!, () => [.. _notices, .. RuleNotices(), .. HostNotices(), .. AdminNotices(), .. _names?.Notices ?? [], .. FailedParts()], () => _host!.Carriages, _source!, _reconciler!, _tcp!, _udp!, () => _tunnel?.ReadStatus(), () => _names?.ReadStatus(), _startedAt, time);
        var admin = new AdminListener(
            _options.Admin,
            () => new AdminServer(_options.Admin, _options.NodeName, Health, token => status.BuildAsync(_draining ? "draining" : "running", token), _names is { } names ? names.AskAsync : null, loggers, time),
            _supervisor, time, loggers.CreateLogger<AdminListener>());
        _admin = admin;
        await admin.StartAsync(cancellationToken);
    }

    private IEnumerable<string> AdminNotices() => _admin?.Notice is { } notice ? [notice] : [];

    private IEnumerable<string> HostNotices() => _options.Proxy.Enable ? _host!.Carriages.IPv4.Notices.Union(_host.Carriages.IPv6.Notices) : [];

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

    private async Task WatchConfigurationAsync(CancellationToken cancellationToken)
    {
        var watcher = new ConfigFileWatcher(
            arguments.Loaded, arguments.Environment, arguments.Overrides, time, loggers.CreateLogger<ConfigFileWatcher>());
        await foreach (var change in watcher.WatchAsync(cancellationToken))
        {
            _inForce = change.Options;
            logging.Level = change.Options.LogLevel;
            UsePolicy();
        }
    }

    private async Task WatchAddressesAsync(CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(BetweenAddressLooks, time);
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            if (await LookAtAddressesAsync(cancellationToken))
                UsePolicy();
        }
    }

    /// <returns>Whether something differs from the last look.</returns>
    private async Task<bool> LookAtAddressesAsync(CancellationToken cancellationToken)
    {
        try
        {
            var now = await _addresses!.LookAsync(cancellationToken);
            _addressesUnknown = false;
            if (now.Equals(_protected))
                return false;
            _protected = now;
            return true;
        }
        catch (NetlinkException fault)
        {
            // Those that were known go on to count.
            if (!_addressesUnknown)
                LogAddressesUnknown(fault.Message);
            _addressesUnknown = true;
            return false;
        }
    }

    /// <summary>The configuration, the node's addresses and what the host can carry change on threads of their own: whoever comes last sees all.</summary>
    private void UsePolicy()
    {
        lock (_policyGate)
            _reconciler!.Change(new ReconcilerOptions(Policy(_inForce, _protected), _planning! with { Host = _host!.Carriages }));
    }

    private HostCarriages LookAtHost()
    {
        _host = new HostWatch(_options.DeviceName, PolicyOfHost, time, loggers.CreateLogger<HostWatch>());
        return _host.Begin();
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

    /// <summary>One part's fault must not take the others with it, and it begins again: a node that forwards without its watcher
    /// for a while is better off than one that does not forward.</summary>
    private Task RunPartAsync(string name, Func<CancellationToken, Task> run, CancellationToken cancellationToken) => _supervisor.LoopAsync(
        name,
        async token =>
        {
            try
            {
                await run(token);
            }
            catch (AgentStartException)
            {
                // The start waits for this and says so.
            }
        },
        cancellationToken);

    private void AddPart(string name, Func<CancellationToken, Task> run) => _parts.Add((name, RunPartAsync(name, run, _stop.Token)));

    private ImmutableList<string> FailedParts() =>
        [.. _supervisor.Faults.Where(faults => faults.Repeats).Select(faults => $"the {faults.Loop} loop fails again and again by a fault of this program, {faults.Count} times so far ({faults.Last}; see the log, and please report it)")];

    private void SetRoutes(RouteTable routes)
    {
        Volatile.Write(ref _routes, routes);
        if (_udp is null)
            ListenBesidePredecessor();
        _udp!.Use(routes);
        // The second call of a sync comes when its rules stand: they are not in force before a beat.
        _tcp!.BeatSoon();
    }

    private static async Task<int> CleanConntrackAsync(ConntrackCleaner cleaner, StaleFlows stale, CancellationToken cancellationToken)
    {
        try
        {
            var deleted = 0;
            if (stale.Udp is { } udp)
                deleted += (await cleaner.DeleteUdpAsync((in ConntrackFlow flow) => udp.IsStale(flow.OriginalDestination, flow.ReplySource), cancellationToken)).Deleted;
            if (stale.UnansweredTcp is { Count: > 0 } tcp)
                deleted += (await cleaner.DeleteUnansweredTcpAsync((in ConntrackFlow flow) => tcp.Contains(flow.OriginalDestination), cancellationToken)).Deleted;
            return deleted;
        }
        catch (NetlinkException fault)
        {
            throw new IOException(fault.Message, fault);
        }
    }

    private static CatalogPolicy Policy(AgentOptions options, ProtectedAddresses addresses) => new()
    {
        Protected = addresses,
        HonoursAllowAddress = options.Source is ClusterSource.Manifests,
        FilterMode = options.Proxy.FilterMode,
        // At the edge its endpoints cannot be reached, and catching it would cut pods off from what KubeEdge put in its place.
        ExcludedServices = options.Source is ClusterSource.MetaServer ? [.. options.Proxy.ExcludeServices, ApiService] : [.. options.Proxy.ExcludeServices],
        AddressKinds = options.Proxy.AddressKinds,
        NodeName = options.NodeName,
    };
}
