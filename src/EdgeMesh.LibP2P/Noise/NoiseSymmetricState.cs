using System.Security.Cryptography;

namespace EdgeMesh.LibP2P.Noise;

/// <summary>The chaining key and the transcript hash of a handshake (Noise, section 5.2), with SHA-256.</summary>
internal sealed class NoiseSymmetricState : IDisposable
{
    private const int HashSize = 32;

    private readonly byte[] _hash = new byte[HashSize];
    private readonly byte[] _chainingKey = new byte[HashSize];
    private NoiseCipher? _cipher;

    internal NoiseSymmetricState(ReadOnlySpan<byte> protocolName, ReadOnlySpan<byte> prologue)
    {
        if (protocolName.Length <= HashSize)
            protocolName.CopyTo(_hash);
        else
            SHA256.HashData(protocolName, _hash);
        _hash.CopyTo(_chainingKey, 0);
        MixHash(prologue);
    }

    internal ReadOnlySpan<byte> Hash => _hash;

    internal void MixHash(ReadOnlySpan<byte> data)
    {
        using var sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        sha.AppendData(_hash);
        sha.AppendData(data);
        sha.GetHashAndReset(_hash);
    }

    internal void MixKey(ReadOnlySpan<byte> secret)
    {
        Span<byte> key = stackalloc byte[HashSize];
        Derive(secret, _chainingKey, key);
        _cipher?.Dispose();
        _cipher = new NoiseCipher(key);
        CryptographicOperations.ZeroMemory(key);
    }

    /// <summary>Encrypts once there is a key, and returns how many bytes that wrote.</summary>
    internal int EncryptAndHash(ReadOnlySpan<byte> plain, Span<byte> destination)
    {
        var length = plain.Length;
        if (_cipher is null)
        {
            plain.CopyTo(destination);
        }
        else
        {
            _cipher.Encrypt(_hash, plain, destination);
            length += NoiseCipher.TagSize;
        }

        MixHash(destination[..length]);
        return length;
    }

    /// <summary>Decrypts once there is a key; false if the message is not genuine.</summary>
    internal bool TryDecryptAndHash(ReadOnlySpan<byte> message, Span<byte> destination, out int length)
    {
        length = message.Length;
        if (_cipher is null)
        {
            message.CopyTo(destination);
        }
        else
        {
            length = Math.Max(0, length - NoiseCipher.TagSize);
            if (!_cipher.TryDecrypt(_hash, message, destination))
                return false;
        }

        MixHash(message);
        return true;
    }

    /// <summary>The two ciphers of the session: first from the initiator, then from the responder.</summary>
    internal (NoiseCipher FromInitiator, NoiseCipher FromResponder) Split()
    {
        Span<byte> first = stackalloc byte[HashSize];
        Span<byte> second = stackalloc byte[HashSize];
        Derive([], first, second);
        var ciphers = (new NoiseCipher(first), new NoiseCipher(second));
        CryptographicOperations.ZeroMemory(first);
        CryptographicOperations.ZeroMemory(second);
        return ciphers;
    }

    /// <summary>HKDF with the chaining key as salt and two outputs (Noise, section 4.3), out of HMAC: OpenSSL's HKDF refuses
    /// the empty secret that <see cref="Split"/> is made with.</summary>
    private void Derive(ReadOnlySpan<byte> secret, Span<byte> first, Span<byte> second)
    {
        Span<byte> key = stackalloc byte[HashSize];
        Span<byte> next = stackalloc byte[HashSize + 1];
        HMACSHA256.HashData(_chainingKey, secret, key);
        HMACSHA256.HashData(key, [1], next);
        next[HashSize] = 2;
        HMACSHA256.HashData(key, next, second);
        next[..HashSize].CopyTo(first);
        CryptographicOperations.ZeroMemory(key);
        CryptographicOperations.ZeroMemory(next);
    }

    public void Dispose()
    {
        _cipher?.Dispose();
        CryptographicOperations.ZeroMemory(_chainingKey);
    }
}
