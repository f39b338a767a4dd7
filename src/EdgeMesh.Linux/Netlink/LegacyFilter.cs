using System.Collections.Immutable;
using System.Runtime.InteropServices;
using System.Text;
using EdgeMesh.Net;

namespace EdgeMesh.Linux.Netlink;

/// <summary>Policy and last word of INPUT and FORWARD in the filter table of iptables-legacy, and the chains that somebody made in
/// any table (linux/netfilter_ipv4/ip_tables.h, netfilter_ipv6/ip6_tables.h).</summary>
internal static class LegacyFilter
{
    // A larger table is one that kube-proxy fills; it is read all the same up to here, and beyond is taken for one that blocks nothing.
    private const uint MostBytes = 16 * 1024 * 1024;

    // Read once, by a command that ends.
    private const uint MostBytesOnce = 1024 * 1024 * 1024;

    // -(verdict) - 1, as the kernel keeps NF_DROP and NF_ACCEPT.
    private const int DropVerdict = -1, AcceptVerdict = -2;

    private const int GetEntries = 65;
    private const int EntriesHeader = 40;

    /// <summary>Nothing where there is no such table; looking makes none.</summary>
    public static ImmutableArray<FilterChain> Read(bool ipv6, ImmutableArray<InetAddress> addresses, ISet<ShutDevice> shut)
    {
        try
        {
            using var table = LegacyTable.Open(ipv6, "filter");
            // Where it changed between the two questions, the next look sees it.
            if (table.ReadLayout() is not { Info: { Bytes: > 0 and < MostBytes } info } layout || ReadEntries(table, ipv6, "filter", info.Bytes) is not { } read)
                return [];
            ReadOnlySpan<byte> entries = read.AsSpan(EntriesHeader);
            FindShut(entries, ipv6, shut);
            return
            [
                Opened(entries, ipv6, Chain(entries, ipv6, "INPUT", FilterHook.Input, info.Hooks.In, layout.InputPolicy), addresses),
                Chain(entries, ipv6, "FORWARD", FilterHook.Forward, info.Hooks.Forward, layout.ForwardPolicy),
            ];
        }
        catch (NetlinkException)
        {
            // No raw socket, or no legacy iptables at all: then it has no rules of ours either.
            return [];
        }
    }

    internal static void FindShut(ReadOnlySpan<byte> entries, bool ipv6, ISet<ShutDevice> shut)
    {
        var family = ipv6 ? "ip6" : "ip";
        for (var at = 0; at + EntryBytes(ipv6) <= entries.Length;)
        {
            var entry = entries[at..];
            var next = NextOffset(entry, ipv6);
            if (next < EntryBytes(ipv6) || next > entry.Length)
                return;
            entry = entry[..next];
            if (TargetOffset(entry, ipv6) == EntryBytes(ipv6) && Blocks(entry, ipv6) && ShutDeviceRule.Device(entry[..AddressBytes(ipv6)], ipv6) is { } device)
                shut.Add(new ShutDevice(family, $"iptables-legacy {family} filter", device));
            at += next;
        }
    }

    /// <summary>Names of the chains in a table that are not the kernel's own.</summary>
    /// <exception cref="NetlinkException">There is such a table, and it cannot be read.</exception>
    public static List<string> MadeChains(bool ipv6, string name)
    {
        using var table = LegacyTable.Open(ipv6, name);
        byte[]? read = null;
        for (var attempt = 0; read is null; attempt++)
        {
            if (table.Read() is not { Bytes: > 0 } info)
                return [];
            if (info.Bytes > MostBytesOnce || attempt == 10)
                throw new NetlinkException($"Reading the legacy {(ipv6 ? "ip6tables" : "iptables")} table {name}", NetlinkCalls.Eagain);
            read = ReadEntries(table, ipv6, name, info.Bytes);
        }

        var names = new List<string>();
        ReadOnlySpan<byte> entries = read.AsSpan(EntriesHeader);
        for (var at = 0; at + EntryBytes(ipv6) <= entries.Length;)
        {
            var entry = entries[at..];
            var next = NextOffset(entry, ipv6);
            if (next < EntryBytes(ipv6) || next > entry.Length)
                break;
            if (MadeChain(entry[..next], ipv6) is { IsEmpty: false } made)
                names.Add(Encoding.UTF8.GetString(made));
            at += next;
        }

        return names;
    }

    /// <returns>Null: the table is of another size by now.</returns>
    private static unsafe byte[]? ReadEntries(LegacyTable table, bool ipv6, string name, uint bytes)
    {
        var buffer = new byte[EntriesHeader + bytes];
        Encoding.ASCII.GetBytes(name, buffer);
        MemoryMarshal.Write(buffer.AsSpan(32), bytes);
        var length = (uint)buffer.Length;
        fixed (byte* data = buffer)
            return NetlinkCalls.GetOption(table.Socket, ipv6 ? 41 : 0, GetEntries, data, &length) == 0 ? buffer : null;
    }

    internal static FilterChain Chain(ReadOnlySpan<byte> entries, bool ipv6, string name, FilterHook hook, uint first, uint policy)
    {
        bool ends = false, translated = false;
        var at = first;
        while (at < policy && at + EntryBytes(ipv6) <= entries.Length)
        {
            var entry = entries[(int)at..];
            var next = NextOffset(entry, ipv6);
            if (next < EntryBytes(ipv6) || next > entry.Length)
                break;
            translated |= !ends && AcceptsTranslated(entry[..next], ipv6);
            ends |= IsUnconditional(entry, ipv6) && Blocks(entry[..next], ipv6);
            at += (uint)next;
        }

        var drops = policy + EntryBytes(ipv6) <= entries.Length && Blocks(entries[(int)policy..], ipv6);
        return new FilterChain(ipv6 ? "ip6" : "ip", "filter", name, hook, IsLegacy: true, drops, ends) { AcceptsTranslated = translated };
    }

