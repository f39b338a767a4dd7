using EdgeMesh.Agent.Admin;
using EdgeMesh.Kubernetes;
using EdgeMesh.Netfilter;
using EdgeMesh.Reconciling;
using EdgeMesh.Tunnel;
using Xunit;

namespace EdgeMesh.Tests.Admin;

public sealed class HealthRulesTests
{
    private static readonly HealthFacts Well = new()
    {
        Reconciler = ReconcilerState.Initial with { LastSync = DateTimeOffset.UnixEpoch },
        Draining = false,
        SlowestLoop = TimeSpan.FromMilliseconds(400),
        Handles = true,
        FaultAge = null,
        FailedParts = [],
    };

    [Fact]
    public void AnAgentWhoseRulesAreInForceIsAliveReadyAndHealthy() => AssertStates(Well, alive: true, ready: true, healthy: true);

    [Fact]
    public void AHungLoopIsTheOneFaultThatARestartCures()
    {
        var hung = Well with { SlowestLoop = TimeSpan.FromSeconds(11) };
        AssertStates(hung, alive: false, ready: false, healthy: false);
        Assert.Contains("11 s", Assert.Single(HealthRules.NotAlive(hung)), StringComparison.Ordinal);
    }

    [Fact]
    public void ASyncThatTakesLongerThanHalfAMinuteIsNoticed()
    {
        AssertStates(Well with { OwnTimeOfSync = TimeSpan.FromSeconds(29) }, alive: true, ready: true, healthy: true);
        var slow = Well with { OwnTimeOfSync = TimeSpan.FromSeconds(31) };
        AssertStates(slow, alive: false, ready: false, healthy: false);
        Assert.Contains("31 s", Assert.Single(HealthRules.NotAlive(slow)), StringComparison.Ordinal);
    }

    [Fact]
    public void AProgramThatHangsIsNamedAndNoReasonForARestart()
    {
        AssertStates(Well with { Program = new RunningProgram("nft -f -", TimeSpan.FromSeconds(29)) }, alive: true, ready: true, healthy: true);
        var hanging = Well with { Program = new RunningProgram("nft -f -", TimeSpan.FromSeconds(31)) };
        AssertStates(hanging, alive: true, ready: true, healthy: false);
        Assert.StartsWith("`nft -f -` has been running for 31 s", Assert.Single(HealthRules.NotHealthy(hanging)), StringComparison.Ordinal);
    }

    [Fact]
    public void ATunnelLoopThatHangsOrEndedIsCuredByARestartAndSaysSo()
    {
        var running = Well with { TunnelLoop = new TunnelLoopState(HasFailed: false, TimeSpan.FromMilliseconds(100)) };
        AssertStates(running, alive: true, ready: true, healthy: true);
        var hung = Well with { TunnelLoop = new TunnelLoopState(HasFailed: false, TimeSpan.FromSeconds(11)) };
        AssertStates(hung, alive: false, ready: false, healthy: false);
        Assert.Contains("not come round for 11 s", Assert.Single(HealthRules.NotAlive(hung)), StringComparison.Ordinal);
        var ended = Well with { TunnelLoop = new TunnelLoopState(HasFailed: true, TimeSpan.FromSeconds(1)) };
        AssertStates(ended, alive: false, ready: false, healthy: false);
        Assert.StartsWith("the tunnel's loop ended by a fault", Assert.Single(HealthRules.NotAlive(ended)), StringComparison.Ordinal);
    }

    [Fact]
    public void ADrainingAgentIsAliveButTakesNoMore() => AssertStates(Well with { Draining = true }, alive: true, ready: false, healthy: false);

    [Fact]
    public void NotReadySaysWhetherFactsOrRulesAreMissing()
    {
        var nothing = Well with { Reconciler = ReconcilerState.Initial };
        var facts = Well with
        {
            Reconciler = ReconcilerState.Initial with { Facts = new ClusterFacts { Origin = FactsOrigin.Live, AsOf = DateTimeOffset.UnixEpoch } },
        };
        Assert.Equal(["services and endpoints have not both been listed yet"], HealthRules.NotReady(nothing));
        Assert.Equal(["rules have not been applied yet"], HealthRules.NotReady(facts));
        facts = facts with { Reconciler = facts.Reconciler with { Fault = "another program holds the lock" } };
        Assert.Equal(["rules have not been applied yet: another program holds the lock"], HealthRules.NotReady(facts));
        AssertStates(nothing, alive: true, ready: false, healthy: false);
    }

    [Fact]
    public void WhereNothingIsHandledThereAreNoRulesToWaitFor() =>
        AssertStates(Well with { Reconciler = ReconcilerState.Initial, Handles = false }, alive: true, ready: true, healthy: true);

    [Theory]
    [InlineData(119, true)]
    [InlineData(121, false)]
    public void ChangesThatCannotBeAppliedForTwoMinutesAreUnhealthyButStayReady(int seconds, bool healthy)
    {
        var facts = Well with { FaultAge = TimeSpan.FromSeconds(seconds), Reconciler = Well.Reconciler with { Fault = "iptables-restore said no" } };
        AssertStates(facts, alive: true, ready: true, healthy);
        if (!healthy)
            Assert.Contains("iptables-restore said no", Assert.Single(HealthRules.NotHealthy(facts)), StringComparison.Ordinal);
    }

    [Fact]
    public void APartThatEndedIsUnhealthyAndNamed()
    {
        var facts = Well with { FailedParts = ["The order guard ended"] };
        AssertStates(facts, alive: true, ready: true, healthy: false);
        Assert.Equal(["The order guard ended"], HealthRules.NotHealthy(facts));
    }

    private static void AssertStates(HealthFacts facts, bool alive, bool ready, bool healthy) => Assert.Equal(
        (alive, ready, healthy),
        (HealthRules.NotAlive(facts).IsEmpty, HealthRules.NotReady(facts).IsEmpty, HealthRules.NotHealthy(facts).IsEmpty));
}
