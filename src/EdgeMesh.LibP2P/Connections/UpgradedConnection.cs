using EdgeMesh.LibP2P.Addresses;

namespace EdgeMesh.LibP2P.Connections;

/// <summary>A connection after its upgrade: encrypted, authenticated, and agreed on yamux.</summary>
internal sealed record UpgradedConnection
{
    internal required Stream Stream { get; init; }

    internal required PeerId Peer { get; init; }

    internal required bool IsDialer { get; init; }

    internal required string Security { get; init; }

    internal Multiaddr? RemoteAddress { get; init; }
}
