using System.Collections.Immutable;
using System.Net;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.Net;
using Microsoft.Extensions.Logging;

namespace EdgeMesh.Tunnel.Sessions;

/// <summary>
/// One other node, and the sessions to it. Several may stand for a while; new streams go over the best of them, and the others
/// end when their last stream has:
/// <code>
///   direct before relayed, the peer's latest start before earlier ones, dialled by the smaller peer id before the other
/// </code>
/// Both sides order alike, so that two nodes that dial each other at once settle on the same one. While none stands, or only a
/// relayed one, and somebody needs the node, its addresses are dialled, with back-off.
/// </summary>
internal sealed partial class PeerLink
{
    private const int MaxSessions = 8;
    private const int MaxAddresses = 16;

    /// <summary>How long a node that somebody wanted to reach is kept within reach.</summary>
    private static readonly TimeSpan NeededFor = TimeSpan.FromMinutes(10);

    /// <summary>Of those that multicast DNS told, at one time.</summary>
    private const int MaxDiscoveredAtOnce = 16;

    /// <summary>Announcements cost their sender nothing, and do not decide how often this node dials.</summary>
    private static readonly TimeSpan BetweenDiscoveries = TimeSpan.FromSeconds(2);

    private readonly MeshContext _mesh;
    private readonly RelaySet _relays;
    private readonly Func<MeshSession, string?, CancellationToken, Task> _greet;
    private readonly Lock _gate = new();
    private readonly List<MeshSession> _sessions = [];
    private readonly Change _wake = new();
    private readonly Change _need = new();
    private volatile MeshSession? _best;
    private ImmutableArray<IPEndPoint> _configured = [];
    private readonly DiscoveredAddresses _discovered = new();
    private long _discoveredAt;
    private long _neededAt;
    private long _notFoundAt;
    private long _stoodAt;
    private long _lostAt;
    private int _failedRounds;
    private volatile bool _running;

    /// <param name="greet">Exchanges hellos on a session that this side dialled; throws if the peer is not admitted.</param>
    internal PeerLink(string name, MeshContext mesh, RelaySet relays, Func<MeshSession, string?, CancellationToken, Task> greet)
    {
        Name = name;
        _mesh = mesh;
        _relays = relays;
        _greet = greet;
        PeerIds = mesh.Directory.Learn(name);
    }

    internal string Name { get; }

    internal ImmutableArray<PeerId> PeerIds { get; }

    /// <summary>Told when the best session is another one, or none.</summary>
    internal Change Changed { get; } = new();

    /// <summary>The session for new streams.</summary>
    internal MeshSession? Best => _best is { IsAlive: true } best ? best : null;

    /// <summary>A configured relay, or the node of an endpoint: a session is kept.</summary>
    internal bool IsKept { get; set; }

    internal bool IsRelay { get; set; }

    internal string LastFault { get; private set; } = "";

    /// <summary>What the node said last of itself, also after its session ended.</summary>
    internal HelloMessage? Hello { get; private set; }

    /// <summary>A moment ago it answered neither at its addresses nor through a relay.</summary>
    internal bool WasNotFound => !WasLostLately && Volatile.Read(ref _notFoundAt) is not 0 and var at && _mesh.Time.GetElapsedTime(at) < _mesh.Options.SessionWait;

    /// <summary>It had a session a moment ago: it is waited for, because another way is being looked for.</summary>
    private bool WasLostLately => Volatile.Read(ref _lostAt) is not 0 and var at && _mesh.Time.GetElapsedTime(at) < 2 * _mesh.Options.SessionWait;

    /// <summary>Nobody needs it and nothing stands: it can be forgotten.</summary>
    internal bool IsIdle => !IsWanted && Best is null;

    private bool IsWanted => IsKept || (Volatile.Read(ref _neededAt) is not 0 and var at && _mesh.Time.GetElapsedTime(at) < NeededFor);

    internal void SetConfigured(ImmutableArray<IPEndPoint> addresses)
    {
        _configured = addresses;
        _wake.Tell();
    }

    /// <summary>An answer on the LAN says that the node is there. Whoever floods the LAN calls this often, so that it costs next to nothing.</summary>
    internal void Discovered(InetEndpoint endPoint)
    {
        bool isNew;
        lock (_gate)
        {
            isNew = _discovered.Offer(endPoint);
            if (_discoveredAt != 0 && _mesh.Time.GetElapsedTime(_discoveredAt) < BetweenDiscoveries)
                return;
            _discoveredAt = _mesh.Time.GetTimestamp();
        }

        Need();
        if (isNew)
            _wake.Tell();
    }

