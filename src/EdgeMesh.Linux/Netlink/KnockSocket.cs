using System.Runtime.InteropServices;
using System.Text;

namespace EdgeMesh.Linux.Netlink;

/// <summary>Takes short words from processes that have CAP_NET_ADMIN over this network namespace, and from nobody else: the
/// kernel lets no other process send to a NETLINK_ROUTE socket of a process (netlink(7), netlink_sendmsg in
/// net/netlink/af_netlink.c). A word that arrives is proof of exactly this right, in exactly this namespace, whatever user,
/// process or mount namespaces the two live in.</summary>
public sealed unsafe partial class KnockSocket : IDisposable
{
    private readonly NetlinkSocket _socket;

    private KnockSocket(NetlinkSocket socket, uint port)
    {
        _socket = socket;
        Port = port;
    }

    /// <summary>The kernel's number for this socket; it may be known to all.</summary>
    public uint Port { get; }

    /// <exception cref="NetlinkException">No socket can be opened.</exception>
    public static KnockSocket Open()
    {
        var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolRoute, TimeSpan.FromSeconds(1), bufferBytes: 1024);
        var address = default(NetlinkCalls.SockaddrNl);
        var length = (uint)sizeof(NetlinkCalls.SockaddrNl);
        if (NetlinkCalls.GetSocketName(socket.Handle, &address, &length) == 0)
            return new KnockSocket(socket, address.Port);
        var errno = Marshal.GetLastPInvokeError();
        socket.Dispose();
        throw new NetlinkException("Asking for the address of a netlink socket", errno);
    }

    /// <returns>The oldest word that waits; null when none does.</returns>
    public string? TryTake() =>
        _socket.Receive(out var word, wait: false) == 0 ? Encoding.ASCII.GetString(word) : null;

    /// <returns>False where nobody has this port, or this process may not send to it.</returns>
    public static bool TryKnock(uint port, string word)
    {
        using var socket = NetlinkSocket.Open(NetlinkSocket.ProtocolRoute, TimeSpan.FromSeconds(1), bufferBytes: 1024);
        var address = new NetlinkCalls.SockaddrNl { Family = NetlinkCalls.AfNetlink, Port = port };
        return port != 0
            && Connect(socket.Handle, &address, (uint)sizeof(NetlinkCalls.SockaddrNl)) == 0
            && socket.Send(Encoding.ASCII.GetBytes(word)) == 0;
    }

    public void Dispose() => _socket.Dispose();

    [LibraryImport("libc", EntryPoint = "connect", SetLastError = true)]
    private static partial int Connect(NetlinkHandle socket, NetlinkCalls.SockaddrNl* address, uint length);
}
