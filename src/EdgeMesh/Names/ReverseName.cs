using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Names;

/// <summary>Addresses as names: 1.0.244.10.in-addr.arpa (RFC 1035, 3.5), and 32 hexadecimal digits before ip6.arpa (RFC 3596, 2.5).</summary>
internal static class ReverseName
{
    private const int LabelsIPv4 = 4 + 2;
    private const int LabelsIPv6 = 32 + 2;

    /// <param name="name">In small letters.</param>
    /// <param name="offsets">Where its labels begin.</param>
    public static bool TryRead(ReadOnlySpan<byte> name, ReadOnlySpan<byte> offsets, out InetAddress address)
    {
        address = default;
        return offsets.Length switch
        {
            LabelsIPv4 when name[offsets[4]..].SequenceEqual("\u0007in-addr\u0004arpa\0"u8) => TryReadIPv4(name, offsets, out address),
            LabelsIPv6 when name[offsets[32]..].SequenceEqual("\u0003ip6\u0004arpa\0"u8) => TryReadIPv6(name, offsets, out address),
            _ => false,
        };
    }

    private static bool TryReadIPv4(ReadOnlySpan<byte> name, ReadOnlySpan<byte> offsets, out InetAddress address)
    {
        address = default;
        uint bits = 0;
        for (var i = 3; i >= 0; i--)
        {
            var label = name.Slice(offsets[i] + 1, name[offsets[i]]);
            if (label.Length > 3 || (label.Length > 1 && label[0] == (byte)'0'))
                return false;
            var value = 0;
            foreach (var b in label)
            {
                if (b is < (byte)'0' or > (byte)'9')
                    return false;
                value = (value * 10) + (b - '0');
            }

            if (value > 255)
                return false;
            bits = (bits << 8) | (uint)value;
        }

        address = new InetAddress(bits, isIPv6: false);
        return true;
    }

    private static bool TryReadIPv6(ReadOnlySpan<byte> name, ReadOnlySpan<byte> offsets, out InetAddress address)
    {
        address = default;
        var bits = UInt128.Zero;
        for (var i = 31; i >= 0; i--)
        {
            if (name[offsets[i]] != 1)
                return false;
            var b = name[offsets[i] + 1];
            if (!char.IsAsciiHexDigit((char)b))
                return false;
            bits = (bits << 4) | (uint)(b <= '9' ? b - '0' : b - 'a' + 10);
        }

        address = new InetAddress(bits, isIPv6: true);
        return true;
    }
}
