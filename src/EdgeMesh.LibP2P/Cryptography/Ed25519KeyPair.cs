using System.Security.Cryptography;
using EdgeMesh.LibP2P.Addresses;

namespace EdgeMesh.LibP2P.Cryptography;

/// <summary>A peer's identity: an Ed25519 key pair (RFC 8032). Signing is thread-safe.</summary>
public sealed unsafe class Ed25519KeyPair : IDisposable
{
    /// <summary>Length of the seed, which is the private key.</summary>
    public const int SeedSize = 32;

    /// <summary>Length of a public key.</summary>
    public const int PublicKeySize = 32;

    /// <summary>Length of a signature.</summary>
    public const int SignatureSize = 64;

    private readonly KeyHandle _key;

    private Ed25519KeyPair(ReadOnlySpan<byte> seed)
    {
        var publicKey = new byte[PublicKeySize];
        fixed (byte* key = seed)
            _key = LibCrypto.EVP_PKEY_new_raw_private_key(LibCrypto.Ed25519, 0, key, SeedSize);
        nuint length = PublicKeySize;
        fixed (byte* destination = publicKey)
        {
            if (_key.IsInvalid || LibCrypto.EVP_PKEY_get_raw_public_key(_key, destination, &length) != 1)
            {
                LibCrypto.ERR_clear_error();
                throw new CryptographicException("OpenSSL could not make an Ed25519 key");
            }
        }

        PublicKey = new PublicKey(KeyType.Ed25519, publicKey);
        PeerId = PeerId.FromPublicKey(PublicKey);
    }

    public PublicKey PublicKey { get; }

    public PeerId PeerId { get; }

    /// <summary>A fresh identity from the system's random numbers.</summary>
    public static Ed25519KeyPair Create()
    {
        Span<byte> seed = stackalloc byte[SeedSize];
        RandomNumberGenerator.Fill(seed);
        try
        {
            return new Ed25519KeyPair(seed);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(seed);
        }
    }

    /// <summary>The identity of a known seed of 32 bytes.</summary>
    public static Ed25519KeyPair FromSeed(ReadOnlySpan<byte> seed)
    {
        if (seed.Length != SeedSize)
            throw new ArgumentException($"must be {SeedSize} bytes", nameof(seed));
        return new Ed25519KeyPair(seed);
    }

    /// <summary>The signature of <paramref name="data"/>, 64 bytes.</summary>
    public byte[] Sign(ReadOnlySpan<byte> data)
    {
        var signature = new byte[SignatureSize];
        var context = LibCrypto.EVP_MD_CTX_new();
        try
        {
            nuint length = SignatureSize;
            fixed (byte* from = data, to = signature)
            {
                if (context != 0
                    && LibCrypto.EVP_DigestSignInit(context, 0, 0, 0, _key) == 1
                    && LibCrypto.EVP_DigestSign(context, to, &length, from, (nuint)data.Length) == 1)
                {
                    return signature;
                }
            }
        }
        finally
        {
            LibCrypto.EVP_MD_CTX_free(context);
        }

        LibCrypto.ERR_clear_error();
        throw new CryptographicException("OpenSSL could not sign with the Ed25519 key");
    }

    internal static bool Verify(ReadOnlySpan<byte> publicKey, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature)
    {
        if (publicKey.Length != PublicKeySize || signature.Length != SignatureSize)
            return false;
        fixed (byte* keyBytes = publicKey, from = data, sign = signature)
        {
            using var key = LibCrypto.EVP_PKEY_new_raw_public_key(LibCrypto.Ed25519, 0, keyBytes, PublicKeySize);
            var context = LibCrypto.EVP_MD_CTX_new();
            try
            {
                if (context != 0 && !key.IsInvalid
                    && LibCrypto.EVP_DigestVerifyInit(context, 0, 0, 0, key) == 1
                    && LibCrypto.EVP_DigestVerify(context, sign, SignatureSize, from, (nuint)data.Length) == 1)
                {
                    return true;
                }
            }
            finally
            {
                LibCrypto.EVP_MD_CTX_free(context);
            }
        }

        LibCrypto.ERR_clear_error();
        return false;
    }

    public void Dispose() => _key.Dispose();
}
