namespace EdgeMesh.Names;

/// <summary>What happened to sockets of clients. Written by the loop; any thread may read.</summary>
public sealed class NameCounters
{
    private long _unsent;
    private long _unaccepted;
    private long _closed;
    private long _connections;

    /// <summary>Answers that the kernel did not take.</summary>
    public long Unsent => Volatile.Read(ref _unsent);

    /// <summary>Times that a connection could not be accepted for want of descriptors or memory.</summary>
    public long Unaccepted => Volatile.Read(ref _unaccepted);

    /// <summary>Connections that gave way to others, or whose client did not read its answers.</summary>
    public long Closed => Volatile.Read(ref _closed);

    /// <summary>Open connections.</summary>
    public long Connections => Volatile.Read(ref _connections);

    internal void CountUnsent() => Volatile.Write(ref _unsent, _unsent + 1);

    internal void CountUnaccepted() => Volatile.Write(ref _unaccepted, _unaccepted + 1);

    internal void CountClosed() => Volatile.Write(ref _closed, _closed + 1);

    internal void SetConnections(int count) => Volatile.Write(ref _connections, count);
}
