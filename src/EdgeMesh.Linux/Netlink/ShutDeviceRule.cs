using System.Runtime.InteropServices;
using System.Text;

namespace EdgeMesh.Linux.Netlink;

/// <summary>A rule that drops or rejects what leaves by one device and has come by another, and asks for nothing else:
/// <c>iifname != "docker0" oifname "docker0" drop</c>, or <c>! -i docker0 -o docker0 -j DROP</c>.</summary>
internal static class ShutDeviceRule
{
    // linux/netfilter/nf_tables.h; linux/netfilter_ipv4/ip_tables.h and linux/if.h.
    private const uint KeyInputName = 6, KeyOutputName = 7, Equal = 0, NotEqual = 1;
    private const byte InverseInput = 1;
    private const int NameBytes = 16;

    /// <param name="expressions">Those of a rule of nf_tables.</param>
    /// <returns>The device's name, with a plus sign where the rule means all that begin so; null: it is another rule.</returns>
    public static string? Device(ReadOnlySpan<byte> expressions)
    {
        string? input = null, output = null;
        var (loaded, drops) = (0u, false);
        var walk = new NetlinkAttributes(expressions);
        while (walk.MoveNext())
        {
            var data = FilterChainReader.Find(walk.Value, 2);
            switch (FilterChainReader.Text(FilterChainReader.Find(walk.Value, 1)))
            {
                case "counter" or "log":
                    break;
                case "meta" when loaded == 0 && FilterChainReader.Number(FilterChainReader.Find(data, 2)) is KeyInputName or KeyOutputName:
                    loaded = FilterChainReader.Number(FilterChainReader.Find(data, 2))!.Value;
                    break;
                case "cmp" when loaded == KeyInputName && input is null && FilterChainReader.Number(FilterChainReader.Find(data, 2)) == NotEqual:
                    (input, loaded) = (Name(data), 0);
                    break;
                case "cmp" when loaded == KeyOutputName && output is null && FilterChainReader.Number(FilterChainReader.Find(data, 2)) == Equal:
                    (output, loaded) = (Name(data), 0);
                    break;
                case var name when FilterChainReader.Drops(name, data):
                    drops = true;
                    break;
                default:
                    return null;
            }
        }

        return drops && output is not null && input == output ? output : null;
    }

    /// <param name="addresses">struct ipt_ip or ip6t_ip6 of a rule without matches that drops or rejects.</param>
    public static string? Device(ReadOnlySpan<byte> addresses, bool ipv6)
    {
        // src, dst and their masks; then the devices, their masks, protocol (2 bytes), for IPv6 the type of service (1), flags and inverse flags.
        var devices = ipv6 ? 64 : 16;
        var input = addresses.Slice(devices, NameBytes);
        var output = addresses.Slice(devices + NameBytes, NameBytes);
        var inputMask = addresses.Slice(devices + (2 * NameBytes), NameBytes);
        var outputMask = addresses.Slice(devices + (3 * NameBytes), NameBytes);
        var rest = addresses[(devices + (4 * NameBytes))..];
        var inverse = rest[ipv6 ? 4 : 3];
        var isFree = addresses[..devices].IndexOfAnyExcept((byte)0) < 0 && MemoryMarshal.Read<ushort>(rest) == 0;
        if (!isFree || inverse != InverseInput || !input.SequenceEqual(output) || !inputMask.SequenceEqual(outputMask))
            return null;
        // The mask covers the name and its terminating zero, or only the beginning of the names that are meant.
        var length = outputMask.LastIndexOfAnyExcept((byte)0) + 1;
        var end = output.IndexOf((byte)0);
        if (length == 0 || end <= 0)
            return null;
        return length > end ? Encoding.UTF8.GetString(output[..end]) : Encoding.UTF8.GetString(output[..length]) + "+";
    }

    /// <summary>A whole name is compared with its terminating zero, the beginning of names without.</summary>
    private static string? Name(ReadOnlySpan<byte> compare)
    {
        var value = FilterChainReader.Find(FilterChainReader.Find(compare, 3), 1);
        if (value.IsEmpty || value[0] == 0)
            return null;
        return value[^1] == 0 ? FilterChainReader.Text(value) : Encoding.UTF8.GetString(value) + "+";
    }
}
