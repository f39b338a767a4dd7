using EdgeMesh.LibP2P.Connections;
using EdgeMesh.Tunnel.Loop;

namespace EdgeMesh.Tunnel.Sessions;

/// <summary>One connection to another node, from the handshake on. It carries nothing before it is admitted: until then nobody
/// knows which node it is.</summary>
internal sealed class MeshSession(PeerConnection connection, long number)
{
    private readonly TaskCompletionSource<bool> _admitted = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile HelloMessage? _hello;
    private int _retired;

    internal PeerConnection Connection { get; } = connection;

    /// <summary>What moves its bytes; null before it is admitted.</summary>
    internal TunnelSession? Driven { get; private set; }

    /// <summary>Larger for later ones.</summary>
    internal long Number { get; } = number;

    /// <summary>When the handshake was done, on the mesh's clock.</summary>
    internal long StartedAt { get; init; }

    internal bool IsDirect => Connection.RemoteAddress?.IsRelayed != true;

    /// <summary>It verifies a range, here or at the peer, and carries nothing.</summary>
    internal bool IsProbe { get; set; }

    /// <summary>What the node last said of itself; null before it is admitted.</summary>
    internal HelloMessage? Hello => _hello;

    /// <summary>The node's name; empty before it is admitted.</summary>
    internal string Node => _hello?.Node ?? "";

    internal bool SpeaksProxy2 => _hello?.ProxyVersions.Contains(2) == true;

    internal bool IsAlive => Connection.Failure is null;

    /// <summary>True once the session is admitted, false if it ends before.</summary>
    internal Task<bool> Admitted => _admitted.Task;

    internal void Admit(HelloMessage hello, TunnelSession driven)
    {
        Driven = driven;
        _hello = hello;
        IsProbe |= hello.IsProbe;
        _admitted.TrySetResult(true);
    }

    internal void End() => _admitted.TrySetResult(false);

    /// <summary>Whether this is the call after which it takes no new streams.</summary>
    internal bool TryRetire() => Interlocked.Exchange(ref _retired, 1) == 0;
}
