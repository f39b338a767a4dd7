using System.Security.Cryptography;

namespace EdgeMesh.LibP2P.Cryptography;

/// <summary>A key pair for Diffie-Hellman on Curve25519 (RFC 7748).</summary>
public sealed unsafe class X25519KeyPair : IDisposable
{
    /// <summary>Length of a private key, a public key and a shared secret.</summary>
    public const int KeySize = 32;

    private readonly KeyHandle _key;
    private readonly byte[] _publicKey = new byte[KeySize];

    private X25519KeyPair(ReadOnlySpan<byte> privateKey)
    {
        fixed (byte* key = privateKey)
            _key = LibCrypto.EVP_PKEY_new_raw_private_key(LibCrypto.X25519, 0, key, KeySize);
        nuint length = KeySize;
        fixed (byte* destination = _publicKey)
        {
            if (_key.IsInvalid || LibCrypto.EVP_PKEY_get_raw_public_key(_key, destination, &length) != 1)
            {
                LibCrypto.ERR_clear_error();
                throw new CryptographicException("OpenSSL could not make an X25519 key");
            }
        }
    }

    public ReadOnlySpan<byte> PublicKey => _publicKey;

    /// <summary>A fresh pair from the system's random numbers.</summary>
    public static X25519KeyPair Create()
    {
        Span<byte> key = stackalloc byte[KeySize];
        RandomNumberGenerator.Fill(key);
        try
        {
            return new X25519KeyPair(key);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
        }
    }

    /// <summary>The pair of a known private key of 32 bytes.</summary>
    public static X25519KeyPair FromPrivateKey(ReadOnlySpan<byte> privateKey)
    {
        if (privateKey.Length != KeySize)
            throw new ArgumentException($"must be {KeySize} bytes", nameof(privateKey));
        return new X25519KeyPair(privateKey);
    }

    /// <summary>The secret shared with the owner of <paramref name="publicKey"/>. False for a public key that makes the
    /// secret zero whatever ours is (RFC 7748, section 6.1).</summary>
    public bool TryAgree(ReadOnlySpan<byte> publicKey, Span<byte> secret)
    {
        if (publicKey.Length != KeySize)
            throw new ArgumentException($"must be {KeySize} bytes", nameof(publicKey));
        if (secret.Length != KeySize)
            throw new ArgumentException($"must be {KeySize} bytes", nameof(secret));
        fixed (byte* peerKey = publicKey, destination = secret)
        {
            using var peer = LibCrypto.EVP_PKEY_new_raw_public_key(LibCrypto.X25519, 0, peerKey, KeySize);
            var context = LibCrypto.EVP_PKEY_CTX_new(_key, 0);
            try
            {
                nuint length = KeySize;
                if (context != 0 && !peer.IsInvalid
                    && LibCrypto.EVP_PKEY_derive_init(context) == 1
                    && LibCrypto.EVP_PKEY_derive_set_peer(context, peer) == 1
                    && LibCrypto.EVP_PKEY_derive(context, destination, &length) == 1
                    && length == KeySize)
                {
                    return true;
                }
            }
            finally
            {
                LibCrypto.EVP_PKEY_CTX_free(context);
            }
        }

        LibCrypto.ERR_clear_error();
        return false;
    }

    public void Dispose() => _key.Dispose();
}