    /// <summary>Somebody wants to reach the node now.</summary>
    internal void Need()
    {
        Volatile.Write(ref _neededAt, _mesh.Time.GetTimestamp());
        Start();
        if (Best is null)
            _need.Tell();
    }

    /// <summary>Ends the dialling of a link that is idle; <see cref="Need"/> begins it again.</summary>
    internal bool TryForget()
    {
        lock (_gate)
        {
            if (!IsIdle)
                return false;
            _running = false;
        }

        _wake.Tell();
        return true;
    }

    /// <summary>The network changed, or a relay came back: do not wait for the back-off.</summary>
    internal void TryNow() => _wake.Tell();

    /// <summary>The best session; waits for one if there is none. Null if none came in time, or every way was tried in vain.</summary>
    internal async Task<MeshSession?> FindAsync(TimeSpan wait, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(wait, _mesh.Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        var failedBefore = Volatile.Read(ref _failedRounds);
        while (true)
        {
            var changed = Changed.Next;
            if (Best is { } best)
                return best;
            // The first round that fails may have begun before this was asked.
            if (Volatile.Read(ref _failedRounds) - failedBefore >= 2 && !WasLostLately)
                return null;
            Need();
            try
            {
                await changed.WaitAsync(either.Token);
            }
            catch (OperationCanceledException)
            {
                cancellationToken.ThrowIfCancellationRequested();
                return null;
            }
        }
    }

    /// <summary>Takes an admitted session into the choice. False: too many stand.</summary>
    internal bool TryAdd(MeshSession session)
    {
        lock (_gate)
        {
            Hello = session.Hello;
            if (!_sessions.Contains(session))
            {
                if (_sessions.Count >= MaxSessions)
                    return false;
                _sessions.Add(session);
                _mesh.Supervisor.Start("session-watch", () => WatchAsync(session));
            }

            Volatile.Write(ref _notFoundAt, 0);
            Settle();
        }

        Changed.Tell();
        _wake.Tell();
        return true;
    }

    private async Task WatchAsync(MeshSession session)
    {
        await session.Connection.Closed;
        lock (_gate)
        {
            _sessions.Remove(session);
            Volatile.Write(ref _lostAt, _mesh.Time.GetTimestamp());
            Settle();
        }

        LogEnded(_mesh.Logger, Name, session.IsDirect ? "direct" : "relayed", session.Connection.Failure!.Message);
        Changed.Tell();
        _wake.Tell();
    }

    private void Settle()
    {
        var instance = Hello?.Instance;
        var own = _mesh.Host.PeerId;
        var best = _sessions
            .Where(s => s.IsAlive)
            .OrderByDescending(s => s.IsDirect)
            .ThenByDescending(s => s.Hello?.Instance == instance)
            .ThenByDescending(s => IsSmaller(own, s.Connection.RemotePeer) == s.Connection.IsDialer)
            .ThenByDescending(s => s.Number)
            .FirstOrDefault();
        if (!ReferenceEquals(best, _best) && best is not null)
            LogReached(_mesh.Logger, Name, best.IsDirect ? "directly" : "through a relay", best.Connection.RemoteAddress);
        _best = best;
        if (best is { IsDirect: true })
            _stoodAt = _mesh.Time.GetTimestamp();
        foreach (var session in _sessions)
        {
            if (!ReferenceEquals(session, best) && session.TryRetire())
                _mesh.Supervisor.Start("session-retire", () => RetireAsync(session));
        }
    }

    /// <summary>Ends a session that is no longer the best once nothing has run over it for a while: the peer may have chosen it
    /// a moment ago. It is its dialer's to end; the other side waits longer, for a dialer that does not.</summary>
    private async Task RetireAsync(MeshSession session)
    {
        var quiet = session.Connection.IsDialer ? 2 : 15;
        var left = quiet;
        while (left > 0 && session.IsAlive)
        {
            await _mesh.WaitAsync(TimeSpan.FromSeconds(1), session.Connection.Closed);
            if (_mesh.Stopping.IsCancellationRequested)
                return;
            // The best may be lost meanwhile, and this one needed again.
            left = session.Connection.StreamCount == 0 && !ReferenceEquals(session, Best) ? left - 1 : quiet;
        }

        await session.Connection.DisposeAsync();
    }

    private static bool IsSmaller(PeerId one, PeerId other) => one.Multihash.SequenceCompareTo(other.Multihash) < 0;

    [LoggerMessage(6000, LogLevel.Information, "{Node} is reached {How}, at {Address}.")]
    private static partial void LogReached(ILogger logger, string node, string how, Multiaddr? address);

    [LoggerMessage(6001, LogLevel.Information, "The {Kind} session to {Node} ended: {Reason}.")]
    private static partial void LogEnded(ILogger logger, string node, string kind, string reason);
}
