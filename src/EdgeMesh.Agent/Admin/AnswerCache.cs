namespace EdgeMesh.Agent.Admin;

/// <summary>An answer that is made at most once in a while, whoever and however many ask.</summary>
internal sealed class AnswerCache(TimeSpan age, Func<CancellationToken, Task<byte[]>> build, TimeProvider time)
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    private readonly Lock _gate = new();
    private Task<byte[]>? _answer;
    private long _asked;

    public Task<byte[]> GetAsync(CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            if (_answer is null || (_answer.IsCompleted && time.GetElapsedTime(_asked) >= age))
            {
                _asked = time.GetTimestamp();
                _answer = BuildAsync();
            }

            return _answer.WaitAsync(cancellationToken);
        }
    }

    // Not with the asker's token: others wait for the same answer.
    private async Task<byte[]> BuildAsync()
    {
        await Task.Yield();
        using var deadline = new CancellationTokenSource(Deadline, time);
        return await build(deadline.Token);
    }
}
