using System.Collections.Immutable;
using System.Runtime.ExceptionServices;
using System.Threading.Channels;
using EdgeMesh.Catalog;
using EdgeMesh.Forwarding;
using EdgeMesh.Hosts;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Netfilter;
using EdgeMesh.Planning;
using EdgeMesh.Tunnel;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Reconciling;

/// <summary>The one loop that turns facts into rules and routes. It coalesces changes (<see cref="SyncPace"/>), applies only
/// what differs, repairs what others changed, and retries with back-off. Everything that touches the rules goes through this loop, one after the other.</summary>
public sealed partial class Reconciler : IDisposable
{
    /// <summary>Whoever lost the order waits no longer than this.</summary>
    public static readonly TimeSpan LongestRestBeforeRepair = TimeSpan.FromMilliseconds(400);

    private const int RememberedRepairs = 10;
    private const int MostTouched = 64;

    private readonly IClusterSource _source;
    private readonly IPortalBackend _backend;
    private readonly Action<RouteTable> _setRoutes;
    private readonly Func<StaleFlows, CancellationToken, Task<int>> _cleanConntrack;
    private readonly TimeProvider _time;
    private readonly ILogger<Reconciler> _logger;
    private readonly ReconcilerMetrics _metrics;
    private readonly CatalogBuilder _catalog = new();
    private readonly ForwardingPlanner _planner = new();
    // Holds at most one wake-up: however many changes arrive during a round, one more round sees them all.
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    private readonly Channel<bool> _disturbed = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    private readonly Channel<bool> _hurry = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    private readonly TaskCompletionSource _firstSync = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private volatile ReconcilerOptions _options;
    private volatile ReconcilerState _state = ReconcilerState.Initial;
    private readonly Lock _gate = new();
    private readonly HashSet<string> _touched = new(StringComparer.Ordinal);
    private volatile bool _repairRequested;
    private long _checkTicks;
    private long _syncStarted;
    private long _programTicksBefore;
    private volatile Reachability? _reachability;
    private RouteTable _routes = RouteTable.Empty;
    private Dictionary<ObjectName, ImmutableArray<string>> _saidFaults = [];
    private ServiceCatalog? _saidCatalog;

    // The inputs of the last sync that succeeded: a wake-up that finds the same ones has nothing to do.
    private ClusterFacts? _appliedFacts;
    private ReconcilerOptions? _appliedOptions;
    private Reachability? _appliedReachability;

    // Of which plan, and of which host, conntrack has no stale entry.
    private ForwardingPlan _cleaned = ForwardingPlan.Empty;
    private HostCarriages? _cleanedHost;
    private string? _conntrackFault;

    // Rules are in force, but something beside them is not as it should be.
    private readonly RetryPace _unfinished;

    public Reconciler(
        IClusterSource source,
        IPortalBackend backend,
        ReconcilerOptions options,
        Action<RouteTable> setRoutes,
        Func<StaleFlows, CancellationToken, Task<int>> cleanConntrack,
        TimeProvider time,
        ILogger<Reconciler> logger)
    {
        _source = source;
        _backend = backend;
        _options = options;
        _setRoutes = setRoutes;
        _cleanConntrack = cleanConntrack;
        _time = time;
        _logger = logger;
        _metrics = new ReconcilerMetrics(() => _state);
        _unfinished = new RetryPace(time);
    }

    public ReconcilerState State => _state;

    /// <summary>Completes when rules have been applied for the first time.</summary>
    public Task FirstSync => _firstSync.Task;

    public void Change(ReconcilerOptions options)
    {
        _options = options;
        Wake();
    }

    /// <summary>Says which endpoints of other nodes can be reached directly; all others go through the tunnel. Never said:
    /// there is no tunnel.</summary>
    public void Change(Reachability reachability)
    {
        _reachability = reachability;
        Wake();
    }

    /// <summary>Ends a back-off: what failed is known to have changed.</summary>
    public void Hurry()
    {
        _hurry.Writer.TryWrite(true);
        Wake();
    }

    /// <summary>Told what runs on this node whenever that changes, by the loop: it must be quick.</summary>
    public Action<ServiceCatalog>? CatalogChanged { get; init; }

    /// <summary>Asks for a look at the kernel: somebody may have changed our rules or their place.</summary>
    public void RequestRepair() => RequestRepair([]);

