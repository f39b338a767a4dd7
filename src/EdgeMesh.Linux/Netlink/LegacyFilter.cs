using System.Collections.Immutable;
using System.Runtime.InteropServices;
using System.Text;

namespace EdgeMesh.Linux.Netlink;

/// <summary>Policy and last word of INPUT and FORWARD in the filter table of iptables-legacy
/// (linux/netfilter_ipv4/ip_tables.h, netfilter_ipv6/ip6_tables.h).</summary>
internal static class LegacyFilter
{
    // A larger table is one that kube-proxy fills; it is read all the same up to here, and beyond is taken for one that blocks nothing.
    private const uint MostBytes = 16 * 1024 * 1024;

    private const int GetEntries = 65;
    private const int EntriesHeader = 40;

    /// <summary>Nothing where there is no such table; looking makes none.</summary>
    public static unsafe ImmutableArray<FilterChain> Read(bool ipv6)
    {
        try
        {
            using var table = LegacyTable.Open(ipv6, "filter");
            if (table.ReadLayout() is not { Info: { Bytes: > 0 and < MostBytes } info } layout)
                return [];
            var buffer = new byte[EntriesHeader + info.Bytes];
            Encoding.ASCII.GetBytes("filter", buffer);
            MemoryMarshal.Write(buffer.AsSpan(32), info.Bytes);
            var length = (uint)buffer.Length;
            fixed (byte* data = buffer)
            {
                // EAGAIN: it changed between the two questions; the next look sees it.
                if (NetlinkCalls.GetOption(table.Socket, ipv6 ? 41 : 0, GetEntries, data, &length) != 0)
                    return [];
            }

            ReadOnlySpan<byte> entries = buffer.AsSpan(EntriesHeader);
            return
            [
                Chain(entries, ipv6, "INPUT", FilterHook.Input, info.Hooks.In, layout.InputPolicy),
                Chain(entries, ipv6, "FORWARD", FilterHook.Forward, info.Hooks.Forward, layout.ForwardPolicy),
            ];
        }
        catch (NetlinkException)
        {
            // No raw socket, or no legacy iptables at all: then it has no rules of ours either.
            return [];
        }
    }

    internal static FilterChain Chain(ReadOnlySpan<byte> entries, bool ipv6, string name, FilterHook hook, uint first, uint policy)
    {
        var ends = false;
        var at = first;
        while (at < policy && at + EntryBytes(ipv6) <= entries.Length)
        {
            var entry = entries[(int)at..];
            var next = NextOffset(entry, ipv6);
            if (next < EntryBytes(ipv6) || next > entry.Length)
                break;
            ends |= IsUnconditional(entry, ipv6) && Blocks(entry[..next], ipv6);
            at += (uint)next;
        }

        var drops = policy + EntryBytes(ipv6) <= entries.Length && Blocks(entries[(int)policy..], ipv6);
        return new FilterChain(ipv6 ? "ip6" : "ip", "filter", name, hook, IsLegacy: true, drops, ends);
    }

    // struct ipt_ip has 84 bytes and struct ip6t_ip6 136; then nfcache, target_offset, next_offset, comefrom and counters.
    private static int AddressBytes(bool ipv6) => ipv6 ? 136 : 84;

    private static int EntryBytes(bool ipv6) => ipv6 ? 168 : 112;

    private static int TargetOffset(ReadOnlySpan<byte> entry, bool ipv6) => MemoryMarshal.Read<ushort>(entry[(AddressBytes(ipv6) + 4)..]);

    private static int NextOffset(ReadOnlySpan<byte> entry, bool ipv6) => MemoryMarshal.Read<ushort>(entry[(AddressBytes(ipv6) + 6)..]);

    private static bool IsUnconditional(ReadOnlySpan<byte> entry, bool ipv6) =>
        TargetOffset(entry, ipv6) == EntryBytes(ipv6) && entry[..AddressBytes(ipv6)].IndexOfAnyExcept((byte)0) < 0;

    private static bool Blocks(ReadOnlySpan<byte> entry, bool ipv6)
    {
        var offset = TargetOffset(entry, ipv6);
        // struct xt_entry_target: size, name[29], revision, data. The standard target has an empty name and a verdict.
        if (offset < EntryBytes(ipv6) || offset + 36 > entry.Length)
            return false;
        var target = entry[offset..];
        var name = target[2..31];
        return name[0] == 0
            ? MemoryMarshal.Read<int>(target[32..]) == -1
            : name.StartsWith("REJECT\0"u8);
    }
}
