using System.Text.RegularExpressions;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests.Supervision;

/// <summary>Work that nobody waits for dies without a word, unless it runs under the supervisor: found in the source, so that new
/// code is held to it too.</summary>
public sealed partial class BackgroundWorkTests
{
    /// <summary>Where work begins outside the supervisor, and why that is right.</summary>
    private static readonly (string File, string Line, string Why)[] Allowed =
    [
        ("EdgeMesh/Supervision/Supervisor.cs", "_ = LoopAsync(name, loop, cancellationToken)", "the supervisor itself; its loops never throw"),
        ("EdgeMesh/Supervision/Supervisor.cs", "_ = RunAsync(name, work)", "the supervisor itself; never throws"),
        ("EdgeMesh/Forwarding/ForwardingLoop.cs", "new Thread(Run)", "catches all, reports to the supervisor; /livez notices its end"),
        ("EdgeMesh/Forwarding/Udp/UdpLoop.cs", "new Thread(Run)", "catches all, reports to the supervisor"),
        ("EdgeMesh/Tunnel/Loop/TunnelLoop.cs", "new Thread(Run)", "catches all, reports to the supervisor; /livez notices its end"),
        ("EdgeMesh/Tunnel/Admission/Doorkeeper.cs", "new Thread(Run)", "catches all, reports to the supervisor and goes on"),
        ("EdgeMesh.LibP2P/Connections/PeerHostOptions.cs", "_ = work()", "what a host does that has no supervisor; MeshNode gives it one"),
        ("EdgeMesh.Kubernetes/Watching/Reflector.cs", "_time.CreateTimer(_ => Recovered()", "changes a value and writes one line"),
        ("EdgeMesh.Linux/Netlink/RuleChangeMonitor.cs", "new Thread(Listen)", "its fault goes to the order guard's wait, which runs under the supervisor"),
        ("EdgeMesh.Linux/Netlink/NftHeartbeat.cs", "new Thread(Write)", "survives every fault, and tells it to the loop that beats"),
        ("EdgeMesh.Linux/Netlink/ConntrackCleaner.cs", "Task.Run(() => DeleteUdp(", "returned to its caller, which waits for it"),
        ("EdgeMesh.Linux/Netlink/ConntrackCleaner.cs", "Task.Run(() => DeleteUnansweredTcp(", "returned to its caller, which waits for it"),
    ];

    [Fact]
    public void WhateverRunsInTheBackgroundRunsUnderTheSupervisor()
    {
        var found = Repository.LinesOfCode(Begin()).ToList();
        var unknown = found.Where(f => !Allowed.Any(a => a.File == f.File && f.Line.Contains(a.Line, StringComparison.Ordinal)));
        Assert.Empty(unknown.Select(f => $"{f.File}:{f.Number}: {f.Line} - run it under the Supervisor"));
        // A list that speaks of what is gone would let its like in again.
        Assert.Empty(Allowed.Where(a => !found.Any(f => a.File == f.File && f.Line.Contains(a.Line, StringComparison.Ordinal))).Select(a => $"{a.File}: {a.Line} is not there any more"));
    }

    [Theory]
    [InlineData("        _ = RunAsync();")]
    [InlineData("    internal void Start() => _ = RunAsync();")]
    [InlineData("                _ = place.RunAsync();")]
    [InlineData("        _ = Task.Run(Work);")]
    [InlineData("        Task.Run(Work);")]
    [InlineData("        _ = carried.ContinueWith(Forget);")]
    [InlineData("        carried.ContinueWith(Forget);")]
    [InlineData("        new Thread(Work).Start();")]
    [InlineData("        _timer = new Timer(_ => Work(), null, 0, 1000);")]
    [InlineData("        var timer = time.CreateTimer(_ => Work(), null, due, period);")]
    [InlineData("    private async void OnChanged(object sender)")]
    [InlineData("        token.Register(async () => await WorkAsync());")]
    [InlineData("        ThreadPool.QueueUserWorkItem(Work);")]
    [InlineData("        ThreadPool.UnsafeQueueUserWorkItem(Work, false);")]
    [InlineData("        Task.Factory.StartNew(Work);")]
    [InlineData("        _ = work();")]
    [InlineData("        var _ = WorkAsync();")]
    public void EveryWayToBeginWorkIsSeen(string line) => Assert.Matches(Begin(), line);

    [Theory]
    [InlineData("        await WorkAsync();")]
    [InlineData("        supervisor.Start(\"a-loop\", () => WorkAsync());")]
    [InlineData("        _ = Libc.close(descriptor);")]
    [InlineData("        using var timer = new PeriodicTimer(interval, time);")]
    [InlineData("        using var _ = File.OpenRead(path);")]
    public void OtherLinesAreNot(string line) => Assert.DoesNotMatch(Begin(), line);

    [GeneratedRegex(@"\b_ = [\w.?!\[\]]*Async\b|\b_ = (work|run|loop|action)\(|\bTask\.Run\(|\.ContinueWith\(|\bnew Thread\(|\bnew (System\.Threading\.)?Timer\(|\.CreateTimer\(|\basync void\b|Register\(\s*async\b|QueueUserWorkItem\(|Factory\.StartNew\(")]
    private static partial Regex Begin();
}
