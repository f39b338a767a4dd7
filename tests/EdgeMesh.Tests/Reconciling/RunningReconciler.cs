using EdgeMesh.Forwarding;
using EdgeMesh.Kubernetes;
using EdgeMesh.Reconciling;
using EdgeMesh.Testing;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Testing.Portals;
using EdgeMesh.Tests.Planning;

namespace EdgeMesh.Tests.Reconciling;

/// <summary>A reconciler that runs between a scripted source and a backend in memory, on a clock that the test turns.</summary>
internal sealed class RunningReconciler : IAsyncDisposable
{
    public static readonly TimeSpan Deadline = TimeSpan.FromSeconds(20);

    private readonly CancellationTokenSource _stop = new();

    public RunningReconciler(ReconcilerOptions? options = null)
    {
        Reconciler = new Reconciler(
            Source,
            Backend,
            options ?? new ReconcilerOptions(TestOptions.Policy, TestOptions.Planning),
            routes =>
            {
                Routes = routes;
                Time.Advance(RoundTakes / 2);
                ProgramTime += ProgramsTake / 2;
                LongestOwnTime = Reconciler!.OwnTimeOfSync > LongestOwnTime ? Reconciler.OwnTimeOfSync : LongestOwnTime;
                Backend.Note($"routes {routes.Routes.Count}");
            },
            (stale, _) =>
            {
                Backend.Note($"conntrack {stale.Count}");
                return ConntrackFault is null ? Task.FromResult(1) : throw ConntrackFault;
            },
            Time,
            Log)
        {
            ProgramTime = () => ProgramTime,
        };
        Running = Reconciler.RunAsync(_stop.Token);
    }

    public ScriptedSource Source { get; } = new();

    public MemoryPortalBackend Backend { get; } = new();

    public ManualTime Time { get; } = new();

    public CollectingLogger<Reconciler> Log { get; } = new();

    public Reconciler Reconciler { get; }

    public Task Running { get; }

    public RouteTable Routes { get; private set; } = RouteTable.Empty;

    public Exception? ConntrackFault { get; set; }

    /// <summary>How long a sync takes on the test's clock; it sets routes twice.</summary>
    public TimeSpan RoundTakes { get; set; }

    /// <summary>How much of that programs take.</summary>
    public TimeSpan ProgramsTake { get; set; }

    public TimeSpan ProgramTime { get; private set; }

    public TimeSpan LongestOwnTime { get; private set; }

    public ReconcilerState State => Reconciler.State;

    /// <summary>Publishes facts and waits until the round that saw them has ended and the loop pauses.</summary>
    /// <returns>How long it pauses.</returns>
    public async Task<TimeSpan> PublishAsync(ClusterFacts facts)
    {
        Source.Publish(facts);
        return await PauseAsync();
    }

    public Task<TimeSpan> PauseAsync() => Time.SomebodyWaitsAsync(Deadline);

    /// <summary>Lets the loop's pause end.</summary>
    public async Task EndPauseAsync() => Time.Advance(await PauseAsync());

    public int Count(string start) => Backend.Journal.Count(line => line.StartsWith(start, StringComparison.Ordinal));

    public int Said(string part) => Log.Lines.Count(line => line.Text.Contains(part, StringComparison.Ordinal));

    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await Running.WaitAsync(Deadline);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Running.WaitAsync(Deadline).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Reconciler.Dispose();
        _stop.Dispose();
    }
}