    private static FilterChain Opened(ReadOnlySpan<byte> entries, bool ipv6, FilterChain chain, ImmutableArray<InetAddress> addresses)
    {
        if (!chain.Blocks || !AcceptsFor(entries, ipv6, addresses))
            return chain;
        return ipv6 ? chain with { OpenToIPv6 = true } : chain with { OpenToIPv4 = true };
    }

    /// <summary>Whether a rule outside of our chains names one of the addresses as its destination, and accepts.</summary>
    internal static bool AcceptsFor(ReadOnlySpan<byte> entries, bool ipv6, ImmutableArray<InetAddress> addresses)
    {
        var own = false;
        Span<byte> value = stackalloc byte[16];
        for (var at = 0; at + EntryBytes(ipv6) <= entries.Length;)
        {
            var entry = entries[at..];
            var next = NextOffset(entry, ipv6);
            if (next < EntryBytes(ipv6) || next > entry.Length)
                return false;
            entry = entry[..next];
            if (MadeChain(entry, ipv6) is { IsEmpty: false } made)
                own = made.StartsWith(FilterChainReader.OwnChains);
            var name = TargetName(entry, ipv6);
            foreach (var address in addresses)
            {
                if (own || address.IsIPv6 != ipv6 || name.IsEmpty || name[0] != 0 || Verdict(entry, ipv6) != AcceptVerdict)
                    continue;
                var length = address.WriteBytes(value);
                if (entry.Slice(length, length).SequenceEqual(value[..length]) && entry.Slice(length * 3, length).IndexOfAnyExcept((byte)255) < 0)
                    return true;
            }

            at += next;
        }

        return false;
    }

    // struct ipt_ip has 84 bytes and struct ip6t_ip6 136; then nfcache, target_offset, next_offset, comefrom and counters.
    private static int AddressBytes(bool ipv6) => ipv6 ? 136 : 84;

    private static int EntryBytes(bool ipv6) => ipv6 ? 168 : 112;

    private static int TargetOffset(ReadOnlySpan<byte> entry, bool ipv6) => MemoryMarshal.Read<ushort>(entry[(AddressBytes(ipv6) + 4)..]);

    private static int NextOffset(ReadOnlySpan<byte> entry, bool ipv6) => MemoryMarshal.Read<ushort>(entry[(AddressBytes(ipv6) + 6)..]);

    private static bool IsUnconditional(ReadOnlySpan<byte> entry, bool ipv6) =>
        TargetOffset(entry, ipv6) == EntryBytes(ipv6) && entry[..AddressBytes(ipv6)].IndexOfAnyExcept((byte)0) < 0;

    /// <summary>One match, of struct xt_entry_match (size, name[29], revision, data), and nothing asked of the addresses.</summary>
    private static bool AcceptsTranslated(ReadOnlySpan<byte> entry, bool ipv6)
    {
        var match = EntryBytes(ipv6);
        var target = TargetOffset(entry, ipv6);
        return target > match + 32 && target <= entry.Length
            && entry[..AddressBytes(ipv6)].IndexOfAnyExcept((byte)0) < 0
            && MemoryMarshal.Read<ushort>(entry[match..]) == target - match
            && entry[(match + 2)..].StartsWith("conntrack\0"u8)
            && TranslatedRule.MatchesTranslated(entry[(match + 32)..target])
            && TargetName(entry, ipv6) is { IsEmpty: false } name && name[0] == 0 && Verdict(entry, ipv6) == AcceptVerdict;
    }

    private static bool Blocks(ReadOnlySpan<byte> entry, bool ipv6) => TargetName(entry, ipv6) is { IsEmpty: false } name
        && (name[0] == 0 ? Verdict(entry, ipv6) == DropVerdict : name.StartsWith("REJECT\0"u8));

    /// <summary>Of struct xt_entry_target (size, name[29], revision, data): the standard target has an empty name and a verdict.</summary>
    /// <returns>Nothing where the entry is cut.</returns>
    private static ReadOnlySpan<byte> TargetName(ReadOnlySpan<byte> entry, bool ipv6)
    {
        var offset = TargetOffset(entry, ipv6);
        return offset < EntryBytes(ipv6) || offset + 36 > entry.Length ? default : entry.Slice(offset + 2, 29);
    }

    /// <summary>A chain that somebody made begins with an entry of the target ERROR, which holds its name.</summary>
    /// <returns>Nothing for other entries, and for the one that ends the table.</returns>
    private static ReadOnlySpan<byte> MadeChain(ReadOnlySpan<byte> entry, bool ipv6)
    {
        if (!TargetName(entry, ipv6).StartsWith("ERROR\0"u8))
            return default;
        var name = entry[(TargetOffset(entry, ipv6) + 32)..];
        name = name.IndexOf((byte)0) is >= 0 and var end ? name[..end] : name;
        return name.SequenceEqual("ERROR"u8) ? default : name;
    }

    private static int Verdict(ReadOnlySpan<byte> entry, bool ipv6) => MemoryMarshal.Read<int>(entry[(TargetOffset(entry, ipv6) + 32)..]);
}
