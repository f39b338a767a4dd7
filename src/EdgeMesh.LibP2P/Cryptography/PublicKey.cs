using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Cryptography;

/// <summary>The kinds of keys that libp2p knows; the numbers are the protocol's.</summary>
public enum KeyType
{
    Rsa = 0,
    Ed25519 = 1,
    Secp256k1 = 2,
    Ecdsa = 3,
}

/// <summary>A peer's public key in libp2p's protobuf (`Type=1, Data=2`). Ed25519, RSA and ECDSA signatures can be verified;
/// a secp256k1 key can be named but not verified.</summary>
public sealed class PublicKey
{
    /// <summary>An RSA key of 8,192 bits takes 1,062 bytes.</summary>
    internal const int MaxData = 1500;

    private const int SmallestRsa = 2048;

    private readonly byte[] _data;

    internal PublicKey(KeyType type, byte[] data)
    {
        Type = type;
        _data = data;
    }

    public KeyType Type { get; }

    /// <summary>The key: 32 bytes for Ed25519, SubjectPublicKeyInfo for RSA and ECDSA.</summary>
    public ReadOnlySpan<byte> Data => _data;

    /// <summary>Reads the protobuf; false if it is malformed or of an unknown kind.</summary>
    public static bool TryParse(ReadOnlySpan<byte> message, [NotNullWhen(true)] out PublicKey? key)
    {
        key = null;
        ulong? type = null;
        var data = ReadOnlySpan<byte>.Empty;
        var reader = new ProtobufReader(message);
        while (reader.Next())
        {
            if (reader.Field == 1 && reader.IsNumber)
                type = reader.Number;
            else if (reader.Field == 2)
                data = reader.Bytes;
        }

        if (reader.Malformed || type is not <= (ulong)KeyType.Ecdsa || data.Length is 0 or > MaxData)
            return false;
        if (type == (ulong)KeyType.Ed25519 && data.Length != Ed25519KeyPair.PublicKeySize)
            return false;
        key = new PublicKey((KeyType)type, data.ToArray());
        return true;
    }

    /// <summary>The protobuf, in the one form from which peer ids are made.</summary>
    public byte[] ToProtobuf() => ProtobufWriter.Message(this, static (key, queue) =>
    {
        var writer = new ProtobufWriter(queue);
        writer.Number(1, (ulong)key.Type);
        writer.Bytes(2, key.Data);
    });

    /// <summary>Whether <paramref name="signature"/> over <paramref name="data"/> was made with the private key.</summary>
    public bool Verify(ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature)
    {
        try
        {
            switch (Type)
            {
                case KeyType.Ed25519:
                    return Ed25519KeyPair.Verify(_data, data, signature);
                case KeyType.Rsa:
                    using (var rsa = RSA.Create())
                    {
                        rsa.ImportSubjectPublicKeyInfo(_data, out _);
                        return rsa.KeySize >= SmallestRsa && rsa.VerifyData(data, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
                    }

                case KeyType.Ecdsa:
                    using (var ecdsa = ECDsa.Create())
                    {
                        ecdsa.ImportSubjectPublicKeyInfo(_data, out _);
                        return ecdsa.VerifyData(data, signature, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
                    }

                default:
                    return false;
            }
        }
        // Not CryptographicException alone: a curve that the library does not know, a number that does not fit and the like come
        // as whatever the platform's code met with. A key that cannot be used vouches for nothing.
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return false;
        }
    }
}
