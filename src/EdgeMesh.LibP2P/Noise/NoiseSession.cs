using System.Buffers.Binary;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Admission;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.LibP2P.Noise;

/// <summary>
/// libp2p's `/noise` without any I/O: feed what arrives to <see cref="Receive"/>, send what gathers in <see cref="Output"/>.
/// <code>
///   handshake:  [2-byte length][Noise message]   three of them, the last two carry the identities
///   afterwards: [2-byte length][up to 65,519 bytes encrypted][16-byte tag]
/// </code>
/// Not thread-safe; a session that threw is over.
/// </summary>
public sealed class NoiseSession : IDisposable
{
    /// <summary>The protocol's name for multistream-select.</summary>
    public const string Protocol = "/noise";

    /// <summary>How much fits into one message.</summary>
    public const int MaxPlain = NoiseHandshake.MaxMessage - NoiseCipher.TagSize;

    /// <summary>What one message adds to the bytes it carries.</summary>
    public const int Overhead = 2 + NoiseCipher.TagSize;

    private readonly bool _initiator;
    private readonly Ed25519KeyPair _identity;
    private readonly NoiseTerms _terms;
    private readonly IReadOnlyList<string> _muxers;
    private readonly Func<NoiseHandshake> _begin;
    private readonly ByteQueue _partial = new(2 + NoiseHandshake.MaxMessage);
    private NoiseHandshake? _handshake;
    private NoiseCipher? _send;
    private NoiseCipher? _receive;

    /// <param name="initiator">Whether this side dialled.</param>
    /// <param name="identity">Who this side is.</param>
    /// <param name="terms">With whom.</param>
    /// <param name="muxers">Muxers offered inside the handshake, best first, which saves a round trip; may be empty.</param>
    /// <param name="output">Where bytes for the peer are put.</param>
    public NoiseSession(bool initiator, Ed25519KeyPair identity, NoiseTerms terms, IReadOnlyList<string> muxers, ByteQueue output)
        : this(initiator, identity, terms, muxers, output, () => new NoiseHandshake(initiator, X25519KeyPair.Create(), X25519KeyPair.Create(), []))
    {
    }

    /// <param name="begin">Makes the handshake and its keys: on the listener's side only when the first message is there and
    /// its sender admitted.</param>
    internal NoiseSession(bool initiator, Ed25519KeyPair identity, NoiseTerms terms, IReadOnlyList<string> muxers, ByteQueue output, Func<NoiseHandshake> begin)
    {
        _initiator = initiator;
        _identity = identity;
        _terms = terms;
        _muxers = muxers;
        _begin = begin;
        Output = output;
        if (initiator)
            WriteHandshake(_handshake = begin());
    }

    /// <summary>Bytes for the peer.</summary>
    public ByteQueue Output { get; }

    /// <summary>The handshake is done and the peer has proved who it is.</summary>
    public bool IsEstablished => _send is not null;

    /// <summary>The peer has been told who this side is, and has not said yet who it is.</summary>
    public bool AwaitsIdentity => !_initiator && !IsEstablished && _handshake is not null;

    /// <summary>The listener has been shown the proof of admission, and has not said yet who it is.</summary>
    internal bool AwaitsAdmission => _initiator && !IsEstablished && _terms is { Admission: not null, ProvesTo.Count: > 0 };

    /// <summary>Who the peer is, once established.</summary>
    public PeerId? RemotePeer { get; private set; }

    /// <summary>The muxer that both sides offered inside the handshake; null if it has to be negotiated now.</summary>
    public string? Muxer { get; private set; }

