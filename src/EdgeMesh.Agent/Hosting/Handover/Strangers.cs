namespace EdgeMesh.Agent.Hosting.Handover;

/// <summary>Who has connected and has not said a word that counts. There is room for a few, and the oldest gives way: who has
/// the right says so with its first bytes.</summary>
internal sealed class Strangers : IAsyncDisposable
{
    private const int Most = 64;

    private readonly Lock _lock = new();
    private readonly LinkedList<(HandoverLine Line, Task Asking)> _waiting = new();
    private bool _closed;

    /// <param name="ask">True: the line has another owner now. Else it is closed.</param>
    public void Add(HandoverLine line, Func<HandoverLine, Task<bool>> ask)
    {
        lock (_lock)
        {
            for (var node = _waiting.First; node is not null;)
            {
                var next = node.Next;
                if (node.Value.Asking.IsCompleted)
                    _waiting.Remove(node);
                node = next;
            }

            if (_closed)
            {
                line.Dispose();
                return;
            }

            if (_waiting.Count >= Most)
            {
                _waiting.First!.Value.Line.Dispose();
                _waiting.RemoveFirst();
            }

            _waiting.AddLast((line, AskAsync(line, ask)));
        }
    }

    public async ValueTask DisposeAsync()
    {
        Task[] asking;
        lock (_lock)
        {
            _closed = true;
            foreach (var stranger in _waiting.Where(stranger => !stranger.Asking.IsCompleted))
                stranger.Line.Dispose();
            asking = [.. _waiting.Select(stranger => stranger.Asking)];
        }

        await Task.WhenAll(asking);
    }

    private static async Task AskAsync(HandoverLine line, Func<HandoverLine, Task<bool>> ask)
    {
        await Task.Yield();
        if (!await ask(line))
            line.Dispose();
    }
}
