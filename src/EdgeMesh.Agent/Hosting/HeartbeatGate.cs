using EdgeMesh.Linux;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Holds the heart still until rules of this process are in force. Rules of one that was killed a moment ago may
/// stand; a heartbeat before this process knows its routes would lead clients to a listener that refuses them.</summary>
internal sealed class HeartbeatGate(IHeartbeat? heartbeat) : IHeartbeat
{
    private volatile IHeartbeat? _heartbeat = heartbeat;
    private volatile IHeartbeat? _next;
    private volatile bool _open;
    private volatile bool _hasBeaten;

    /// <summary>True once the kernel has felt a beat, or where rules need none: from then on the rules that need this process are in force.</summary>
    public bool HasBeaten => _hasBeaten || _heartbeat is not { HasBeaten: false };

    public void Open() => _open = true;

    /// <summary>Nobody takes the connections that the rules lead here: they are to go to kube-proxy.</summary>
    public void Close() => _open = false;

    /// <summary>Keeps those that stand and those that come in force, while one backend follows the other.</summary>
    public void BeatAlso(IHeartbeat? next) => _next = next;

    /// <summary>What stood before is needed no more. A loop may be in the midst of a beat of it.</summary>
    public void BeatOnly(IHeartbeat? heartbeat)
    {
        _hasBeaten |= _heartbeat is { HasBeaten: true };
        (_heartbeat, _next) = (heartbeat, null);
    }

    public void Beat()
    {
        if (!_open)
            return;
        var (now, next) = (_heartbeat, _next);
        now?.Beat();
        next?.Beat();
    }
}
