namespace EdgeMesh.LibP2P.Connections;

/// <summary>Wakes whoever waits for something to change. Both methods are called under the lock that guards the thing; the
/// task is awaited outside of it.</summary>
internal sealed class Signal
{
    private TaskCompletionSource? _waiters;

    internal Task Wait() => (_waiters ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;

    internal void Set()
    {
        var waiters = _waiters;
        _waiters = null;
        waiters?.TrySetResult();
    }
}
