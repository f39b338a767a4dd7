using System.Runtime.CompilerServices;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.Tunnel.Loop;
using EdgeMesh.Tunnel.Sessions;

namespace EdgeMesh.Tunnel.Proxy;

/// <summary>The endpoint's side for streams on the loop: judged as the others are.</summary>
internal sealed class LoopProxyService(Func<SessionRegistry> sessions, Func<ProxyServer> server, MeshCounters counters) : ProxyService
{
    // The registry forgets a connection before its last stream is told.
    private readonly ConditionalWeakTable<PeerConnection, MeshSession> _known = [];

    public override bool Knows(PeerConnection connection)
    {
        if (_known.TryGetValue(connection, out _))
            return true;
        if (sessions().Of(connection) is not { } session || session.Node.Length == 0)
            return false;
        _known.Add(connection, session);
        return true;
    }

    public override (AnswerCode Code, string Text) Judge(PeerConnection connection, OpenMessage open)
    {
        var session = SessionOf(connection);
        var (code, text) = server().Judge(session, open);
        if (code != AnswerCode.Ok)
            server().NoteRefused(session, open, code);
        return (code, text);
    }

    public override void CountMalformed() => counters.CountRefusedIn(AnswerCode.Malformed);

    public override void Dialled() => counters.CountServed();

    public override void Refused(PeerConnection connection, OpenMessage open, AnswerCode code)
    {
        var session = SessionOf(connection);
        server().Return(session);
        server().NoteRefused(session, open, code);
    }

    public override void Ended(PeerConnection connection) => server().Return(SessionOf(connection));

    private MeshSession SessionOf(PeerConnection connection) =>
        _known.TryGetValue(connection, out var session) ? session : throw new InvalidOperationException("the peer is not known as a node");
}
