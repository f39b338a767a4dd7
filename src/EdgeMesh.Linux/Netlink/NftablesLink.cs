using System.Runtime.InteropServices;

namespace EdgeMesh.Linux.Netlink;

/// <summary>Hands batches of nf_tables messages to the kernel of the network namespace in which it was opened.</summary>
public sealed class NftablesLink : IDisposable
{
    // The kernel works on one batch at a time; a large one of somebody else, such as a whole kube-proxy sync, comes first.
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    private readonly NetlinkSocket _socket = NetlinkSocket.Open(NetlinkSocket.ProtocolNetfilter, Deadline, bufferBytes: 16 * 1024);
    private readonly Lock _one = new();

    // The kernel takes no batch that is larger than this.
    private const int SendBuffer = 2 * 1024 * 1024;

    /// <exception cref="NetlinkException">The socket cannot be opened.</exception>
    public unsafe NftablesLink()
    {
        var address = default(NetlinkCalls.SockaddrNl);
        var length = (uint)sizeof(NetlinkCalls.SockaddrNl);
        if (NetlinkCalls.GetSocketName(_socket.Handle, &address, &length) != 0)
        {
            var errno = Marshal.GetLastPInvokeError();
            _socket.Dispose();
            throw new NetlinkException("Asking for the address of a netlink socket", errno);
        }

        Address = address.Port;
        _socket.SetSendBuffer(SendBuffer);
    }

    /// <summary>What events about its changes carry as their sender.</summary>
    public uint Address { get; }

    /// <param name="batch">Whole, with its begin and end; its last message but the end asks for an acknowledgement.</param>
    /// <param name="sequence">The number that its messages carry.</param>
    /// <returns>0, or the error number. EAGAIN: no answer in time, so it may yet come into force.</returns>
    public int Send(ReadOnlySpan<byte> batch, uint sequence)
    {
        lock (_one)
        {
            // An answer that came after an earlier deadline is not the answer to this batch.
            while (_socket.Receive(out _, wait: false) == 0)
            {
            }

            return _socket.Request(batch, sequence);
        }
    }

    public void Dispose() => _socket.Dispose();
}
