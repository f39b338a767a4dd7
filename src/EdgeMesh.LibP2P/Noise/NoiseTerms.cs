using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Admission;
using EdgeMesh.LibP2P.Cryptography;

namespace EdgeMesh.LibP2P.Noise;

/// <summary>With whom one side goes through a handshake.</summary>
public sealed record NoiseTerms
{
    /// <summary>Who the other side must be; null takes anybody and leaves the judgement to the caller.</summary>
    public PeerId? Expected { get; init; }

    /// <summary>A listener goes on only with dialers that prove one of these in their first message; a dialer proves them.
    /// Null: neither.</summary>
    public AdmissionKeys? Admission { get; init; }

    /// <summary>For whom a dialer's proof is made: one peer, or one for each key. Empty: no proof.</summary>
    public IReadOnlyList<PeerId> ProvesTo { get; init; } = [];

    /// <summary>The kinds of identity keys that are verified; others end the handshake before anything is computed with them.
    /// Null: all that are known.</summary>
    public IReadOnlyList<KeyType>? Keys { get; init; }
}
