using EdgeMesh.Kubernetes;

namespace EdgeMesh.Testing.Cluster;

/// <summary>A source whose facts are what the test says, when the test says it.</summary>
public sealed class ScriptedSource : IClusterSource
{
    private readonly Lock _lock = new();
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private ClusterFacts? _current;
    private Exception? _fault;

    public string Description => "script";

    public ClusterFacts? Current
    {
        get
        {
            lock (_lock)
                return _current;
        }
    }

    public SourceHealth Health { get; } = new() { Kinds = [] };

    public void Publish(ClusterFacts facts) => Set(facts, null);

    /// <summary>Breaks the contract of a source on purpose: whoever waits for facts gets this exception.</summary>
    public void Break(Exception fault) => Set(Current, fault);

    public async Task<ClusterFacts> NextAsync(ClusterFacts? seen, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task changed;
            lock (_lock)
            {
                if (_fault is not null)
                    throw _fault;
                if (_current is not null && !ReferenceEquals(_current, seen))
                    return _current;
                changed = _changed.Task;
            }

            await changed.WaitAsync(cancellationToken);
        }
    }

    public Task RunAsync(CancellationToken cancellationToken) => new TaskCompletionSource().Task.WaitAsync(cancellationToken);

    private void Set(ClusterFacts? facts, Exception? fault)
    {
        TaskCompletionSource signal;
        lock (_lock)
        {
            (_current, _fault) = (facts, fault);
            signal = _changed;
            _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        signal.SetResult();
    }
}
