using EdgeMesh.LibP2P.Addresses;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>Somebody else answered than the peer that was dialled: another node has the address now, or the peer has another
/// key.</summary>
public sealed class UnexpectedPeerException(PeerId actual, PeerId expected) : PeerProtocolException($"the peer is {actual}, expected was {expected}")
{
    /// <summary>Who answered, proved by its signature.</summary>
    public PeerId Actual { get; } = actual;
}
