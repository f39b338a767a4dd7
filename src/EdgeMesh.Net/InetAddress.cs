using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text.Unicode;

namespace EdgeMesh.Net;

/// <summary>An IPv4 or IPv6 address as a value: comparing, hashing and storing it allocates nothing.</summary>
/// <remarks>An IPv4-mapped IPv6 address (RFC 4291 2.5.5.2) becomes the IPv4 address it stands for. So no IPv6 address is one of
/// those, and their range can hold IPv4: 16 bytes tell the family too. A cluster has 100,000 endpoints.</remarks>
public readonly record struct InetAddress : ISpanFormattable, IUtf8SpanFormattable
{
    /// <summary>The second half of ::ffff:0:0. It is taken off what is stored, so that <c>default</c> is 0.0.0.0.</summary>
    private const ulong Mapped = 0xFFFF_0000_0000;

    private readonly ulong _high;
    private readonly ulong _low;

    /// <param name="bits">For IPv4 the lower 32.</param>
    public InetAddress(UInt128 bits, bool isIPv6)
    {
        _high = isIPv6 ? (ulong)(bits >> 64) : 0;
        _low = isIPv6 ? (ulong)bits ^ Mapped : (uint)bits;
    }

    public bool IsIPv6 => _high != 0 || _low > uint.MaxValue;

    public UInt128 Bits
    {
        get => IsIPv6 ? new UInt128(_high, _low ^ Mapped) : _low;
        init => this = new InetAddress(value, IsIPv6);
    }

    public IpFamily Family => IsIPv6 ? IpFamily.IPv6 : IpFamily.IPv4;

    /// <summary>Bits of the address: 32 or 128.</summary>
    public int Width => IsIPv6 ? 128 : 32;

    /// <exception cref="ArgumentException">The address has neither 4 nor 16 bytes.</exception>
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
            return new InetAddress(BinaryPrimitives.ReadUInt32BigEndian(bytes), isIPv6: false);
        return new InetAddress(BinaryPrimitives.ReadUInt128BigEndian(bytes), isIPv6: true);
    }

    /// <exception cref="FormatException">The text is no address.</exception>
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

    public string ToString(string? format, IFormatProvider? formatProvider) => ToString();

    /// <summary>Writes dotted decimal or RFC 5952 text; an IPv4 address allocates nothing.</summary>
    public bool TryFormat(Span<char> destination, out int charsWritten, ReadOnlySpan<char> format, IFormatProvider? provider)
    {
        if (IsIPv6)
            return ToIPAddress().TryFormat(destination, out charsWritten);
        var bits = (uint)Bits;
        return destination.TryWrite(provider, $"{bits >> 24}.{(byte)(bits >> 16)}.{(byte)(bits >> 8)}.{(byte)bits}", out charsWritten);
    }

    /// <summary>The same in UTF-8.</summary>
    public bool TryFormat(Span<byte> utf8Destination, out int bytesWritten, ReadOnlySpan<char> format, IFormatProvider? provider)
    {
        if (IsIPv6)
            return ToIPAddress().TryFormat(utf8Destination, out bytesWritten);
        var bits = (uint)Bits;
        return Utf8.TryWrite(utf8Destination, provider, $"{bits >> 24}.{(byte)(bits >> 16)}.{(byte)(bits >> 8)}.{(byte)bits}", out bytesWritten);
    }
}
