using System.Runtime.InteropServices;
using System.Text;

namespace EdgeMesh.Linux.Netlink;

/// <summary>What the kernel tells of one iptables-legacy table without sending its rules: a cheap sign of change.</summary>
/// <param name="Entries">Rules, chain heads and policies together.</param>
/// <param name="Bytes">Size of the table's blob.</param>
/// <param name="Hooks">Offsets of the built-in chains in the blob; they move when a rule in front of them comes or goes.</param>
public readonly record struct LegacyTableInfo(uint Entries, uint Bytes, (uint Pre, uint In, uint Forward, uint Out, uint Post) Hooks);

/// <summary>iptables-legacy sends no events, so its changes are polled. One system call per question.</summary>
public sealed class LegacyTable : IDisposable
{
    private const int GetInfo = 64;
    private const int InfoBytes = 84;

    private readonly NetlinkHandle _socket;
    private readonly bool _ipv6;
    private readonly byte[] _table;

    private LegacyTable(NetlinkHandle socket, bool ipv6, string table)
    {
        _socket = socket;
        _ipv6 = ipv6;
        _table = Encoding.ASCII.GetBytes(table);
    }

    /// <param name="ipv6">ip6tables instead of iptables.</param>
    /// <exception cref="NetlinkException">No raw socket: CAP_NET_RAW is missing, or the family is.</exception>
    public static LegacyTable Open(bool ipv6, string table = "nat")
    {
        var socket = NetlinkCalls.Socket(
            ipv6 ? NetlinkCalls.AfInet6 : NetlinkCalls.AfInet,
            NetlinkCalls.SockRaw | NetlinkCalls.SockCloexec,
            NetlinkCalls.IpProtoRaw);
        if (!socket.IsInvalid)
            return new LegacyTable(socket, ipv6, table);
        var errno = Marshal.GetLastPInvokeError();
        socket.Dispose();
        throw new NetlinkException($"Opening a raw {(ipv6 ? "IPv6" : "IPv4")} socket to watch iptables-legacy (needs CAP_NET_RAW)", errno);
    }

    /// <summary>Null: this network namespace has no such legacy table.</summary>
    /// <exception cref="NetlinkException">The kernel refused; CAP_NET_ADMIN is missing.</exception>
    public LegacyTableInfo? Read() => ReadLayout()?.Info;

    internal NetlinkHandle Socket => _socket;

    /// <summary>With the places of the policies of INPUT and FORWARD.</summary>
    internal unsafe (LegacyTableInfo Info, uint InputPolicy, uint ForwardPolicy)? ReadLayout()
    {
        // Asking for a table makes the kernel create it, hooks included, in a namespace that never used legacy iptables.
        if (!Exists())
            return null;
        var info = stackalloc byte[InfoBytes];
        new Span<byte>(info, InfoBytes).Clear();
        _table.CopyTo(new Span<byte>(info, 31));
        uint length = InfoBytes;
        // SOL_IP is 0, SOL_IPV6 is 41.
        if (NetlinkCalls.GetOption(_socket, _ipv6 ? 41 : 0, GetInfo, info, &length) != 0)
        {
            var errno = Marshal.GetLastPInvokeError();
            if (errno == NetlinkCalls.Enoent)
                return null;
            throw new NetlinkException($"Reading the legacy {(_ipv6 ? "ip6tables" : "iptables")} table {Encoding.ASCII.GetString(_table)}", errno);
        }

        // struct ipt_getinfo: name[32], valid_hooks, hook_entry[5], underflow[5], num_entries, size.
        var words = new ReadOnlySpan<uint>(info + 32, 13);
        return (new LegacyTableInfo(words[11], words[12], (words[1], words[2], words[3], words[4], words[5])), words[7], words[8]);
    }

    public void Dispose() => _socket.Dispose();

    private bool Exists()
    {
        try
        {
            Span<byte> names = stackalloc byte[256];
            using var file = File.OpenHandle($"/proc/thread-self/net/{(_ipv6 ? "ip6_tables_names" : "ip_tables_names")}");
            var length = RandomAccess.Read(file, names, 0);
            foreach (var line in names[..length].Split((byte)'\n'))
            {
                if (names[line].SequenceEqual(_table))
                    return true;
            }

            return false;
        }
        catch (IOException)
        {
            // The kernel has no legacy iptables at all.
            return false;
        }
    }
}
