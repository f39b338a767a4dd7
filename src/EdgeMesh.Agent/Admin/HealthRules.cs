using System.Collections.Immutable;
using EdgeMesh.Netfilter;
using EdgeMesh.Reconciling;
using EdgeMesh.Tunnel;

namespace EdgeMesh.Agent.Admin;

/// <summary>What the three probes ask, decided from values alone.</summary>
internal sealed record HealthFacts
{
    public required ReconcilerState Reconciler { get; init; }

    /// <summary>What keeps services and endpoints from arriving; null: nothing that is known.</summary>
    public string? SourceFault { get; init; }

    /// <summary>Why the facts may be old; no reason not to be ready.</summary>
    public string? SourceStale { get; init; }

    public required bool Draining { get; init; }

    /// <summary>Time since the slowest data-path loop came round.</summary>
    public required TimeSpan SlowestLoop { get; init; }

    /// <summary>How long the sync under way has taken, without the programs that it waited for; zero while none is.</summary>
    public TimeSpan OwnTimeOfSync { get; init; }

    /// <summary>The program of the packet filter that has run longest; null while none does.</summary>
    public RunningProgram? Program { get; init; }

    /// <summary>False where modules.edgeProxy is not enabled: then there are no rules to wait for.</summary>
    public required bool Handles { get; init; }

    /// <summary>False until the first heartbeat has gone out: before, the rules that need this process are not in force.</summary>
    public bool HasBeaten { get; init; } = true;

    /// <summary>Since when the newest plan could not be applied; null when it is in force.</summary>
    public required TimeSpan? FaultAge { get; init; }

    /// <summary>Parts that fail again and again by a fault of the program, each as a sentence.</summary>
    public required ImmutableList<string> FailedParts { get; init; }

    /// <summary>Null where there is no tunnel.</summary>
    public TunnelLoopState? TunnelLoop { get; init; }

    /// <summary>Why names are not answered although they should be; null while they are, or where they need not.</summary>
    public string? NamesFault { get; init; }

    /// <summary>Why the tunnel does not work although it is enabled; null while it does, or where it is not.</summary>
    public string? TunnelFault { get; init; }
}

internal static class HealthRules
{
    /// <summary>A loop comes round at least every second; several times that means it hangs, and a restart is the cure.</summary>
    private static readonly TimeSpan HungLoop = TimeSpan.FromSeconds(10);

    /// <summary>A sync of a large cluster takes seconds. Meanwhile no change of any service comes into force. Where a program hangs, and
    /// not the agent, a restart would only meet it again.</summary>
    private static readonly TimeSpan HungSync = TimeSpan.FromSeconds(30);

    /// <summary>kube-proxy calls itself unhealthy after two minutes with changes it could not apply.</summary>
    private static readonly TimeSpan StuckSync = TimeSpan.FromMinutes(2);

    /// <summary>Would a restart help? Only then is the process not alive.</summary>
    public static ImmutableArray<string> NotAlive(HealthFacts facts)
    {
        var reasons = ImmutableArray.CreateBuilder<string>();
        if (facts.SlowestLoop > HungLoop)
            reasons.Add($"a forwarding loop has not come round for {facts.SlowestLoop.TotalSeconds:F0} s");
        if (facts.OwnTimeOfSync > HungSync)
            reasons.Add($"a sync of the rules has been under way for {facts.OwnTimeOfSync.TotalSeconds:F0} s");
        if (facts.TunnelLoop is { } loop && TunnelLoopFault(loop) is { } fault)
            reasons.Add(fault);
        return reasons.ToImmutable();
    }

    /// <summary>Why only a restart brings the tunnel back; null while its loop comes round.</summary>
    public static string? TunnelLoopFault(TunnelLoopState loop) =>
        loop.HasFailed ? "the tunnel's loop ended by a fault of this program (see the log); nothing goes through the tunnel until the agent is restarted"
        : loop.SinceTurn > HungLoop ? $"the tunnel's loop has not come round for {loop.SinceTurn.TotalSeconds:F0} s; nothing goes through the tunnel meanwhile"
        : null;

    public static ImmutableArray<string> NotReady(HealthFacts facts)
    {
        var reasons = NotAlive(facts).ToBuilder();
        if (facts.Draining)
            reasons.Add("draining");
        if (facts.Handles && facts.Reconciler.LastSync is null)
        {
            reasons.Add(facts.Reconciler.Facts is null
                ? "services and endpoints have not both been listed yet" + (facts.SourceFault is { } fault ? $": {fault}" : "")
                : "rules have not been applied yet" + (facts.Reconciler.Fault is { } why ? $": {why}" : ""));
        }
        else if (facts.Handles && !facts.HasBeaten)
        {
            reasons.Add("rules are written but not in force before the first heartbeat");
        }

        return reasons.ToImmutable();
    }

    public static ImmutableArray<string> NotHealthy(HealthFacts facts)
    {
        var reasons = NotReady(facts).ToBuilder();
        if (facts.Program is { } program && program.For > HungSync)
            reasons.Add($"`{program.Program}` has been running for {program.For.TotalSeconds:F0} s, and changes wait for it: find out what holds it up, a lock (fuser /run/xtables.lock) or an overloaded machine");
        if (facts.FaultAge > StuckSync)
            reasons.Add($"changes could not be applied for {facts.FaultAge.Value.TotalSeconds:F0} s: {facts.Reconciler.Fault}");
        reasons.AddRange(facts.FailedParts);
        if (facts.TunnelFault is { } tunnel)
            reasons.Add(tunnel);
        if (facts.NamesFault is { } names)
            reasons.Add(names);
        return reasons.ToImmutable();
    }
}