    /// <summary>
    /// Takes what has arrived and appends what it says to <paramref name="plain"/>. Stops early, with bytes left in
    /// <paramref name="input"/>, when <paramref name="plain"/> has no room for another message: call again with the rest.
    /// </summary>
    /// <exception cref="PeerProtocolException">What arrived is not a genuine message, or the peer is not the expected one.</exception>
    public void Receive(ref ReadOnlySpan<byte> input, ByteQueue plain)
    {
        while (!input.IsEmpty)
        {
            if (_partial.Count == 0 && TryWhole(input, out var direct))
            {
                if (!Accept(direct, plain))
                    return;
                input = input[(2 + direct.Length)..];
                continue;
            }

            if (TryWhole(_partial.Data, out var kept))
            {
                if (!Accept(kept, plain))
                    return;
                _partial.Consume(2 + kept.Length);
                continue;
            }

            // Only what completes one message is set aside, so that what follows it is decrypted in place.
            var missing = _partial.Count < 2 ? 2 - _partial.Count : 2 + BinaryPrimitives.ReadUInt16BigEndian(_partial.Data) - _partial.Count;
            var taken = Math.Min(missing, input.Length);
            _partial.Append(input[..taken]);
            input = input[taken..];
        }

        if (TryWhole(_partial.Data, out var last) && Accept(last, plain))
            _partial.Consume(2 + last.Length);
    }

    /// <summary>Encrypts bytes into as few messages as they need, at the end of <see cref="Output"/>.</summary>
    public void Send(ReadOnlySpan<byte> plain)
    {
        if (_send is null)
            throw new InvalidOperationException("the Noise session is not established");
        while (!plain.IsEmpty)
        {
            var part = plain[..Math.Min(plain.Length, MaxPlain)];
            plain = plain[part.Length..];
            var message = Output.Reserve(part.Length + Overhead);
            BinaryPrimitives.WriteUInt16BigEndian(message, (ushort)(part.Length + NoiseCipher.TagSize));
            _send.Encrypt([], part, message[2..]);
            Output.Commit(part.Length + Overhead);
        }
    }

    /// <summary>Encrypts bytes into as few messages as they need, into memory of the caller's: at least
    /// <see cref="SealedLength"/> bytes, which is also what it returns.</summary>
    public int Seal(ReadOnlySpan<byte> plain, Span<byte> destination)
    {
        if (_send is null)
            throw new InvalidOperationException("the Noise session is not established");
        var at = 0;
        while (!plain.IsEmpty)
        {
            var part = plain[..Math.Min(plain.Length, MaxPlain)];
            plain = plain[part.Length..];
            BinaryPrimitives.WriteUInt16BigEndian(destination[at..], (ushort)(part.Length + NoiseCipher.TagSize));
            _send.Encrypt([], part, destination.Slice(at + 2, part.Length + NoiseCipher.TagSize));
            at += part.Length + Overhead;
        }

        return at;
    }

    /// <summary>How long so many bytes become by <see cref="Seal"/>.</summary>
    public static int SealedLength(int plain) => plain + (((plain + MaxPlain - 1) / MaxPlain) * Overhead);

    /// <summary>Decrypts the first message of what has arrived where it is; false if it is not all there yet.</summary>
    /// <param name="arrived">What has arrived; the message's bytes are replaced.</param>
    /// <param name="taken">How many bytes the message was long, with everything.</param>
    /// <param name="plain">What it says, a piece of <paramref name="arrived"/>.</param>
    /// <exception cref="PeerProtocolException">It is not a genuine message.</exception>
    public bool TryOpen(Span<byte> arrived, out int taken, out Span<byte> plain)
    {
        plain = default;
        taken = 0;
        if (_receive is null)
            throw new InvalidOperationException("the Noise session is not established");
        if (!TryWhole(arrived, out var whole))
            return false;
        if (whole.Length < NoiseCipher.TagSize)
            throw new PeerProtocolException("a Noise message is shorter than its tag");
        taken = 2 + whole.Length;
        plain = arrived[2..(taken - NoiseCipher.TagSize)];
        return _receive.TryDecrypt([], whole, plain)
            ? true
            : throw new PeerProtocolException("a Noise message could not be decrypted: it was altered on the way");
    }

    /// <summary>Gives away the beginning of a message whose end has not arrived, for whoever goes on with <see cref="TryOpen"/>.</summary>
    internal byte[] TakePartial()
    {
        var partial = _partial.Data.ToArray();
        _partial.Dispose();
        return partial;
    }

