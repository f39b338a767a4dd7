using EdgeMesh.Linux;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Holds the heart still until rules of this process are in force. Rules of one that was killed a moment ago may
/// stand; a heartbeat before this process knows its routes would lead clients to a listener that refuses them.</summary>
internal sealed class HeartbeatGate(IHeartbeat heartbeat) : IHeartbeat, IDisposable
{
    private volatile bool _open;
    private volatile bool _hasBeaten;

    /// <summary>True once a beat has gone out: from then on the rules that need this process are in force.</summary>
    public bool HasBeaten => _hasBeaten;

    public void Open() => _open = true;

    public void Beat()
    {
        if (!_open)
            return;
        heartbeat.Beat();
        _hasBeaten = true;
    }

    public void Dispose() => (heartbeat as IDisposable)?.Dispose();
}