    /// <param name="touchedChains">Chains of ours that somebody is known to have touched; few.</param>
    public void RequestRepair(IReadOnlyCollection<string> touchedChains)
    {
        ArgumentNullException.ThrowIfNull(touchedChains);
        lock (_gate)
            _touched.UnionWith(touchedChains.Take(Math.Max(0, MostTouched - _touched.Count)));
        _repairRequested = true;
        _disturbed.Writer.TryWrite(true);
        Wake();
    }

    /// <summary>For how long programs of the packet filter have run, all in all.</summary>
    public Func<TimeSpan> ProgramTime { get; init; } = () => TimeSpan.Zero;

    /// <summary>How much time of its own the sync that is under way has taken, without that of programs it waited for; zero while
    /// none is.</summary>
    public TimeSpan OwnTimeOfSync
    {
        get
        {
            var started = Volatile.Read(ref _syncStarted);
            if (started == 0)
                return TimeSpan.Zero;
            var own = _time.GetElapsedTime(started) - (ProgramTime() - new TimeSpan(Volatile.Read(ref _programTicksBefore)));
            return own > TimeSpan.Zero ? own : TimeSpan.Zero;
        }
    }

    /// <summary>How long the last look at the kernel took; who looks without a cause looks less often where it is long.</summary>
    public TimeSpan LastCheck => new(Volatile.Read(ref _checkTicks));

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var running = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var watch = WatchFactsAsync(running.Token);
        var reconcile = ReconcileAsync(running.Token);

