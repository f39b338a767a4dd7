using System.Text;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Noise;

/// <summary>What libp2p puts into the handshake: `{identity_key=1, identity_sig=2, extensions=4 {stream_muxers=2*}}`.</summary>
internal sealed record NoisePayload
{
    internal const int MaxMuxers = 16;

    /// <summary>Room for an RSA identity and its signature.</summary>
    internal const int MaxLength = 4096;

    internal required PublicKey IdentityKey { get; init; }

    internal required byte[] Signature { get; init; }

    /// <summary>Muxers that the peer offers, best first; empty if it wants to negotiate them afterwards.</summary>
    internal IReadOnlyList<string> Muxers { get; init; } = [];

    /// <summary>Binds the static key of the handshake to the identity.</summary>
    internal static NoisePayload Create(Ed25519KeyPair identity, ReadOnlySpan<byte> staticKey, IReadOnlyList<string> muxers) => new()
    {
        IdentityKey = identity.PublicKey,
        Signature = identity.Sign(Signed(staticKey)),
        Muxers = muxers,
    };

    /// <summary>Whether the identity has signed this static key.</summary>
    internal bool Vouches(ReadOnlySpan<byte> staticKey) => IdentityKey.Verify(Signed(staticKey), Signature);

    internal byte[] Encode() => ProtobufWriter.Message(this, static (payload, queue) =>
    {
        var writer = new ProtobufWriter(queue);
        writer.Bytes(1, payload.IdentityKey.ToProtobuf());
        writer.Bytes(2, payload.Signature);
        if (payload.Muxers.Count == 0)
            return;
        writer.Bytes(4, ProtobufWriter.Message(payload.Muxers, static (muxers, inner) =>
        {
            foreach (var muxer in muxers)
                new ProtobufWriter(inner).Text(2, muxer);
        }));
    });

    /// <exception cref="PeerProtocolException">The payload is not one.</exception>
    internal static NoisePayload Decode(ReadOnlySpan<byte> message)
    {
        PublicKey? key = null;
        byte[]? signature = null;
        var muxers = new List<string>();
        var reader = new ProtobufReader(message);
        var ok = message.Length <= MaxLength;
        while (ok && reader.Next())
        {
            switch (reader.Field)
            {
                case 1:
                    ok = PublicKey.TryParse(reader.Bytes, out key);
                    break;
                case 2:
                    signature = reader.Bytes.ToArray();
                    break;
                case 4:
                    ok = TryReadExtensions(reader.Bytes, muxers);
                    break;
            }
        }

        if (!ok || reader.Malformed || key is null || signature is null)
            throw new PeerProtocolException("the payload of the Noise handshake is malformed");
        return new NoisePayload { IdentityKey = key, Signature = signature, Muxers = muxers };
    }

    private static bool TryReadExtensions(ReadOnlySpan<byte> message, List<string> muxers)
    {
        var reader = new ProtobufReader(message);
        while (reader.Next())
        {
            if (reader.Field != 2)
                continue;
            if (muxers.Count == MaxMuxers || reader.Bytes.Length > 64)
                return false;
            muxers.Add(Encoding.UTF8.GetString(reader.Bytes));
        }

        return !reader.Malformed;
    }

    private static byte[] Signed(ReadOnlySpan<byte> staticKey) => [.. "noise-libp2p-static-key:"u8, .. staticKey];
}
