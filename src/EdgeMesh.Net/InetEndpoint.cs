using System.Net;
using System.Text.Unicode;

namespace EdgeMesh.Net;

/// <summary>An address and a port as a value.</summary>
public readonly record struct InetEndpoint(InetAddress Address, ushort Port) : ISpanFormattable, IUtf8SpanFormattable
{
    public IpFamily Family => Address.Family;

    public static InetEndpoint From(IPEndPoint endpoint)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        return new InetEndpoint(InetAddress.From(endpoint.Address), (ushort)endpoint.Port);
    }

    /// <exception cref="FormatException">The text is not ADDRESS:PORT or [ADDRESS]:PORT.</exception>
    public static InetEndpoint Parse(string text) => From(IPEndPoint.Parse(text));

    public IPEndPoint ToIPEndPoint() => new(Address.ToIPAddress(), Port);

    public override string ToString() => $"{this}";

    public string ToString(string? format, IFormatProvider? formatProvider) => ToString();

    public bool TryFormat(Span<char> destination, out int charsWritten, ReadOnlySpan<char> format, IFormatProvider? provider) =>
        Address.IsIPv6
            ? destination.TryWrite(provider, $"[{Address}]:{Port}", out charsWritten)
            : destination.TryWrite(provider, $"{Address}:{Port}", out charsWritten);

    /// <summary>The same in UTF-8.</summary>
    public bool TryFormat(Span<byte> utf8Destination, out int bytesWritten, ReadOnlySpan<char> format, IFormatProvider? provider) =>
        Address.IsIPv6
            ? Utf8.TryWrite(utf8Destination, provider, $"[{Address}]:{Port}", out bytesWritten)
            : Utf8.TryWrite(utf8Destination, provider, $"{Address}:{Port}", out bytesWritten);
}
