using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Sockets;
using EdgeMesh.Testing.Lab;

namespace EdgeMesh.HostTests.Takeover;

/// <summary>Opens new connections at a steady rate, asks each who serves it, and keeps account.</summary>
internal sealed class ConnectionLoad : IAsyncDisposable
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(10);

    private readonly NamespaceLab _lab;
    private readonly string _target;
    private readonly int _perTick;
    private readonly CancellationTokenSource _enough = new();
    private readonly ConcurrentBag<string> _failures = [];
    private readonly List<Task> _connections = [];
    private readonly Task _running;
    private int _byAgent;
    private int _byKubeProxy;

    public ConnectionLoad(NamespaceLab lab, string target, int perSecond)
    {
        _lab = lab;
        _target = target;
        _perTick = (int)(perSecond * Tick.TotalSeconds);
        _running = RunAsync();
    }

    public int ByAgent => Volatile.Read(ref _byAgent);

    public int ByKubeProxy => Volatile.Read(ref _byKubeProxy);

    public IReadOnlyCollection<string> Failures => _failures;

    public double PerSecond { get; private set; }

    /// <summary>Opens no more, and waits for those that are open.</summary>
    public async Task FinishAsync()
    {
        await _enough.CancelAsync();
        await _running;
        await Task.WhenAll(_connections);
    }

    public async ValueTask DisposeAsync()
    {
        await FinishAsync();
        _enough.Dispose();
    }

    private async Task RunAsync()
    {
        var watch = Stopwatch.StartNew();
        using var timer = new PeriodicTimer(Tick);
        try
        {
            // A late tick is made up for: the rate holds on a busy machine too.
            for (var started = 0L; await timer.WaitForNextTickAsync(_enough.Token);)
            {
                for (var due = (long)(watch.Elapsed / Tick) * _perTick; started < due; started++)
                    _connections.Add(OpenAsync(watch));
            }
        }
        catch (OperationCanceledException)
        {
            PerSecond = _connections.Count / watch.Elapsed.TotalSeconds;
        }
    }

    private async Task OpenAsync(Stopwatch watch)
    {
        await Task.Yield();
        var began = watch.Elapsed;
        try
        {
            var answer = await _lab.AskAsync("client", _target);
            _ = answer.Port == HybridNode.ByAgent ? Interlocked.Increment(ref _byAgent) : Interlocked.Increment(ref _byKubeProxy);
        }
        catch (Exception e) when (e is SocketException or IOException or TimeoutException or OperationCanceledException or FormatException)
        {
            _failures.Add($"begun at {began.TotalSeconds:F3} s, failed at {watch.Elapsed.TotalSeconds:F3} s: {e.Message}");
        }
    }
}
