using EdgeMesh.Catalog;
using EdgeMesh.Hosts;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Planning;
using EdgeMesh.Reconciling;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Tests.Planning;
using Microsoft.Extensions.Logging;
using Xunit;
using static EdgeMesh.Testing.Cluster.ClusterObjects;

namespace EdgeMesh.Tests.Reconciling;

public sealed class ReconcilerTests
{
    private static readonly Service _web = Service("demo/web", "10.0.0.1", "80");
    private static readonly EndpointSlice _webSlice = Slice("demo/web-1", "demo/web", "8080", "10.244.0.1");

    [Fact]
    public async Task NothingIsAppliedOrRepairedBeforeThereAreFacts()
    {
        await using var run = new RunningReconciler();
        run.Reconciler.RequestRepair();
        await run.EndPauseAsync();
        run.Reconciler.Change(new ReconcilerOptions(TestOptions.Policy, TestOptions.Userspace));
        await run.PauseAsync();
        Assert.Empty(run.Backend.Journal);
        Assert.Null(run.State.LastSync);
    }

    [Theory]
    [InlineData(0, 40)]
    [InlineData(30, 10)]
    [InlineData(60, 0)]
    public async Task TheTimeThatProgramsTakeIsNotTheSyncsOwn(int programs, int own)
    {
        await using var run = new RunningReconciler { RoundTakes = TimeSpan.FromSeconds(40), ProgramsTake = TimeSpan.FromSeconds(programs) };
        await run.PublishAsync(Facts(_web));
        Assert.Equal(TimeSpan.FromSeconds(own), run.LongestOwnTime);
        Assert.Equal(TimeSpan.Zero, run.Reconciler.OwnTimeOfSync);
    }

