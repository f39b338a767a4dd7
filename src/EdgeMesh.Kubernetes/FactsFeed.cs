namespace EdgeMesh.Kubernetes;

/// <summary>The newest view, and the wait for a newer one. A slow reader skips views; none is queued.</summary>
internal sealed class FactsFeed
{
    private readonly Lock _gate = new();
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private ClusterFacts? _current;

    public ClusterFacts? Current => Volatile.Read(ref _current);

    public void Publish(ClusterFacts facts)
    {
        TaskCompletionSource changed;
        lock (_gate)
        {
            changed = _changed;
            _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
            Volatile.Write(ref _current, facts);
        }

        changed.SetResult();
    }

    public async Task<ClusterFacts> NextAsync(ClusterFacts? seen, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task changed;
            lock (_gate)
            {
                if (_current is { } current && !ReferenceEquals(current, seen))
                {
                    return current;
                }

                changed = _changed.Task;
            }

            await changed.WaitAsync(cancellationToken);
        }
    }
}
