namespace EdgeMesh.Linux.Netlink;

/// <summary>Asks nf_tables for its chains (linux/netfilter/nf_tables.h).</summary>
internal static class NftChains
{
    internal const int Subsystem = 10;
    private const int GetChain = 4;

    /// <param name="family">AF_UNSPEC: of all.</param>
    /// <param name="found">Told each message, without its header.</param>
    /// <returns>0, or the error number; EINVAL is also that of nfnetlink without nf_tables.</returns>
    internal static int List(NetlinkSocket socket, int family, NetlinkSocket.OnMessage found)
    {
        Span<byte> buffer = stackalloc byte[64];
        var writer = new NetlinkWriter(buffer);
        var sequence = socket.NextSequence();
        writer.BeginMessage((Subsystem << 8) | GetChain, NetlinkSocket.FlagRequest | NetlinkSocket.FlagDump, sequence);
        writer.NetfilterHeader(family);
        writer.EndMessage();
        return socket.Query(writer.Written, sequence, dump: true, found, out _);
    }
}
