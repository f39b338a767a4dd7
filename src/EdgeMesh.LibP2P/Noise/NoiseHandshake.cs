using System.Security.Cryptography;
using EdgeMesh.LibP2P.Cryptography;

namespace EdgeMesh.LibP2P.Noise;

/// <summary>
/// Noise_XX_25519_ChaChaPoly_SHA256, one side of it, without any I/O:
/// <code>
///   -> e
///   &lt;- e, ee, s, es
///   -> s, se
/// </code>
/// Messages are written and read in turn; after the third, <see cref="Split"/>.
/// </summary>
internal sealed class NoiseHandshake : IDisposable
{
    internal const int MaxMessage = 65535;

    private const int KeySize = X25519KeyPair.KeySize;
    private const int SealedKeySize = KeySize + NoiseCipher.TagSize;

    private readonly bool _initiator;
    private readonly X25519KeyPair _static;
    private readonly X25519KeyPair _ephemeral;
    private readonly NoiseSymmetricState _state;
    private readonly byte[] _remoteEphemeral = new byte[KeySize];
    private readonly byte[] _remoteStatic = new byte[KeySize];
    private int _step;

    /// <summary>The handshake owns both key pairs from here on.</summary>
    internal NoiseHandshake(bool initiator, X25519KeyPair staticKey, X25519KeyPair ephemeralKey, ReadOnlySpan<byte> prologue)
    {
        _initiator = initiator;
        _static = staticKey;
        _ephemeral = ephemeralKey;
        _state = new NoiseSymmetricState("Noise_XX_25519_ChaChaPoly_SHA256"u8, prologue);
    }

    internal ReadOnlySpan<byte> LocalStatic => _static.PublicKey;

    internal ReadOnlySpan<byte> LocalEphemeral => _ephemeral.PublicKey;

    /// <summary>The peer's static key; known after its message with `s`.</summary>
    internal ReadOnlySpan<byte> RemoteStatic => _remoteStatic;

    /// <summary>The hash of everything said, the same on both sides.</summary>
    internal ReadOnlySpan<byte> Hash => _state.Hash;

    internal bool IsFirstMessage => _step == 0;

    internal bool IsComplete => _step == 3;

    internal bool IsMyTurn => !IsComplete && _initiator == (_step != 1);

    /// <summary>Writes this side's next message and returns its length.</summary>
    internal int Write(ReadOnlySpan<byte> payload, Span<byte> message)
    {
        if (!IsMyTurn)
            throw new InvalidOperationException("it is the peer's turn in the Noise handshake");
        var at = 0;
        if (_step < 2)
        {
            _ephemeral.PublicKey.CopyTo(message);
            _state.MixHash(message[..KeySize]);
            at = KeySize;
        }

        if (_step == 1)
            Agree(_ephemeral, _remoteEphemeral);
        if (_step > 0)
        {
            at += _state.EncryptAndHash(_static.PublicKey, message[at..]);
            Agree(_static, _remoteEphemeral);
        }

        at += _state.EncryptAndHash(payload, message[at..]);
        _step++;
        return at;
    }

    /// <summary>Reads the peer's next message and returns the length of the payload, which is then in
    /// <paramref name="payload"/>.</summary>
    /// <exception cref="PeerProtocolException">The message is too short or not genuine.</exception>
    internal int Read(ReadOnlySpan<byte> message, Span<byte> payload)
    {
        if (IsMyTurn || IsComplete)
            throw new InvalidOperationException("it is this side's turn in the Noise handshake");
        if (_step < 2)
        {
            Take(ref message, KeySize).CopyTo(_remoteEphemeral);
            _state.MixHash(_remoteEphemeral);
        }

        if (_step == 1)
            Agree(_ephemeral, _remoteEphemeral);
        if (_step > 0)
        {
            if (!_state.TryDecryptAndHash(Take(ref message, SealedKeySize), _remoteStatic, out _))
                throw NotGenuine();
            Agree(_ephemeral, _remoteStatic);
        }

        if (!_state.TryDecryptAndHash(message, payload, out var length))
            throw NotGenuine();
        _step++;
        return length;
    }

    internal (NoiseCipher Send, NoiseCipher Receive) Split()
    {
        if (!IsComplete)
            throw new InvalidOperationException("the Noise handshake is not complete");
        var (fromInitiator, fromResponder) = _state.Split();
        return _initiator ? (fromInitiator, fromResponder) : (fromResponder, fromInitiator);
    }

    private void Agree(X25519KeyPair mine, ReadOnlySpan<byte> theirs)
    {
        Span<byte> secret = stackalloc byte[KeySize];
        if (!mine.TryAgree(theirs, secret))
            throw new PeerProtocolException("the peer's Curve25519 key is of small order");
        _state.MixKey(secret);
        CryptographicOperations.ZeroMemory(secret);
    }

    private static ReadOnlySpan<byte> Take(ref ReadOnlySpan<byte> message, int length)
    {
        if (message.Length < length)
            throw new PeerProtocolException("a Noise handshake message is too short");
        var taken = message[..length];
        message = message[length..];
        return taken;
    }

    private static PeerProtocolException NotGenuine() =>
        new("a Noise handshake message could not be decrypted: it was altered on the way, or the peer speaks another protocol");

    public void Dispose()
    {
        _static.Dispose();
        _ephemeral.Dispose();
        _state.Dispose();
    }
}