    private static bool TryWhole(ReadOnlySpan<byte> bytes, out ReadOnlySpan<byte> message)
    {
        message = default;
        if (bytes.Length < 2)
            return false;
        var length = BinaryPrimitives.ReadUInt16BigEndian(bytes);
        if (bytes.Length < 2 + length)
            return false;
        message = bytes.Slice(2, length);
        return true;
    }

    private bool Accept(ReadOnlySpan<byte> message, ByteQueue plain)
    {
        if (_receive is null)
        {
            ReadHandshake(message);
            return true;
        }

        var length = message.Length - NoiseCipher.TagSize;
        if (length < 0)
            throw new PeerProtocolException("a Noise message is shorter than its tag");
        if (length > plain.Room)
            return false;
        if (!_receive.TryDecrypt([], message, plain.Reserve(length)))
            throw new PeerProtocolException("a Noise message could not be decrypted: it was altered on the way");
        plain.Commit(length);
        return true;
    }

    private void ReadHandshake(ReadOnlySpan<byte> message)
    {
        if (message.Length > NoisePayload.MaxLength + 128)
            throw new PeerProtocolException("a Noise handshake message is too long");
        if (_handshake is null)
            Admit(message);
        var handshake = _handshake ??= _begin();
        Span<byte> buffer = stackalloc byte[message.Length];
        var length = handshake.Read(message, buffer);
        // The first message is in the clear: but for the proof it says nothing that could be trusted.
        if (!_initiator && !handshake.IsComplete)
        {
            WriteHandshake(handshake);
            return;
        }

        var payload = NoisePayload.Decode(buffer[..length]);
        if (_terms.Keys?.Contains(payload.IdentityKey.Type) == false)
            throw new PeerProtocolException($"the peer's identity is a key of a kind that is not taken here ({payload.IdentityKey.Type})");
        if (!payload.Vouches(handshake.RemoteStatic))
            throw new PeerProtocolException("the peer has not signed its Noise key with its identity");
        var peer = PeerId.FromPublicKey(payload.IdentityKey);
        if (_terms.Expected is { } expected && !expected.Equals(peer))
            throw new UnexpectedPeerException(peer, expected);
        RemotePeer = peer;
        Muxer = ChooseMuxer(payload.Muxers);
        if (!handshake.IsComplete)
            WriteHandshake(handshake);
        (_send, _receive) = handshake.Split();
        handshake.Dispose();
    }

    private void Admit(ReadOnlySpan<byte> message)
    {
        if (_terms.Admission is not { } admission)
            return;
        var key = Math.Min(message.Length, X25519KeyPair.KeySize);
        var verdict = admission.Judge(message[..key], message[key..], explain: true, out _);
        if (verdict != AdmissionVerdict.Proven)
            throw new NotAdmittedException(verdict);
    }

    /// <summary>The initiator's order decides, so that both sides come to the same choice.</summary>
    private string? ChooseMuxer(IReadOnlyList<string> theirs)
    {
        if (_muxers.Count == 0 || theirs.Count == 0)
            return null;
        var (first, second) = _initiator ? (_muxers, theirs) : (theirs, _muxers);
        foreach (var muxer in first)
        {
            if (second.Contains(muxer, StringComparer.Ordinal))
                return muxer;
        }

        throw new PeerProtocolException($"no muxer in common: the peer offers {string.Join(", ", theirs)}");
    }

    private void WriteHandshake(NoiseHandshake handshake)
    {
        // A signed identity goes only into the messages that are encrypted.
        var payload = handshake.IsFirstMessage ? FirstPayload(handshake) : NoisePayload.Create(_identity, handshake.LocalStatic, _muxers).Encode();
        var message = Output.Reserve(2 + payload.Length + 128);
        var length = handshake.Write(payload, message[2..]);
        BinaryPrimitives.WriteUInt16BigEndian(message, (ushort)length);
        Output.Commit(2 + length);
    }

    private byte[] FirstPayload(NoiseHandshake handshake) =>
        _terms is { Admission: { } admission, ProvesTo: { Count: > 0 } listeners } ? admission.Prove(handshake.LocalEphemeral, listeners) : [];

    public void Dispose()
    {
        _handshake?.Dispose();
        _send?.Dispose();
        _receive?.Dispose();
        _partial.Dispose();
    }
}
