using EdgeMesh.Linux.Netlink;

namespace EdgeMesh.Agent.Hosting;

/// <summary>Cheap signs of where kube-proxy writes, read without starting a program: only when they change is it worth asking
/// the programs. nf_tables answers for single names; of iptables-legacy only the size of its tables can be had.</summary>
internal readonly record struct KubeProxyTraces(int Nft, LegacyTableInfo? Mangle, LegacyTableInfo? Mangle6, LegacyTableInfo? Nat, LegacyTableInfo? Nat6)
{
    /// <param name="natTells">Whether the nat table of iptables-legacy is looked at too.</param>
    public static KubeProxyTraces Read(bool natTells) => new(
        ReadNft(),
        ReadLegacy(ipv6: false, "mangle"),
        ReadLegacy(ipv6: true, "mangle"),
        natTells ? ReadLegacy(ipv6: false, "nat") : null,
        natTells ? ReadLegacy(ipv6: true, "nat") : null);

    private static int ReadNft()
    {
        using var objects = NftObjects.Open();
        if (objects is null)
            return 0;
        var bits = 0;
        foreach (var ipv6 in (bool[])[false, true])
        {
            bits = (bits << 1) | (objects.HasTable(ipv6, "kube-proxy") ? 1 : 0);
            bits = (bits << 1) | (objects.HasChain(ipv6, "mangle", "KUBE-PROXY-CANARY") ? 1 : 0);
            bits = (bits << 1) | (objects.HasChain(ipv6, "nat", "KUBE-SERVICES") ? 1 : 0);
        }

        return bits;
    }

    private static LegacyTableInfo? ReadLegacy(bool ipv6, string name)
    {
        try
        {
            using var table = LegacyTable.Open(ipv6, name);
            return table.Read();
        }
        catch (NetlinkException)
        {
            return null;
        }
    }
}
