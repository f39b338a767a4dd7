using System.Buffers.Binary;
using System.Security.Cryptography;

namespace EdgeMesh.LibP2P.Noise;

/// <summary>One direction of a Noise session: a ChaCha20-Poly1305 key and its counter (Noise, section 5.1).</summary>
internal sealed class NoiseCipher : IDisposable
{
    internal const int TagSize = 16;

    private readonly ChaCha20Poly1305 _cipher;
    private ulong _counter;

    internal NoiseCipher(ReadOnlySpan<byte> key, ulong counter = 0)
    {
        _cipher = new ChaCha20Poly1305(key);
        _counter = counter;
    }

    /// <summary>Encrypts into <paramref name="destination"/>, which is longer by the tag. The two may be the same memory.</summary>
    internal void Encrypt(ReadOnlySpan<byte> associated, ReadOnlySpan<byte> plain, Span<byte> destination)
    {
        Span<byte> nonce = stackalloc byte[12];
        NextNonce(nonce);
        _cipher.Encrypt(nonce, plain, destination[..plain.Length], destination.Slice(plain.Length, TagSize), associated);
    }

    /// <summary>Decrypts what is <see cref="TagSize"/> longer than <paramref name="destination"/>; false if it was not
    /// encrypted with this key, as this message of the session.</summary>
    internal bool TryDecrypt(ReadOnlySpan<byte> associated, ReadOnlySpan<byte> message, Span<byte> destination)
    {
        if (message.Length < TagSize)
            return false;
        Span<byte> nonce = stackalloc byte[12];
        NextNonce(nonce);
        try
        {
            _cipher.Decrypt(nonce, message[..^TagSize], message[^TagSize..], destination[..(message.Length - TagSize)], associated);
            return true;
        }
        catch (AuthenticationTagMismatchException)
        {
            return false;
        }
    }

    private void NextNonce(Span<byte> nonce)
    {
        // The last value is reserved (Noise, section 5.1); a session that gets here is 10^11 years old.
        if (_counter == ulong.MaxValue)
            throw new PeerProtocolException("the Noise session has used up its nonces");
        nonce[..4].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(nonce[4..], _counter++);
    }

    public void Dispose() => _cipher.Dispose();
}