        // Neither ends by itself: the first to end was cancelled or has failed, and the other must not live on without it.
        await Task.WhenAny(watch, reconcile);
        await running.CancelAsync();
        await Task.WhenAll(watch, reconcile);
    }

    /// <summary>Takes the rules that need this process out of the kernel. Call after <see cref="RunAsync"/> has ended.</summary>
    public async Task WithdrawAsync(CancellationToken cancellationToken)
    {
        await _backend.WithdrawListenersAsync(cancellationToken);
        _state = _state with { Withdrawn = true };
        LogWithdrawn();
        if (UdpStaleness.WithoutListeners(_state.Plan) is { } stale)
            await TryCleanAsync(new StaleFlows(stale, []), cancellationToken);
    }

    public void Dispose() => _metrics.Dispose();

    private void Wake() => _wake.Writer.TryWrite(true);

    private async Task WatchFactsAsync(CancellationToken cancellationToken)
    {
        var seen = (ClusterFacts?)null;
        try
        {
            while (true)
            {
                seen = await _source.NextAsync(seen, cancellationToken);
                Wake();
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The loop has ended.
        }
    }

    private async Task ReconcileAsync(CancellationToken cancellationToken)
    {
        var retry = new RetryPace(_time);
        var pace = new SyncPace();
        var ended = _time.GetTimestamp();
        while (!cancellationToken.IsCancellationRequested)
        {
            TimeSpan pause;
            try
            {
                await WokenAsync(cancellationToken);
                var started = _time.GetTimestamp();
                var isFirst = _state.LastSync is null;
                await RoundAsync(cancellationToken);
                retry.Succeeded();
                // The first round writes everything; the next one need not be like it.
                var rest = pace.RestAfter(isFirst ? TimeSpan.Zero : _time.GetElapsedTime(started), _time.GetElapsedTime(ended, started));
                ended = _time.GetTimestamp();
                await RestAsync(rest, cancellationToken);
                continue;
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (NetfilterException fault)
            {
                // Changes that arrive during the back-off wait for it too: a broken packet filter is not to be hammered.
                _state = _state with { Fault = fault.Message, FaultSince = _state.FaultSince ?? _time.GetUtcNow(), FaultBegan = _state.FaultBegan ?? _time.GetTimestamp() };
                pause = retry.Failed();
                LogApplyFailed(_backend.Name, pause.TotalSeconds, fault.Message);
                Wake();
            }

            await BackOffAsync(pause, cancellationToken);
        }
    }

    /// <summary>Until there is something to do, or what was left unfinished is due.</summary>
    private async Task WokenAsync(CancellationToken cancellationToken)
    {
        if (_unfinished.Left is not { } left)
        {
            await _wake.Reader.ReadAsync(cancellationToken);
            return;
        }

        using var enough = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await Task.WhenAny(Task.Delay(left, _time, enough.Token), _wake.Reader.WaitToReadAsync(enough.Token).AsTask());
        await enough.CancelAsync();
        cancellationToken.ThrowIfCancellationRequested();
        _wake.Reader.TryRead(out _);
        _repairRequested |= _unfinished.Left == TimeSpan.Zero;
    }

    private async Task BackOffAsync(TimeSpan pause, CancellationToken cancellationToken)
    {
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await Task.WhenAny(Task.Delay(pause, _time, enough.Token), _hurry.Reader.WaitToReadAsync(enough.Token).AsTask());
        await enough.CancelAsync();
        _hurry.Reader.TryRead(out _);
    }

    private async Task RestAsync(TimeSpan rest, CancellationToken cancellationToken)
    {
        var first = rest < LongestRestBeforeRepair ? rest : LongestRestBeforeRepair;
        await Task.Delay(first, _time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (rest == first || _repairRequested)
            return;
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await Task.WhenAny(Task.Delay(rest - first, _time, enough.Token), _disturbed.Reader.WaitToReadAsync(enough.Token).AsTask());
        await enough.CancelAsync();
    }

    private async Task RoundAsync(CancellationToken cancellationToken)
    {
        ExceptionDispatchInfo? syncFault = null;
        var options = _options;
        var reachability = _reachability;
        if (_source.Current is { } facts
            && (!ReferenceEquals(facts, _appliedFacts) || !ReferenceEquals(options, _appliedOptions) || !ReferenceEquals(reachability, _appliedReachability)))
        {
            Volatile.Write(ref _programTicksBefore, ProgramTime().Ticks);
            Volatile.Write(ref _syncStarted, _time.GetTimestamp());
            try
            {
                await SyncAsync(facts, options, reachability, cancellationToken);
                (_appliedFacts, _appliedOptions, _appliedReachability) = (facts, options, reachability);
            }
            catch (NetfilterException fault)
            {
                // A plan that the kernel does not take must not keep the rules that stand from being repaired.
                syncFault = ExceptionDispatchInfo.Capture(fault);
            }
            finally
            {
                Volatile.Write(ref _syncStarted, 0);
            }
        }

        if (_repairRequested && _state.LastSync is not null)
        {
            _repairRequested = false;
            _disturbed.Reader.TryRead(out _);
            string[] touched;
            lock (_gate)
            {
                touched = [.. _touched];
                _touched.Clear();
            }

            try
            {
                await RepairAsync(touched, cancellationToken);
            }
            catch (NetfilterException)
            {
                RequestRepair(touched);
                throw;
            }
        }

        syncFault?.Throw();
        if (_state.Fault is not null)
            _state = _state with { Fault = null, FaultSince = null, FaultBegan = null };
        await CleanConntrackAsync(options.Planning.Host, cancellationToken);
        if (_state.Incomplete is null && _conntrackFault is null)
            _unfinished.Succeeded();
        else
            _unfinished.Unfinished();
    }

    private async Task SyncAsync(ClusterFacts facts, ReconcilerOptions options, Reachability? reachability, CancellationToken cancellationToken)
    {
        var started = _time.GetTimestamp();
        if (facts.Origin == FactsOrigin.Cache && _state.Facts is null)
            LogWorkingFromCache(facts.AsOf, _source.Description);
        else if (facts.Origin == FactsOrigin.Live && _state.Facts?.Origin == FactsOrigin.Cache)
            LogSourceAnswered(_source.Description);
        _state = _state with { Facts = facts, Syncs = _state.Syncs + 1 };
        var catalog = _catalog.Build(facts, options.Catalog);
        if (!ReferenceEquals(catalog, _saidCatalog))
        {
            // Before the rules: a peer may know of an endpoint here sooner than this node's own plan is in force.
            _saidCatalog = catalog;
            CatalogChanged?.Invoke(catalog);
        }

        var plan = _planner.Plan(catalog, options.Planning, reachability);
        ReportServiceFaults(plan);

        SyncResult result;
        try
        {
            // A rule must never lead to a listener that knows no route for it: routes come before rules and go after them.
            SetRoutes(Union(_routes, plan.Routes));
            result = await _backend.SyncAsync(plan.Portals, cancellationToken);
        }
        catch (NetfilterException)
        {
            _state = _state with { SyncFailures = _state.SyncFailures + 1 };
            throw;
        }

        SetRoutes(plan.Routes);
        var elapsed = _time.GetElapsedTime(started);
        var now = _time.GetUtcNow();
        _state = _state with
        {
            Plan = plan,
            Reachability = reachability,
            LastSync = now,
            LastSyncDuration = elapsed,
            Fault = null,
            FaultSince = null,
            FaultBegan = null,
            SyncsWithChanges = _state.SyncsWithChanges + (result.Changed ? 1 : 0),
        };
        Said(result.Incomplete);
        _firstSync.TrySetResult();
        _metrics.SyncDuration.Record(elapsed.TotalSeconds);
        if (facts is { Origin: FactsOrigin.Live, Arrived: { } arrived } && !ReferenceEquals(facts, _appliedFacts))
            _metrics.ProgrammingDuration.Record(_time.GetElapsedTime(arrived).TotalSeconds);
        if (result.Changed)
        {
            var handled = plan.Services.Count(s => s.Service.Handling == Handling.Handled);
            LogSynced(
                plan.Services.Sum(s => s.Ports.Count(p => p.Rule is not null)),
                handled, plan.Services.Length - handled, result.RulesAdded, result.RulesRemoved, _backend.Name, elapsed.TotalMilliseconds);
        }
    }

    private void Said(string? incomplete)
    {
        if (incomplete == _state.Incomplete)
            return;
        if (incomplete is null)
            LogComplete();
        else
            LogIncomplete(incomplete);
        _state = _state with { Incomplete = incomplete };
    }

    private async Task RepairAsync(string[] touched, CancellationToken cancellationToken)
    {
        var started = _time.GetTimestamp();
        var result = await _backend.RepairAsync(touched, cancellationToken);
        Volatile.Write(ref _checkTicks, _time.GetElapsedTime(started).Ticks);
        Said(result.Incomplete);
        if (result.Repairs.IsEmpty)
            return;
        foreach (var repair in result.Repairs)
            LogRepair(repair);
        // As after a sync: what was flushed took the kernel's memory of the heartbeat with it.
        _setRoutes(_routes);
        var remembered = _state.RecentRepairs.AddRange(result.Repairs);
        _state = _state with
        {
            OrderRepairs = _state.OrderRepairs + result.Repairs.Length,
            LastRepair = _time.GetUtcNow(),
            RecentRepairs = remembered.Length > RememberedRepairs ? remembered[^RememberedRepairs..] : remembered,
        };
    }

    /// <summary>After the rules: an entry that is removed before them comes back as it was.</summary>
    private async Task CleanConntrackAsync(HostCarriages host, CancellationToken cancellationToken)
    {
        var plan = _state.Plan;
        if (_state.LastSync is null || (ReferenceEquals(plan, _cleaned) && ReferenceEquals(host, _cleanedHost)))
            return;
        var stale = StaleFlows.Between(_cleaned, plan, hostChanged: _cleanedHost is not null && !host.IsSameAs(_cleanedHost));
        if (stale is null || await TryCleanAsync(stale, cancellationToken))
            (_cleaned, _cleanedHost) = (plan, host);
    }

    private async Task<bool> TryCleanAsync(StaleFlows stale, CancellationToken cancellationToken)
    {
        try
        {
            var removed = await _cleanConntrack(stale, cancellationToken);
            if (removed > 0)
                LogConntrackCleaned(removed);
            _conntrackFault = null;
            return true;
        }
        catch (IOException fault)
        {
            if (fault.Message != _conntrackFault)
                LogConntrackFailed(fault.Message);
            _conntrackFault = fault.Message;
            return false;
        }
    }

    private void SetRoutes(RouteTable routes)
    {
        _routes = routes;
        _setRoutes(routes);
    }

    private static RouteTable Union(RouteTable standing, RouteTable coming)
    {
        if (ReferenceEquals(standing, coming) || standing.Routes.IsEmpty)
            return coming;
        var union = coming.Routes.ToBuilder();
        foreach (var (key, route) in standing.Routes)
            union.TryAdd(key, route);
        return union.Count == coming.Routes.Count ? coming : new RouteTable(union.ToImmutable());
    }

    /// <summary>Says each fault of a service once, and again only when it changes.</summary>
    private void ReportServiceFaults(ForwardingPlan plan)
    {
        var standing = new Dictionary<ObjectName, ImmutableArray<string>>();
        foreach (var (service, _) in plan.Services)
        {
            if (service.Faults.IsEmpty)
                continue;
            standing[service.Name] = service.Faults;
            if (!_saidFaults.TryGetValue(service.Name, out var said) || !said.AsSpan().SequenceEqual(service.Faults.AsSpan()))
                LogServiceFault(service.Name.ToString(), string.Join("; ", service.Faults));
        }

        _saidFaults = standing;
    }
}
