namespace EdgeMesh.LibP2P.Wire;

/// <summary>Unsigned varints (LEB128), as multiformats and protobuf use them.</summary>
public static class Varint
{
    /// <summary>The longest one: 64 bits at 7 a byte.</summary>
    public const int MaxLength = 10;

    /// <summary>How many bytes <paramref name="value"/> takes.</summary>
    public static int Length(ulong value)
    {
        var length = 1;
        while (value >= 0x80)
        {
            value >>= 7;
            length++;
        }

        return length;
    }

    /// <summary>Writes <paramref name="value"/> and returns how many bytes that took.</summary>
    public static int Write(Span<byte> destination, ulong value)
    {
        var i = 0;
        while (value >= 0x80)
        {
            destination[i++] = (byte)(value | 0x80);
            value >>= 7;
        }

        destination[i++] = (byte)value;
        return i;
    }

    /// <summary>Reads a varint from the start of <paramref name="source"/>.</summary>
    public static VarintResult Read(ReadOnlySpan<byte> source, out ulong value, out int length)
    {
        value = 0;
        for (var i = 0; i < MaxLength; i++)
        {
            if (i == source.Length)
            {
                length = 0;
                return VarintResult.Incomplete;
            }

            var b = source[i];
            // The tenth byte holds the last of 64 bits.
            if (i == MaxLength - 1 && b > 1)
                break;
            value |= (ulong)(b & 0x7F) << (7 * i);
            if (b < 0x80)
            {
                length = i + 1;
                return VarintResult.Read;
            }
        }

        length = 0;
        return VarintResult.TooLong;
    }
}

/// <summary>How reading a varint ended.</summary>
public enum VarintResult
{
    /// <summary>It is there.</summary>
    Read,

    /// <summary>More bytes are needed.</summary>
    Incomplete,

    /// <summary>It does not fit in 64 bits: no more bytes will help.</summary>
    TooLong,
}