    [Fact]
    public async Task TheFirstChangeIsAppliedAtOnceAndABurstTogether()
    {
        await using var run = new RunningReconciler();
        var facts = Facts(_web);
        Assert.Equal(SyncPace.LeastRest, await run.PublishAsync(facts));
        Assert.Equal(1, run.Count("sync"));

        for (var i = 2; i < 20; i++)
            run.Source.Publish(facts = facts.With(Service($"demo/s{i}", $"10.0.0.{i}", "80")));
        run.Time.Advance(TimeSpan.FromMilliseconds(19));
        Assert.Equal(1, run.Count("sync"));
        run.Time.Advance(TimeSpan.FromMilliseconds(1));
        await run.Backend.WroteAsync("sync", 2, RunningReconciler.Deadline);
        Assert.Equal(["sync +1 -0", "sync +18 -0"], run.Backend.Journal.Where(line => line.StartsWith("sync", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task RoutesComeBeforeTheirRulesAndGoAfterThem()
    {
        await using var run = new RunningReconciler(new ReconcilerOptions(TestOptions.Policy, TestOptions.Userspace));
        var two = Facts(_web, Service("demo/other", "10.0.0.2", "80"));
        await run.PublishAsync(two);
        run.Source.Publish(Facts(Service("demo/third", "10.0.0.3", "80")));
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("routes 1", 1, RunningReconciler.Deadline);
        Assert.Equal(
            ["routes 2", "sync +2 -0", "routes 2", "routes 3", "sync +1 -2", "routes 1"],
            run.Backend.Journal.Where(line => !line.StartsWith("conntrack", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task AFailedSyncKeepsTheLastPlanBacksOffAndHeals()
    {
        await using var run = new RunningReconciler(new ReconcilerOptions(TestOptions.Policy, TestOptions.Userspace));
        await run.PublishAsync(Facts(_web));
        var good = run.State.Plan;

        run.Backend.Fault = "iptables-restore said no";
        run.Source.Publish(Facts(Service("demo/other", "10.0.0.2", "80")));
        await run.EndPauseAsync();
        double[] delays = [0.5, 1, 2, 4, 8, 16, 30, 30];
        for (var i = 0; i < delays.Length; i++)
        {
            await run.Backend.WroteAsync("sync failed", i + 1, RunningReconciler.Deadline);
            Assert.Equal(delays[i], (await run.PauseAsync()).TotalSeconds);
            Assert.Same(good, run.State.Plan);
            Assert.Equal("iptables-restore said no", run.State.Fault);
            Assert.Equal(2, run.Routes.Routes.Count);
            Assert.Equal(i + 1, run.State.SyncFailures);
            if (i < delays.Length - 1)
                await run.EndPauseAsync();
        }

        Assert.Equal(delays.Length, run.Said("next try in"));
        run.Backend.Fault = null;
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("sync +1 -1", 1, RunningReconciler.Deadline);
        Assert.Equal(SyncPace.LeastRest, await run.PauseAsync());
        Assert.Null(run.State.Fault);
        Assert.Equal("other", run.State.Plan.Services.Single().Service.Name.Name);
        Assert.Single(run.Routes.Routes);

        run.Backend.Fault = "again";
        run.Source.Publish(Facts(_web));
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("sync failed", delays.Length + 1, RunningReconciler.Deadline);
        Assert.Equal(0.5, (await run.PauseAsync()).TotalSeconds);
    }

    [Fact]
    public async Task ARequestedRepairIsMadeOnceCountedAndRemembered()
    {
        await using var run = new RunningReconciler();
        await run.PublishAsync(Facts(_web));
        for (var round = 1; round <= 4; round++)
        {
            for (var i = 0; i < 3; i++)
                run.Backend.Damage($"damage {round}.{i}");
            run.Reconciler.RequestRepair();
            run.Reconciler.RequestRepair();
            await run.EndPauseAsync();
            await run.Backend.WroteAsync("repair 3", round, RunningReconciler.Deadline);
            await run.PauseAsync();
        }

        Assert.Equal(4, run.Count("repair"));
        Assert.Equal(1, run.Count("sync"));
        Assert.Equal(12, run.State.OrderRepairs);
        Assert.Equal(10, run.State.RecentRepairs.Length);
        Assert.Equal(("damage 1.2", "damage 4.2"), (run.State.RecentRepairs[0], run.State.RecentRepairs[^1]));
        Assert.Equal(run.Time.GetUtcNow(), run.State.LastRepair);
        Assert.Equal(12, run.Log.Lines.Count(l => l.Level == LogLevel.Warning && l.Text.StartsWith("Repaired: damage", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task ALongRoundIsFollowedByALongRestWhichARepairEnds()
    {
        await using var run = new RunningReconciler { RoundTakes = TimeSpan.FromSeconds(1) };
        // The first round writes everything, and says nothing of the next one.
        Assert.Equal(SyncPace.LeastRest, await run.PublishAsync(Facts(_web)));
        run.Source.Publish(Facts(_web, Service("demo/other", "10.0.0.2", "80")));
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("sync", 2, RunningReconciler.Deadline);

        Assert.Equal(Reconciler.LongestRestBeforeRepair, await run.PauseAsync());
        await run.EndPauseAsync();
        Assert.Equal(SyncPace.LongestRest - Reconciler.LongestRestBeforeRepair, await run.PauseAsync());
        run.Reconciler.RequestRepair();
        await run.Backend.WroteAsync("repair", 1, RunningReconciler.Deadline);
    }

    [Fact]
    public async Task ARepairThatFindsAllInOrderIsNotCounted()
    {
        await using var run = new RunningReconciler();
        await run.PublishAsync(Facts(_web));
        run.Reconciler.RequestRepair();
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("repair 0", 1, RunningReconciler.Deadline);
        await run.PauseAsync();
        Assert.Equal(0, run.State.OrderRepairs);
        Assert.Null(run.State.LastRepair);
    }

    [Fact]
    public async Task ARepairThatFailsIsTriedAgain()
    {
        await using var run = new RunningReconciler();
        await run.PublishAsync(Facts(_web));
        run.Backend.Damage("flushed");
        run.Backend.Fault = "busy";
        run.Reconciler.RequestRepair();
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("repair failed", 1, RunningReconciler.Deadline);
        Assert.Equal(0.5, (await run.PauseAsync()).TotalSeconds);
        Assert.Equal("busy", run.State.Fault);
        run.Backend.Fault = null;
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("repair 1", 1, RunningReconciler.Deadline);
        await run.PauseAsync();
        Assert.Null(run.State.Fault);
        Assert.Equal(1, run.State.OrderRepairs);
    }

    [Fact]
    public async Task WhatASyncLeftUndoneIsTriedAgainSoonAndThenLessOften()
    {
        await using var run = new RunningReconciler();
        run.Backend.Incomplete = "the filter table is held";
        await run.PublishAsync(Facts(_web));
        await run.EndPauseAsync();
        Assert.Equal("the filter table is held", run.State.Incomplete);
        Assert.Null(run.State.Fault);
        double[] delays = [0.5, 1, 2, 4, 8, 16, 30, 30];
        for (var i = 0; i < delays.Length; i++)
        {
            // The rest after the round before counts.
            Assert.Equal(delays[i], (await run.PauseAsync() + SyncPace.LeastRest).TotalSeconds);
            run.Backend.Incomplete = i < delays.Length - 1 ? run.Backend.Incomplete : null;
            await run.EndPauseAsync();
            await run.Backend.WroteAsync("repair 0", i + 1, RunningReconciler.Deadline);
            Assert.Equal(SyncPace.LeastRest, await run.PauseAsync());
            await run.EndPauseAsync();
        }

        Assert.Null(run.State.Incomplete);
        Assert.Equal((1, 1), (run.Said("the filter table is held"), run.Said("stands now")));
        Assert.Equal(1, run.Count("sync"));
    }

    [Fact]
    public async Task ConntrackThatCouldNotBeCleanedIsCleanedOfEverythingSince()
    {
        await using var run = new RunningReconciler { ConntrackFault = new IOException("no buffer space") };
        await run.PublishAsync(Facts(Service("demo/dns", "10.0.0.1", "dns:53/UDP")));
        await run.EndPauseAsync();
        run.Source.Publish(Facts(Service("demo/dns", "10.0.0.1", "dns:53/UDP"), Service("demo/more", "10.0.0.2", "dns:53/UDP")));
        await run.Backend.WroteAsync("conntrack 2", 1, RunningReconciler.Deadline);
        await run.EndPauseAsync();
        run.ConntrackFault = null;
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("conntrack 2", 2, RunningReconciler.Deadline);
        await run.EndPauseAsync();
        Assert.Equal(1, run.Said("no buffer space"));
        Assert.Equal(3, run.Count("conntrack"));
    }

    [Fact]
    public async Task ConnectionsThatNobodyAnsweredBeginAnewWhenTheHostCarriesOthers()
    {
        await using var run = new RunningReconciler();
        await run.PublishAsync(Facts(_web, _webSlice, Service("demo/two", "10.0.0.2", "80")));
        Assert.Equal(0, run.Count("conntrack"));
        await run.EndPauseAsync();
        var stopped = HostCarriage.Unasked with { Code = HostCode.NotForwarding, Sentence = "this node does not forward IPv4" };
        run.Reconciler.Change(new ReconcilerOptions(TestOptions.Policy, TestOptions.Planning with { Host = new(stopped, stopped) }));
        await run.Backend.WroteAsync("conntrack 2", 1, RunningReconciler.Deadline);
        await run.EndPauseAsync();
        run.Reconciler.RequestRepair();
        await run.Backend.WroteAsync("repair", 1, RunningReconciler.Deadline);
        await run.PauseAsync();
        Assert.Equal(1, run.Count("conntrack"));
    }

    [Fact]
    public async Task APlanThatTheKernelRefusesDoesNotStopRepairs()
    {
        await using var run = new RunningReconciler();
        await run.PublishAsync(Facts(_web));
        run.Backend.Fault = "no";
        run.Source.Publish(Facts());
        run.Reconciler.RequestRepair();
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("repair failed", 1, RunningReconciler.Deadline);
        Assert.Equal(1, run.Count("sync failed"));
    }

    [Fact]
    public async Task ChangedOptionsTakeEffectWithoutNewFacts()
    {
        await using var run = new RunningReconciler();
        await run.PublishAsync(Facts(_web));
        Assert.Single(run.Backend.Standing);
        run.Reconciler.Change(new ReconcilerOptions(
            TestOptions.Policy with { FilterMode = ServiceFilterMode.FilterIfLabelDoesNotExists }, TestOptions.Planning));
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("sync +0 -1", 1, RunningReconciler.Deadline);
        Assert.Empty(run.Backend.Standing);
    }

    [Fact]
    public async Task AWakeUpWithoutNewsSyncsNothing()
    {
        await using var run = new RunningReconciler();
        var facts = Facts(_web);
        await run.PublishAsync(facts);
        run.Reconciler.RequestRepair();
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("repair", 1, RunningReconciler.Deadline);
        Assert.Equal(1, run.Count("sync"));
        Assert.Equal(1, run.State.Syncs);
    }

    [Fact]
    public async Task WorkingFromTheCacheAndBackIsSaidOnce()
    {
        await using var run = new RunningReconciler();
        var cached = Facts(_web) with { Origin = FactsOrigin.Cache };
        await run.PublishAsync(cached);
        run.Source.Publish(cached.With(_webSlice));
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("sync", 2, RunningReconciler.Deadline);
        Assert.Equal((1, 0), (run.Said("Working from the cache"), run.Said("script has answered")));

        var live = cached with { Origin = FactsOrigin.Live };
        for (var i = 3; i <= 4; i++)
        {
            run.Source.Publish(live.With(Service("demo/new", $"10.0.0.{i}", "80")));
            await run.EndPauseAsync();
            await run.Backend.WroteAsync("sync", i, RunningReconciler.Deadline);
        }

        Assert.Equal((1, 1), (run.Said("Working from the cache"), run.Said("script has answered")));
    }

    [Fact]
    public async Task AFaultOfAServiceIsSaidOnceUntilItChanges()
    {
        await using var run = new RunningReconciler();
        var facts = Facts(Service("demo/bad", "10.0.0.1", "80", "x:0"));
        await run.PublishAsync(facts);
        run.Source.Publish(facts = facts.With(_webSlice).With(Service("demo/other", "10.0.0.9", "80")));
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("sync", 2, RunningReconciler.Deadline);
        Assert.Equal(1, run.Said("impossible number 0"));
        run.Source.Publish(facts.With(Service("demo/bad", "10.0.0.1", "80", "x:70000")));
        await run.EndPauseAsync();
        await run.Backend.WroteAsync("sync", 3, RunningReconciler.Deadline);
        Assert.Equal((1, 1), (run.Said("impossible number 0"), run.Said("impossible number 70000")));
    }

    [Fact]
    public async Task ConntrackIsCleanedAfterTheRulesAndItsFaultIsNotFatal()
    {
        await using var run = new RunningReconciler { ConntrackFault = new IOException("netlink is closed") };
        await run.PublishAsync(Facts(Service("demo/dns", "10.0.0.1", "dns:53/UDP")));
        Assert.Equal(["sync +1 -0", "conntrack 1"], run.Backend.Journal.Where(line => line[0] is 's' or 'c'));
        Assert.Equal(1, run.Said("netlink is closed"));
        Assert.Null(run.State.Fault);
        Assert.NotNull(run.State.LastSync);
    }

    [Fact]
    public async Task WithdrawingTakesOutWhatNeedsTheProcessAndFreesItsUdpFlows()
    {
        await using var run = new RunningReconciler();
        await run.PublishAsync(Facts(_web, _webSlice, Service("demo/dns", "10.0.0.2", "dns:53/UDP")));
        await run.StopAsync();
        await run.Reconciler.WithdrawAsync(CancellationToken.None);
        Assert.Equal("demo/web", Assert.Single(run.Backend.Standing).Value.Comment);
        Assert.Equal(["withdraw", "conntrack 1"], run.Backend.Journal[^2..]);
        Assert.True(run.State.Withdrawn);
    }

    [Fact]
    public async Task ASourceThatThrowsEndsTheLoopInsteadOfLeavingItAsleep()
    {
        await using var run = new RunningReconciler();
        await run.PublishAsync(Facts(_web));
        run.Source.Break(new InvalidOperationException("a bug"));
        var fault = await Assert.ThrowsAsync<InvalidOperationException>(() => run.Running.WaitAsync(RunningReconciler.Deadline));
        Assert.Equal("a bug", fault.Message);
    }
}
