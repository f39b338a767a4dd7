using System.Collections.Immutable;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Commands;
using EdgeMesh.Agent.Hosting.Handover;
using EdgeMesh.Agent.Hosting.Names;
using EdgeMesh.Agent.Hosting.Tunnel;
using EdgeMesh.Agent.Options;
using EdgeMesh.Forwarding;
using EdgeMesh.Forwarding.Udp;
using EdgeMesh.Kubernetes;
using EdgeMesh.Linux;
using EdgeMesh.Netfilter;
using EdgeMesh.Planning;
using EdgeMesh.Reconciling;
using EdgeMesh.Supervision;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

/// <summary>The agent from start to stop. The numbered steps are those of ARCHITECTURE.md.</summary>
/// <remarks>What each step does: AgentService.Parts.cs. Taking over and being taken over: AgentService.Handover.cs.</remarks>
internal sealed partial class AgentService(
    RunArguments arguments, AgentLogging logging, ILoggerFactory loggers, TimeProvider time, Action stop) : IAsyncDisposable
{
    private const long FewDescriptors = 4096;
    private static readonly TimeSpan WithdrawDeadline = TimeSpan.FromSeconds(10);

    /// <summary>A part that is told to end does so at once, unless a file system or a program keeps it.</summary>
    private static readonly TimeSpan PartsEnd = TimeSpan.FromSeconds(10);

    private readonly AgentOptions _options = arguments.Options;
    private readonly ILogger<AgentService> _logger = loggers.CreateLogger<AgentService>();
    private readonly Supervisor _supervisor = new(loggers.CreateLogger<Supervisor>(), time);
    private readonly CancellationTokenSource _stop = new();
    private readonly List<(string Name, Task Task)> _parts = [];
    private readonly long _startedAt = time.GetTimestamp();

    private volatile AgentOptions _inForce = arguments.Options;
    private volatile bool _draining;
    private RouteTable _routes = RouteTable.Empty;

    private InstanceSocket? _instance;
    private ImmutableArray<string> _notices = [];
    private HeartbeatGate? _heart;
    private TcpForwarder? _tcp;
    private UdpForwarder? _udp;
    private ForwardingMetrics? _metrics;
    private SourceMetrics? _sourceMetrics;
    private FaultMetrics? _faultMetrics;
    private IClusterSource? _source;
    private Reconciler? _reconciler;
    private AdminListener? _admin;
    private TunnelPart? _tunnel;
    private string? _tunnelOff;
    private NamesPart? _names;
    private HostWatch? _host;

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        // 2. One agent per network namespace, or one that takes over from another.
        _faultMetrics = new FaultMetrics(_supervisor);
        await ClaimNodeAsync(cancellationToken);

        // 3. Descriptors.
        var descriptors = DescriptorLimit.Raise(ConnectionBudget.WantedDescriptors, _logger);

        // 4. The listen device.
        var device = EnsureDevice();

        // 5. Facts. Who takes over brings them along.
        StartSource();
        if (_predecessor is not null)
            await FreezePredecessorAsync(cancellationToken);

        // 6. The rule backend.
        _ipv6OnDevice = device.IPv6Missing is null;
        await ChooseRulesAsync(cancellationToken);
        if (device.IPv6Missing is { } why)
            _notices = [$"IPv6 services are left to kube-proxy: {why}"];
        if (descriptors < FewDescriptors)
            _notices = _notices.Add($"the limit of open files is {descriptors}, so the agent itself forwards few connections at once; raise LimitNOFILE of the service, or give it CAP_SYS_RESOURCE");
        foreach (var notice in _notices.Concat(_rules!.Choice.Missing))
            LogNotice(notice);
        LogStarting(AgentVersion.Text, _options.NodeName, _options.NodeKind.ToString(), _source!.Description, _rules.Choice.Name, _rules.Choice.Reason);

        // 7. The tunnel's place in the mesh, and the listeners: nothing leads to them yet. Those of a predecessor share their port, so there they wait for routes.
        PrepareTunnel();
        var listeners = await PrepareListenersAsync(descriptors);

        // 8. Rules, guard, configuration.
        _planning = With(_rules, new PlanningOptions
        {
            DataPath = _options.Proxy.DataPath,
            Policy = _options.Proxy.Balancing,
            Listeners = listeners,
            KernelChoices = _rules.KernelChoices,
            Host = LookAtHost(),
            Lease = _options.Proxy.RuleLease,
        });
        await StartReconcilingAsync(_planning, cancellationToken);

        // 9. Names. In a takeover they are answered by both until the predecessor leaves them to this one.
        StartNames();

        // 10. Admin.
        if (_predecessor is null)
            await StartAdminAsync(cancellationToken);
        else
            await TakeOverAsync(cancellationToken);
    }

    public async Task StopAsync()
    {
        // 1. Not ready any more. Whoever is taking over may finish first: what follows would take away its rules.
        _draining = true;
        if (!await _handover!.SettleAsync(HandoverSettles))
            LogHandoverStuck(HandoverSettles.TotalSeconds);

        // 2. No more facts, no more rules.
        await EndPartsAsync();

        // 3. New connections to kube-proxy, or to the agent that took over.
        if (!_handedOver)
            await WithdrawAsync();
        _withdrawn.TrySetResult();

        // 4. Drain.
        var limit = _inForce.Proxy.DrainTimeout;
        LogDraining(_tcp?.ReadStatistics().Active ?? 0, _udp?.Statistics().FlowsActive ?? 0, limit.TotalSeconds);
        var flows = _udp?.DrainAsync(limit, time) ?? Task.FromResult(true);
        var served = Task.WhenAll(_tunnel?.DrainAsync(limit) ?? Task.CompletedTask, _names?.StopAsync() ?? Task.CompletedTask);
        var cut = _tcp is null ? 0 : await _tcp.DrainAsync(limit);
        await Task.WhenAll(flows, served);
        await LeaveMeshAsync();
        LogStopped(cut);
    }

    /// <summary>Also after a start that failed half-way: then nothing of it may stay behind.</summary>
    public async ValueTask DisposeAsync()
    {
        await EndPartsAsync();
        await AbandonTakeOverAsync();
        await ReleaseAsync();
        if (_handover is not null)
            await _handover.DisposeAsync();
        _predecessor?.Dispose();
        _inherited?.Dispose();
        _metrics?.Dispose();
        _sourceMetrics?.Dispose();
        _faultMetrics?.Dispose();
        _reconciler?.Dispose();
        if (_tcp is not null)
            await _tcp.DisposeAsync();
        if (_udp is not null)
            await _udp.DisposeAsync();
        if (_names is not null)
            await _names.DisposeAsync();
        await LeaveMeshAsync();
        (_source as IDisposable)?.Dispose();
        CloseRules();
        _host?.Dispose();
        _writing?.Dispose();
        _stop.Dispose();
    }

    private async Task EndPartsAsync()
    {
        await _stop.CancelAsync();
        await StopWritingAsync();
        try
        {
            await Task.WhenAll([.. _parts.Select(part => part.Task), _reclaiming]).WaitAsync(PartsEnd, time);
        }
        catch (TimeoutException)
        {
            // A read of a file on a server that is gone, say, which nothing ends but the end of the process.
            LogPartsHang(string.Join(", ", _parts.Where(part => !part.Task.IsCompleted).Select(part => part.Name)), PartsEnd.TotalSeconds);
        }

        _parts.Clear();
    }

    private HealthFacts Health() => new()
    {
        Reconciler = _reconciler!.State,
        SourceStale = _source!.Health.Stale,
        SourceFault = _source!.Health.Kinds.Select(kind => kind.Fault).FirstOrDefault(fault => fault is not null),
        Draining = _draining,
        SlowestLoop = _tcp!.SlowestTurn(),
        FaultAge = _reconciler.State.FaultBegan is { } began ? time.GetElapsedTime(began) : null,
        OwnTimeOfSync = _reconciler.OwnTimeOfSync,
        Program = _programs?.Longest,
        Handles = _options.Proxy.Enable,
        HasBeaten = _heart?.HasBeaten ?? true,
        FailedParts = FailedParts(),
        TunnelLoop = _tunnel?.Loop,
        NamesFault = _names?.Fault,
        TunnelFault = _tunnelOff ?? _tunnel?.Fault,
    };
}
