using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Addresses;

/// <summary>Who a peer is: the multihash of its public key (libp2p's peer-ids specification). A key of at most 42 bytes is
/// its own hash, so that an Ed25519 key can be read out of the id.</summary>
public sealed class PeerId : IEquatable<PeerId>
{
    private const int IdentityHash = 0x00;
    private const int Sha256Hash = 0x12;
    private const int MaxInlineKey = 42;
    /// <summary>Of the longest multihash.</summary>
    public const int MaxBytes = 2 + MaxInlineKey;

    private const ulong CidVersion1 = 1;
    private const ulong Libp2pKeyCodec = 0x72;

    private readonly byte[] _multihash;
    private string? _text;

    private PeerId(byte[] multihash) => _multihash = multihash;

    /// <summary>The multihash: code, length, digest.</summary>
    public ReadOnlySpan<byte> Multihash => _multihash;

    /// <summary>The id of whoever has the private key to this public key.</summary>
    public static PeerId FromPublicKey(PublicKey key)
    {
        var message = key.ToProtobuf();
        return message.Length <= MaxInlineKey
            ? new PeerId([IdentityHash, (byte)message.Length, .. message])
            : new PeerId([Sha256Hash, 32, .. SHA256.HashData(message)]);
    }

    /// <summary>Reads a multihash: SHA-256, or a key inline.</summary>
    public static bool TryFromMultihash(ReadOnlySpan<byte> multihash, [NotNullWhen(true)] out PeerId? id)
    {
        id = null;
        if (IsMultihash(multihash))
            id = new PeerId(multihash.ToArray());
        return id is not null;
    }

    private static bool IsMultihash(ReadOnlySpan<byte> bytes) =>
        bytes.Length >= 2 && bytes[1] == bytes.Length - 2 && bytes[0] switch
        {
            IdentityHash => bytes[1] is > 0 and <= MaxInlineKey,
            Sha256Hash => bytes[1] == 32,
            _ => false,
        };

    /// <summary>Reads base58 text as the multihash alone, without an allocation: for who looks it up among many (<see cref="ByMultihash"/>).</summary>
    /// <param name="multihash">At least <see cref="MaxBytes"/>.</param>
    public static bool TryReadMultihash(ReadOnlySpan<char> text, Span<byte> multihash, out int length) =>
        Base58.TryDecode(text, multihash, out length) && IsMultihash(multihash[..length]);

    /// <summary>Looks a peer up by the bytes of its multihash too.</summary>
    public static IEqualityComparer<PeerId> ByMultihash { get; } = new MultihashComparer();

    /// <summary>Reads base58 text (`12D3KooW…`, `Qm…`) or a base32 CID of the libp2p-key codec (`bafz…`).</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, [NotNullWhen(true)] out PeerId? id)
    {
        id = null;
        if (string.IsNullOrEmpty(text))
            return false;
        if (text[0] != 'b')
            return Base58.TryDecode(text, out var bytes) && TryFromMultihash(bytes, out id);

        if (!Base32.TryDecode(text.AsSpan(1), out var cid)
            || Varint.Read(cid, out var version, out var first) != VarintResult.Read || version != CidVersion1
            || Varint.Read(cid.AsSpan(first), out var codec, out var second) != VarintResult.Read || codec != Libp2pKeyCodec)
        {
            return false;
        }

        return TryFromMultihash(cid.AsSpan(first + second), out id);
    }

    /// <summary>As <see cref="TryParse"/>.</summary>
    /// <exception cref="FormatException">The text is not a peer id.</exception>
    public static PeerId Parse(string text) =>
        TryParse(text, out var id) ? id : throw new FormatException($"'{text}' is not a peer id: expected text like 12D3KooW… or Qm…");

    /// <summary>The public key, if the id has it inline.</summary>
    public bool TryGetPublicKey([NotNullWhen(true)] out PublicKey? key)
    {
        key = null;
        return _multihash[0] == IdentityHash && PublicKey.TryParse(_multihash.AsSpan(2), out key);
    }

    public bool Equals(PeerId? other) => other is not null && _multihash.AsSpan().SequenceEqual(other._multihash);

    public override bool Equals(object? obj) => Equals(obj as PeerId);

    public override int GetHashCode() => HashOf(_multihash);

    private static int HashOf(ReadOnlySpan<byte> multihash)
    {
        var hash = new HashCode();
        hash.AddBytes(multihash);
        return hash.ToHashCode();
    }

    /// <summary>Base58 of the multihash.</summary>
    public override string ToString() => _text ??= Base58.Encode(_multihash);

    private sealed class MultihashComparer : IEqualityComparer<PeerId>, IAlternateEqualityComparer<ReadOnlySpan<byte>, PeerId>
    {
        public bool Equals(PeerId? x, PeerId? y) => x is null ? y is null : x.Equals(y);

        public int GetHashCode(PeerId obj) => obj.GetHashCode();

        public bool Equals(ReadOnlySpan<byte> alternate, PeerId other) => alternate.SequenceEqual(other._multihash);

        public int GetHashCode(ReadOnlySpan<byte> alternate) => HashOf(alternate);

        public PeerId Create(ReadOnlySpan<byte> alternate) =>
            TryFromMultihash(alternate, out var id) ? id : throw new FormatException("These bytes are no multihash of a peer.");
    }
}
