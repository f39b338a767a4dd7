namespace EdgeMesh.Linux.Netlink;

/// <summary>Asks nf_tables whether one table or chain stands (linux/netfilter/nf_tables.h); costs the same however many there are.</summary>
public sealed class NftObjects : IDisposable
{
    private const int Subsystem = 10, GetTable = 1, GetChain = 4;
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(5);

    private readonly NetlinkSocket _socket;

    private NftObjects(NetlinkSocket socket) => _socket = socket;

    /// <returns>Null: this kernel has no netfilter to ask by netlink.</returns>
    public static NftObjects? Open()
    {
        try
        {
            return new NftObjects(NetlinkSocket.Open(NetlinkSocket.ProtocolNetfilter, Deadline, bufferBytes: 4096));
        }
        catch (NetlinkException)
        {
            return null;
        }
    }

    public bool HasTable(bool ipv6, string table) => Has(ipv6, GetTable, table, chain: null);

    public bool HasChain(bool ipv6, string table, string chain) => Has(ipv6, GetChain, table, chain);

    public void Dispose() => _socket.Dispose();

    private bool Has(bool ipv6, int message, string table, string? chain)
    {
        Span<byte> buffer = stackalloc byte[256];
        var writer = new NetlinkWriter(buffer);
        var sequence = _socket.NextSequence();
        writer.BeginMessage((Subsystem << 8) | message, NetlinkSocket.FlagRequest, sequence);
        writer.NetfilterHeader(ipv6 ? NetlinkCalls.AfInet6 : NetlinkCalls.AfInet);
        writer.AttributeText(1, table);
        if (chain is not null)
            writer.AttributeText(3, chain);
        writer.EndMessage();
        // Whatever refuses to answer, has none: a kernel without nf_tables, say.
        return _socket.Query(writer.Written, sequence, dump: false, (_, _) => { }, out _) == 0;
    }
}
