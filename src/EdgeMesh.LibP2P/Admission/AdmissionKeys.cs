using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Security.Cryptography;
using EdgeMesh.LibP2P.Addresses;

namespace EdgeMesh.LibP2P.Admission;

/// <summary>
/// The keys by which a dialer proves, in its first flight, that it belongs here, before the listener has spent anything on it.
/// The proof is the payload of the first Noise message, a protobuf of libp2p's form with one extension of our own:
/// <code>
///   extensions=4 { 1024: version 1, mac(key, 2, e), mac(key, 1, e, listener) once for each key }
///   mac: the first 16 bytes of HMAC-SHA256; e: the ephemeral key in front; listener: the peer id's multihash
/// </code>
/// The second kind is what admits. The first says to whom it was wrong whether the key was, or only the address. Peers that
/// do not know the extension pass over it.
/// </summary>
public sealed class AdmissionKeys
{
    /// <summary>Length of a key.</summary>
    public const int KeySize = 32;

    internal const int MaxKeys = 2;

    private const int MacSize = 16;
    private const byte Version = 1;
    private const byte ForListener = 1;
    private const byte ForMesh = 2;
    private const int HeaderSize = 6;
    private const int EphemeralSize = 32;
    private const int MaxListener = 64;

    private readonly ImmutableArray<byte[]> _keys;
    private readonly PeerId _self;

    /// <param name="keys">One or two: the first is that of this side's identity, all are shown to others.</param>
    /// <param name="self">Who this side is, under the first key.</param>
    public AdmissionKeys(ImmutableArray<byte[]> keys, PeerId self)
    {
        ArgumentNullException.ThrowIfNull(self);
        if (keys.Length is 0 or > MaxKeys || keys.Any(k => k.Length != KeySize))
            throw new ArgumentException($"must be one or {MaxKeys} keys of {KeySize} bytes", nameof(keys));
        _keys = keys;
        _self = self;
    }

    /// <summary>How long a payload with so many proofs for listeners is.</summary>
    internal static int PayloadSize(int keys) => HeaderSize + MacSize * (1 + keys);

    /// <summary>The payload of a first message to a listener.</summary>
    /// <param name="ephemeral">The key in front of it.</param>
    /// <param name="listeners">Who the listener would be under each key; one alone is meant whatever its key is.</param>
    internal byte[] Prove(ReadOnlySpan<byte> ephemeral, IReadOnlyList<PeerId> listeners)
    {
        var payload = new byte[PayloadSize(_keys.Length)];
        WriteHeader(payload, _keys.Length);
        var macs = payload.AsSpan(HeaderSize);
        Mac(_keys[0], ForMesh, ephemeral, [], macs);
        for (var i = 0; i < _keys.Length; i++)
            Mac(_keys[i], ForListener, ephemeral, (listeners.Count == _keys.Length ? listeners[i] : listeners[0]).Multihash, macs[(MacSize * (1 + i))..]);
        return payload;
    }

    /// <summary>Whether a first message admits its sender. Costs one HMAC, and more only where <paramref name="explain"/> asks
    /// for a wrong one's reason.</summary>
    /// <param name="ephemeral">The key in front.</param>
    /// <param name="payload">What comes behind it.</param>
    /// <param name="explain">Tell <see cref="AdmissionVerdict.OtherListener"/> from <see cref="AdmissionVerdict.OtherKey"/>.</param>
    /// <param name="mark">Another number for each proof that admits: a flight that comes twice is a copy.</param>
    public AdmissionVerdict Judge(ReadOnlySpan<byte> ephemeral, ReadOnlySpan<byte> payload, bool explain, out ulong mark)
    {
        mark = 0;
        Span<byte> header = stackalloc byte[HeaderSize];
        var shown = (payload.Length - HeaderSize) / MacSize - 1;
        if (ephemeral.Length != EphemeralSize || shown is < 1 or > MaxKeys || payload.Length != PayloadSize(shown))
            return AdmissionVerdict.Foreign;
        WriteHeader(header, shown);
        if (!payload.StartsWith(header))
            return AdmissionVerdict.Foreign;

        var macs = payload[HeaderSize..];
        Span<byte> right = stackalloc byte[MacSize];
        Mac(_keys[0], ForListener, ephemeral, _self.Multihash, right);
        for (var i = 1; i <= shown; i++)
        {
            if (!CryptographicOperations.FixedTimeEquals(right, macs.Slice(MacSize * i, MacSize)))
                continue;
            mark = BinaryPrimitives.ReadUInt64LittleEndian(right);
            return AdmissionVerdict.Proven;
        }

        foreach (var key in explain ? _keys : [])
        {
            Mac(key, ForMesh, ephemeral, [], right);
            if (CryptographicOperations.FixedTimeEquals(right, macs[..MacSize]))
                return AdmissionVerdict.OtherListener;
        }

        return AdmissionVerdict.OtherKey;
    }

    private static void WriteHeader(Span<byte> payload, int keys)
    {
        // Field 4, and in it field 1024, both with a length of one byte.
        var proof = 1 + MacSize * (1 + keys);
        payload[0] = (4 << 3) | 2;
        payload[1] = (byte)(3 + proof);
        payload[2] = 0x82;
        payload[3] = 0x40;
        payload[4] = (byte)proof;
        payload[5] = Version;
    }

    private static void Mac(byte[] key, byte purpose, ReadOnlySpan<byte> ephemeral, ReadOnlySpan<byte> listener, Span<byte> mac)
    {
        Span<byte> message = stackalloc byte[1 + EphemeralSize + MaxListener];
        Span<byte> whole = stackalloc byte[HMACSHA256.HashSizeInBytes];
        message[0] = purpose;
        ephemeral.CopyTo(message[1..]);
        listener.CopyTo(message[(1 + EphemeralSize)..]);
        HMACSHA256.HashData(key, message[..(1 + EphemeralSize + listener.Length)], whole);
        whole[..MacSize].CopyTo(mac);
    }

    public override string ToString() => "admission keys";
}
