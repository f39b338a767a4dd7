using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace EdgeMesh.Linux;

/// <summary>An IPv4 or IPv6 address as a value: comparing, hashing and storing it allocates nothing.</summary>
/// <remarks>An IPv4-mapped IPv6 address (RFC 4291 2.5.5.2) becomes the IPv4 address it stands for.</remarks>
public readonly record struct InetAddress(UInt128 Bits, bool IsIPv6)
{
    public static InetAddress From(IPAddress address)
    {
        ArgumentNullException.ThrowIfNull(address);
        Span<byte> bytes = stackalloc byte[16];
        if (!address.TryWriteBytes(bytes, out var written))
            throw new ArgumentException("An address has 4 or 16 bytes.", nameof(address));
        return FromBytes(bytes[..written]);
    }

    /// <param name="bytes">4 or 16 bytes in network order.</param>
    public static InetAddress FromBytes(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length == 4)
            return new InetAddress(BinaryPrimitives.ReadUInt32BigEndian(bytes), IsIPv6: false);
        var bits = BinaryPrimitives.ReadUInt128BigEndian(bytes);
        return bits >> 32 == 0xFFFF
            ? new InetAddress(bits & uint.MaxValue, IsIPv6: false)
            : new InetAddress(bits, IsIPv6: true);
    }

    public static InetAddress Parse(string text) => From(IPAddress.Parse(text));

    /// <summary>Reads strict address text: unlike <see cref="IPAddress.TryParse(string, out IPAddress)"/>,
    /// IPv4 must be four decimal numbers and IPv6 carries no zone.</summary>
    public static bool TryParse(string? text, out InetAddress address)
    {
        address = default;
        if (string.IsNullOrEmpty(text) || text.Contains('%', StringComparison.Ordinal))
            return false;
        if (!IPAddress.TryParse(text, out var parsed))
            return false;
        if (parsed.AddressFamily == AddressFamily.InterNetwork && parsed.ToString() != text)
            return false;
        address = From(parsed);
        return true;
    }

    /// <summary>Writes 4 or 16 bytes in network order and returns how many.</summary>
    public int WriteBytes(Span<byte> destination)
    {
        if (IsIPv6)
        {
            BinaryPrimitives.WriteUInt128BigEndian(destination, Bits);
            return 16;
        }

        BinaryPrimitives.WriteUInt32BigEndian(destination, (uint)Bits);
        return 4;
    }

    public IPAddress ToIPAddress()
    {
        Span<byte> bytes = stackalloc byte[16];
        return new IPAddress(bytes[..WriteBytes(bytes)]);
    }

    public override string ToString() => ToIPAddress().ToString();
}

/// <summary>An address and a port as a value.</summary>
public readonly record struct InetEndpoint(InetAddress Address, ushort Port)
{
    public static InetEndpoint Parse(string text)
    {
        var parsed = IPEndPoint.Parse(text);
        return new InetEndpoint(InetAddress.From(parsed.Address), (ushort)parsed.Port);
    }

    public override string ToString() => Address.IsIPv6 ? $"[{Address}]:{Port}" : $"{Address}:{Port}";
}
