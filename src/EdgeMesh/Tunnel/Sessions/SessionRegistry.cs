using System.Collections.Concurrent;
using EdgeMesh.LibP2P.Admission;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.Supervision;
using EdgeMesh.LibP2P.Yamux;
using EdgeMesh.Tunnel.Admission;
using EdgeMesh.Tunnel.Identity;

namespace EdgeMesh.Tunnel.Sessions;

/// <summary>Every connection of this node from its handshake on. All of them have proved the key; who is not known by its peer id
/// has a few seconds to say which node it is, and only so many may be in that state, shared fairly among their addresses.</summary>
internal sealed class SessionRegistry(NodeDirectory directory, MeshCounters counters, KnownAddresses known, TimeSpan toSayHello, TimeProvider time, Supervisor supervisor)
{
    /// <summary>Streams of a peer before it is admitted: hello, identify and ping. Each can make this side hold one window.</summary>
    internal const int StreamsOfStrangers = 4;

    internal const int MaxStrangers = 256;
    internal const int MaxStrangersPerAddress = 64;

    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(1);

    private readonly ConcurrentDictionary<PeerConnection, MeshSession> _sessions = new();
    private readonly FairPlaces<PeerConnection> _strangers = new(MaxStrangers, MaxStrangersPerAddress, MaxStrangers / 4, Grace, time);
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
        var ticket = -1L;
        var hasPlace = !isStranger || TryTakePlace(session.Connection, out ticket);
        try
        {
            if (hasPlace)
                await Task.WhenAny(session.Admitted, session.Connection.Closed, Task.Delay(toSayHello, time));
        }
        finally
        {
            GiveBack(ticket);
        }

        if (!session.Admitted.IsCompletedSuccessfully)
        {
            if (session.IsAlive)
                counters.CountStranger();
            await session.Connection.DisposeAsync();
        }
        else if (session.IsDirect && ShareOf(session.Connection) is { } share)
        {
            known.Note(share);
        }

        await session.Connection.Closed;
        if (session.Connection.Failure is PaceExceededException)
            counters.CountPaced();
        session.End();
        _sessions.TryRemove(session.Connection, out _);
    }

    private bool TryTakePlace(PeerConnection connection, out long ticket)
    {
        var share = ShareOf(connection) ?? default;
        bool hasPlace;
        (bool Is, PeerConnection Holder) displaced;
        lock (_strangers)
            hasPlace = _strangers.TryTake(share, known.Contains(share), connection, out ticket, out displaced);
        if (displaced.Is)
        {
            counters.CountStranger();
            displaced.Holder.End(new IOException("the peer had not said which node it is when its place was needed"));
        }

        return hasPlace;
    }

    /// <summary>Apart: the ahead-of-time compiler of .NET 10 loses the exit of a lock in the finally of an asynchronous method.</summary>
    private void GiveBack(long ticket)
    {
        lock (_strangers)
            _strangers.Return(ticket);
    }

    private static AddressShare? ShareOf(PeerConnection connection) =>
        connection.RemoteAddress is { } address && address.TryGetTcpEndPoint(out var endPoint) ? AddressShare.Of(endPoint.Address) : null;
}
