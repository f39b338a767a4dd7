using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;

namespace EdgeMesh.Agent.Hosting;

/// <summary>What the kernel itself says of its tables, in the terms of the rule backends. A program that is asked instead takes
/// some milliseconds for a small table, and seconds for that of 10,000 services.</summary>
internal static class KernelTables
{
    /// <summary>Whether nf_tables has the table; a kernel that does not answer has none.</summary>
    public static bool Stands(IpFamily family, string table)
    {
        using var objects = NftObjects.Open();
        return objects?.HasTable(family == IpFamily.IPv6, table) == true;
    }

    /// <summary>As <see cref="ICommands.Chains"/>.</summary>
    public static IReadOnlyCollection<ChainName>? Chains(IptablesVariant variant, IpFamily family)
    {
        try
        {
            return [.. StandingChains.Of(variant == IptablesVariant.Legacy, family == IpFamily.IPv6).Select(chain => new ChainName(chain.Table, chain.Name))];
        }
        catch (NetlinkException)
        {
            // The programs may be allowed more, and say what is wrong where they are not.
            return null;
        }
    }
}
