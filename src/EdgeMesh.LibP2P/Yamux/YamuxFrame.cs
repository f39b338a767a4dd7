using System.Buffers.Binary;

namespace EdgeMesh.LibP2P.Yamux;

internal enum YamuxType : byte
{
    Data = 0,
    WindowUpdate = 1,
    Ping = 2,
    GoAway = 3,
}

[Flags]
internal enum YamuxFlags : ushort
{
    None = 0,
    Syn = 1,
    Ack = 2,
    Fin = 4,
    Rst = 8,
}

/// <summary>The 12 bytes in front of every frame, big-endian: version 0, type, flags (2), stream (4), length (4).</summary>
internal readonly record struct YamuxFrame(YamuxType Type, YamuxFlags Flags, uint Stream, uint Length)
{
    internal const int HeaderSize = 12;

    internal void Write(Span<byte> header)
    {
        header[0] = 0;
        header[1] = (byte)Type;
        BinaryPrimitives.WriteUInt16BigEndian(header[2..], (ushort)Flags);
        BinaryPrimitives.WriteUInt32BigEndian(header[4..], Stream);
        BinaryPrimitives.WriteUInt32BigEndian(header[8..], Length);
    }

    /// <exception cref="PeerProtocolException">This is no header of yamux 0.</exception>
    internal static YamuxFrame Read(ReadOnlySpan<byte> header)
    {
        if (header[0] != 0)
            throw new PeerProtocolException($"yamux version {header[0]} is not known");
        if (header[1] > (byte)YamuxType.GoAway)
            throw new PeerProtocolException($"yamux frame type {header[1]} is not known");
        return new YamuxFrame(
            (YamuxType)header[1],
            (YamuxFlags)BinaryPrimitives.ReadUInt16BigEndian(header[2..]),
            BinaryPrimitives.ReadUInt32BigEndian(header[4..]),
            BinaryPrimitives.ReadUInt32BigEndian(header[8..]));
    }
}
