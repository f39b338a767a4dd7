namespace EdgeMesh.LibP2P.Connections;

/// <summary>A token that is cancelled when a time has passed or another token is.</summary>
internal sealed class Deadline : IDisposable
{
    private readonly CancellationTokenSource _timer;
    private readonly CancellationTokenSource _linked;

    private Deadline(CancellationTokenSource timer, CancellationTokenSource linked)
    {
        _timer = timer;
        _linked = linked;
    }

    internal CancellationToken Token => _linked.Token;

    internal static Deadline After(TimeSpan time, TimeProvider clock, CancellationToken cancellationToken)
    {
        var timer = new CancellationTokenSource(time, clock);
        return new Deadline(timer, CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken));
    }

    public void Dispose()
    {
        _linked.Dispose();
        _timer.Dispose();
    }
}
