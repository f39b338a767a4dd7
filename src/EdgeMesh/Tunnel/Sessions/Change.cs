namespace EdgeMesh.Tunnel.Sessions;

/// <summary>Wakes whoever waits for something to change: take <see cref="Next"/>, look at the thing, and only then wait.</summary>
internal sealed class Change
{
    private TaskCompletionSource _next = New();

    internal Task Next => Volatile.Read(ref _next).Task;

    internal void Tell() => Interlocked.Exchange(ref _next, New()).TrySetResult();

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
