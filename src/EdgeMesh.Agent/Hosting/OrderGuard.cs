using System.Collections.Immutable;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Reconciling;
using EdgeMesh.Supervision;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Notices when anybody changes the rules or chains that matter to us, or our device, and asks for a repair.
/// nf_tables tells by itself; iptables-legacy does not, so there fingerprints of the tables are read each second.</summary>
internal sealed partial class OrderGuard(
    bool legacy,
    RuleWatch watch,
    string deviceName,
    IReadOnlyList<InetAddress> deviceAddresses,
    Reconciler reconciler,
    Supervisor supervisor,
    TimeProvider time,
    ILogger<OrderGuard> logger)
{
    private static readonly TimeSpan LegacyInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan DeviceInterval = TimeSpan.FromSeconds(5);

    // A look without a cause may take one part in so many of a core. Without events, as on legacy, more hangs on it, since
    // nothing else tells of a rule that was only moved.
    private const int RestPerLook = 500;
    private const int BlindRestPerLook = 200;

    /// <summary>Without events a shorter look is made on time whatever it costs: how long it takes says more of how busy the
    /// machine is than of the table, and the order is promised to be back within five seconds.</summary>
    private static readonly TimeSpan ShortLook = TimeSpan.FromMilliseconds(250);

    /// <summary>A rule that was moved without changing the table's size leaves the fingerprint as it was, and a lost event is
    /// possible: a full look now and then covers both.</summary>
    private static readonly TimeSpan FullLookInterval = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan LegacyFullLookInterval = TimeSpan.FromSeconds(4);

    private bool _hasEvents = !legacy;
    private long? _lookedAt;

    /// <summary>Each look goes on whatever becomes of the others.</summary>
    public Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(
        supervisor.LoopAsync("order-events", legacy ? PollLegacyAsync : WatchEventsAsync, cancellationToken),
        supervisor.LoopAsync("order-look", token => LookAsync(legacy ? LegacyFullLookInterval : FullLookInterval, LookIfCheap, token), cancellationToken),
        supervisor.LoopAsync("device-look", token => LookAsync(DeviceInterval, CheckDevice, token), cancellationToken));

    private async Task WatchEventsAsync(CancellationToken cancellationToken)
    {
        // The first sync writes everything: events about it would be many, and say nothing.
        await reconciler.FirstSync.WaitAsync(cancellationToken);
        RuleChangeMonitor monitor;
        try
        {
            monitor = RuleChangeMonitor.Start(watch);
        }
        catch (NetlinkException fault)
        {
            LogNoEvents(LegacyInterval.TotalSeconds, fault.Message);
            _hasEvents = false;
            await LookAsync(LegacyInterval, LookIfCheap, cancellationToken);
            return;
        }

        using (monitor)
        {
            try
            {
                // What happened before there were events.
                reconciler.RequestRepair();
                while (true)
                {
                    var changes = await monitor.WaitAsync(cancellationToken);
                    var touched = monitor.TakeTouchedChains();
                    LogChanged(changes.ToString(), touched.Count);
                    reconciler.RequestRepair(touched);
                }
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                // The agent ends.
            }
        }
    }

    private async Task PollLegacyAsync(CancellationToken cancellationToken)
    {
        // Into the filter table we write so seldom that a look after each change of our own costs nothing.
        var tables = ImmutableArray.CreateBuilder<(LegacyTable Table, bool OftenOurs)>();
        try
        {
            foreach (var table in watch.HookChains.Keys)
            {
                tables.Add((LegacyTable.Open(ipv6: false, table), table == "nat"));
                tables.Add((LegacyTable.Open(ipv6: true, table), table == "nat"));
            }
        }
        catch (NetlinkException fault)
        {
            LogNoEvents(LegacyFullLookInterval.TotalSeconds, fault.Message);
        }

        try
        {
            var last = new LegacyTableInfo?[tables.Count];
            var (own, repairs) = (-1L, 0L);
            await LookAsync(
                LegacyInterval,
                () =>
                {
                    // Read before the tables: a sync that ends in between is then seen twice rather than never. What somebody
                    // else changed in the same second as we did is found by the next look without a cause.
                    var state = reconciler.State;
                    var ended = state.SyncsWithChanges + state.OrderRepairs;
                    var (explained, first) = (ended != own, own < 0);
                    // Taken away again since, a table looks as it did before the repair.
                    var repaired = state.OrderRepairs != repairs;
                    (own, repairs) = (ended, state.OrderRepairs);
                    for (var i = 0; i < tables.Count; i++)
                    {
                        var now = tables[i].Table.Read();
                        var changed = now != last[i];
                        last[i] = now;
                        if (repaired || (changed && (!explained || (!first && !tables[i].OftenOurs))))
                            reconciler.RequestRepair();
                    }
                },
                cancellationToken);
        }
        finally
        {
            foreach (var (table, _) in tables)
                table.Dispose();
        }
    }

    private void LookIfCheap()
    {
        var now = time.GetTimestamp();
        var rest = !_hasEvents && reconciler.LastCheck < ShortLook ? TimeSpan.Zero : reconciler.LastCheck * (_hasEvents ? RestPerLook : BlindRestPerLook);
        if (_lookedAt is { } before && time.GetElapsedTime(before, now) < rest)
            return;
        _lookedAt = now;
        reconciler.RequestRepair();
    }

    private void CheckDevice()
    {
        try
        {
            foreach (var repair in ListenDevice.Ensure(deviceName, deviceAddresses) is var state && state.Created
                         ? [$"device {deviceName} was gone and is back"]
                         : state.Repairs)
            {
                LogDeviceRepair(repair);
            }
        }
        catch (NetlinkException fault)
        {
            LogDeviceFault(DeviceInterval.TotalSeconds, fault.Message);
        }
    }

    private async Task LookAsync(TimeSpan interval, Action look, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(interval, time);
        try
        {
            while (await timer.WaitForNextTickAsync(cancellationToken))
                look();
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The agent ends.
        }
    }
}
