namespace EdgeMesh.Kubernetes.Watching;

/// <summary>
/// The watches of one metaServer, opened and ended together. After its way to the cloud was lost it goes on with open
/// watches that say nothing; they speak again once they are opened anew.
/// </summary>
internal sealed class WatchRound(TimeSpan spacing, TimeProvider time) : IDisposable
{
    private readonly Lock _gate = new();
    private CancellationTokenSource _round = new();
    private long? _renewed;

    /// <summary>Cancelled when the watches have to be opened anew.</summary>
    public CancellationToken Token
    {
        get
        {
            lock (_gate)
            {
                return _round.Token;
            }
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _round.Dispose();
        }
    }

    /// <summary>Not more often than the spacing: under a stream of changes every list finds some that the watches are
    /// just about to tell.</summary>
    /// <returns>False: too soon after the last time.</returns>
    public bool Renew()
    {
        CancellationTokenSource old;
        lock (_gate)
        {
            if (_renewed is { } last && time.GetElapsedTime(last) < spacing)
            {
                return false;
            }

            _renewed = time.GetTimestamp();
            old = _round;
            _round = new();
        }

        // Not disposed: a watch may be linking itself to it at this moment.
        old.Cancel();
        return true;
    }
}
