using EdgeMesh.LibP2P.Connections;
using EdgeMesh.Tunnel.Proxy;

namespace EdgeMesh.Tunnel.Loop;

/// <summary>What the loop asks and tells about streams that peers open to endpoints of this node. On the loop's thread.</summary>
internal abstract class ProxyService
{
    /// <summary>SO_MARK of sockets that dial endpoints; 0: none.</summary>
    public required uint Mark { get; init; }

    /// <summary>How long an endpoint may take to answer.</summary>
    public required DeadlineQueue Dials { get; init; }

    /// <summary>A quarter of how long a UDP flow may stand without a datagram.</summary>
    public required DeadlineQueue Flows { get; init; }

    /// <summary>Whether it is known which node the peer is; until then its streams wait elsewhere.</summary>
    public abstract bool Knows(PeerConnection connection);

    /// <summary>A request could not be read.</summary>
    public abstract void CountMalformed();

    /// <summary>The endpoint has answered.</summary>
    public abstract void Dialled();

    /// <summary>Whether a peer may have this endpoint dialled, and if not, why. A yes counts the stream until
    /// <see cref="Refused"/> or <see cref="Ended"/>, one of which follows.</summary>
    public abstract (AnswerCode Code, string Text) Judge(PeerConnection connection, OpenMessage open);

    /// <summary>The endpoint could not be dialled.</summary>
    public abstract void Refused(PeerConnection connection, OpenMessage open, AnswerCode code);

    /// <summary>A stream that was dialled is over.</summary>
    public abstract void Ended(PeerConnection connection);
}
