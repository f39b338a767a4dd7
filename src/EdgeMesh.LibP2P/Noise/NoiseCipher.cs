using System.Buffers.Binary;
using System.Security.Cryptography;
using EdgeMesh.LibP2P.Cryptography;

namespace EdgeMesh.LibP2P.Noise;

/// <summary>One direction of a Noise session: a ChaCha20-Poly1305 key and its counter (Noise, section 5.1; RFC 8439).</summary>
internal sealed unsafe class NoiseCipher : IDisposable
{
    internal const int TagSize = 16;
    private const int KeySize = 32;
    private const int NonceSize = 12;
    private const int Keep = -1;

    // OpenSSL goes over what it is given twice, for the cipher and for the tag. Both ends of a piece fit the first cache of any core;
    // whole messages of 64 KB do not: 2.5 instead of 2.2 GB/s.
    private const int Piece = 8 * 1024;

    private readonly CipherHandle _cipher;
    private ulong _counter;

    internal NoiseCipher(ReadOnlySpan<byte> key, ulong counter = 0)
    {
        if (key.Length != KeySize)
            throw new ArgumentException($"must be {KeySize} bytes", nameof(key));
        _counter = counter;
        _cipher = LibCrypto.EVP_CIPHER_CTX_new();
        fixed (byte* start = key)
        {
            if (_cipher.IsInvalid || LibCrypto.EVP_CipherInit_ex(_cipher, LibCrypto.EVP_chacha20_poly1305(), 0, start, null, Keep) != 1)
                throw Failed();
        }
    }

    /// <summary>Encrypts into <paramref name="destination"/>, which is longer by the tag. The two may be the same memory.</summary>
    internal void Encrypt(ReadOnlySpan<byte> associated, ReadOnlySpan<byte> plain, Span<byte> destination)
    {
        destination = destination[..(plain.Length + TagSize)];
        fixed (byte* from = plain, to = destination)
        {
            Begin(encrypt: 1);
            if (!Pass(associated, from, to, plain.Length)
                || LibCrypto.EVP_CIPHER_CTX_ctrl(_cipher, LibCrypto.EVP_CTRL_AEAD_GET_TAG, TagSize, to + plain.Length) != 1)
            {
                throw Failed();
            }
        }
    }

    /// <summary>Decrypts what is <see cref="TagSize"/> longer than <paramref name="destination"/>; false if it was not
    /// encrypted with this key, as this message of the session. Then nothing of it is left in <paramref name="destination"/>.</summary>
    internal bool TryDecrypt(ReadOnlySpan<byte> associated, ReadOnlySpan<byte> message, Span<byte> destination)
    {
        if (message.Length < TagSize)
            return false;
        var length = message.Length - TagSize;
        destination = destination[..length];
        // Decrypted in place the tag stays, for it lies behind.
        fixed (byte* from = message, to = destination)
        {
            Begin(encrypt: 0);
            if (LibCrypto.EVP_CIPHER_CTX_ctrl(_cipher, LibCrypto.EVP_CTRL_AEAD_SET_TAG, TagSize, from + length) != 1)
                throw Failed();
            if (Pass(associated, from, to, length))
                return true;
        }

        LibCrypto.ERR_clear_error();
        CryptographicOperations.ZeroMemory(destination);
        return false;
    }

    private void Begin(int encrypt)
    {
        // The last value is reserved (Noise, section 5.1); a session that gets here is 10^11 years old.
        if (_counter == ulong.MaxValue)
            throw new PeerProtocolException("the Noise session has used up its nonces");
        Span<byte> nonce = stackalloc byte[NonceSize];
        nonce[..4].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(nonce[4..], _counter++);
        fixed (byte* start = nonce)
        {
            if (LibCrypto.EVP_CipherInit_ex(_cipher, 0, 0, null, start, encrypt) != 1)
                throw Failed();
        }
    }

    /// <summary>False if OpenSSL refuses; at the end of a decryption because the tag is another.</summary>
    private bool Pass(ReadOnlySpan<byte> associated, byte* from, byte* to, int length)
    {
        int written;
        // Without a source OpenSSL would take it for the end.
        if (!associated.IsEmpty)
        {
            fixed (byte* start = associated)
            {
                if (LibCrypto.EVP_CipherUpdate(_cipher, null, &written, start, associated.Length) != 1)
                    return false;
            }
        }

        for (var at = 0; at < length; at += Piece)
        {
            if (LibCrypto.EVP_CipherUpdate(_cipher, to + at, &written, from + at, Math.Min(Piece, length - at)) != 1)
                return false;
        }

        return LibCrypto.EVP_CipherFinal_ex(_cipher, to + length, &written) == 1;
    }

    private static CryptographicException Failed()
    {
        LibCrypto.ERR_clear_error();
        return new CryptographicException("OpenSSL could not use ChaCha20-Poly1305");
    }

    public void Dispose() => _cipher.Dispose();
}
