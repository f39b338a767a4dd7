using System.Collections.Concurrent;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.Supervision;
using EdgeMesh.Tunnel.Identity;

namespace EdgeMesh.Tunnel.Sessions;

/// <summary>Every connection of this node from its handshake on. Whoever is not known by its peer id has a few seconds to say
/// which node it is, and only so many may be in that state.</summary>
internal sealed class SessionRegistry(NodeDirectory directory, MeshCounters counters, TimeSpan toSayHello, TimeProvider time, Supervisor supervisor)
{
    /// <summary>Streams of a peer before it is admitted: hello, identify and ping. Each can make this side hold one window.</summary>
    internal const int StreamsOfStrangers = 4;

    private const int MaxStrangers = 64;

    private readonly ConcurrentDictionary<PeerConnection, MeshSession> _sessions = new();
    private int _strangers;
    private long _numbers;

    internal ICollection<MeshSession> All => _sessions.Values;

    internal MeshSession? Of(PeerConnection connection) => _sessions.GetValueOrDefault(connection);

    /// <summary>Called for each connection before its first stream.</summary>
    internal void Take(PeerConnection connection)
    {
        var session = new MeshSession(connection, Interlocked.Increment(ref _numbers)) { StartedAt = time.GetTimestamp() };
        _sessions[connection] = session;
        supervisor.Start("session-watch", () => WatchAsync(session, isStranger: directory.NameOf(connection.RemotePeer) is null));
    }

    private async Task WatchAsync(MeshSession session, bool isStranger)
    {
        await Task.Yield();
        var tooMany = isStranger && Interlocked.Increment(ref _strangers) > MaxStrangers;
        try
        {
            if (!tooMany)
                await Task.WhenAny(session.Admitted, session.Connection.Closed, Task.Delay(toSayHello, time));
        }
        finally
        {
            if (isStranger)
                Interlocked.Decrement(ref _strangers);
        }

        if (!session.Admitted.IsCompletedSuccessfully)
        {
            if (session.IsAlive)
                counters.CountStranger();
            await session.Connection.DisposeAsync();
        }

        await session.Connection.Closed;
        session.End();
        _sessions.TryRemove(session.Connection, out _);
    }
}
