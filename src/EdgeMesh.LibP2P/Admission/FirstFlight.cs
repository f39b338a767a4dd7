using System.Buffers.Binary;
using EdgeMesh.LibP2P.Cryptography;

namespace EdgeMesh.LibP2P.Admission;

/// <summary>What a dialer of the mesh sends before it has heard a word: the header of multistream-select, the proposal of Noise,
/// and the first Noise message with the proof in it. It is one of two lengths, and every byte in front of the ephemeral key is
/// known, so that a listener can judge it where it lies.</summary>
public static class FirstFlight
{
    private const int LengthSize = 2;

    /// <summary>The longest one.</summary>
    public static int MaxLength { get; } = Beginning.Length + LengthSize + X25519KeyPair.KeySize + AdmissionKeys.PayloadSize(AdmissionKeys.MaxKeys);

    private static ReadOnlySpan<byte> Beginning => "\x13/multistream/1.0.0\n\x07/noise\n"u8;

    /// <summary>Judges what has arrived so far.</summary>
    /// <inheritdoc cref="AdmissionKeys.Judge"/>
    public static AdmissionVerdict Judge(AdmissionKeys keys, ReadOnlySpan<byte> arrived, bool explain, out ulong mark)
    {
        ArgumentNullException.ThrowIfNull(keys);
        mark = 0;
        var known = Math.Min(arrived.Length, Beginning.Length);
        if (!arrived[..known].SequenceEqual(Beginning[..known]))
            return AdmissionVerdict.Foreign;
        if (arrived.Length < Beginning.Length + LengthSize)
            return AdmissionVerdict.Incomplete;
        var message = arrived[(Beginning.Length + LengthSize)..];
        int length = BinaryPrimitives.ReadUInt16BigEndian(arrived[Beginning.Length..]);
        if (!IsMessageLength(length))
            return AdmissionVerdict.Foreign;
        return message.Length < length
            ? AdmissionVerdict.Incomplete
            : keys.Judge(message[..X25519KeyPair.KeySize], message[X25519KeyPair.KeySize..length], explain, out mark);
    }

    private static bool IsMessageLength(int length)
    {
        for (var keys = 1; keys <= AdmissionKeys.MaxKeys; keys++)
        {
            if (length == X25519KeyPair.KeySize + AdmissionKeys.PayloadSize(keys))
                return true;
        }

        return false;
    }
}
