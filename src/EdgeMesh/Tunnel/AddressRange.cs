using System.Diagnostics.CodeAnalysis;
using EdgeMesh.Linux;
using EdgeMesh.Net;

namespace EdgeMesh.Tunnel;

/// <summary>An address range as <c>ip addr</c> shows it: an address with its prefix. The bits of the host are kept, because
/// that address is the one at which the range can be verified; with none (10.1.0.0/16) it names the range alone.</summary>
public readonly record struct AddressRange(InetAddress Address, int PrefixLength)
{
    private UInt128 Mask => PrefixLength == 0 ? 0 : UInt128.MaxValue << (Address.Width - PrefixLength);

    /// <summary>The first address of the range.</summary>
    public InetAddress Network => Address with { Bits = Address.Bits & Mask };

    /// <summary>Whether <see cref="Address"/> can be a host: it is not the network's own number, or the range is one address.</summary>
    public bool HasHost => PrefixLength == Address.Width || Address.Bits != Network.Bits;

    /// <summary>One address alone.</summary>
    public static AddressRange Of(InetAddress address) => new(address, address.Width);

    public bool Contains(InetAddress address) => address.IsIPv6 == Address.IsIPv6 && ((address.Bits ^ Address.Bits) & Mask & WidthMask) == 0;

    private UInt128 WidthMask => Address.IsIPv6 ? UInt128.MaxValue : uint.MaxValue;

    /// <summary>Reads <c>10.1.2.1/24</c>; an address alone is a range of one.</summary>
    public static bool TryParse(string? text, [NotNullWhen(true)] out AddressRange? range)
    {
        range = null;
        var slash = text?.IndexOf('/', StringComparison.Ordinal) ?? -1;
        if (!InetAddress.TryParse(slash < 0 ? text : text![..slash], out var address))
            return false;
        var whole = Of(address);
        if (slash < 0)
            range = whole;
        else if (byte.TryParse(text.AsSpan(slash + 1), System.Globalization.NumberStyles.None, null, out var length) && length <= whole.PrefixLength)
            range = new AddressRange(address, length);
        return range is not null;
    }

    /// <exception cref="FormatException">The text is not a range.</exception>
    public static AddressRange Parse(string text) =>
        TryParse(text, out var range) ? range.Value : throw new FormatException($"'{text}' is not an address range: expected text like 10.1.2.1/24");

    public override string ToString() => $"{Address}/{PrefixLength}";
}
