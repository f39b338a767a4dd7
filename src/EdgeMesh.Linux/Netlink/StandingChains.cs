using System.Collections.Immutable;

namespace EdgeMesh.Linux.Netlink;

/// <summary>A chain of the packet filter.</summary>
/// <param name="Family">ip or ip6.</param>
/// <param name="IsLegacy">It is iptables-legacy's and not one of nf_tables.</param>
public readonly record struct StandingChain(string Family, string Table, string Name, bool IsLegacy)
{
    public override string ToString() => $"{(IsLegacy ? "iptables-legacy " : "")}{Family} {Table} {Name}";
}

/// <summary>Asks the kernel itself which chains stand: of nf_tables by netlink, of iptables-legacy from its tables. Needs no program.</summary>
public static class StandingChains
{
    private static readonly string[] IptablesTables = ["mangle", "nat", "filter"];

    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    /// <param name="wanted">By table and name.</param>
    /// <exception cref="NetlinkException">The kernel has a packet filter and does not show it.</exception>
    public static ImmutableArray<StandingChain> Find(Func<string, string, bool> wanted)
    {
        ArgumentNullException.ThrowIfNull(wanted);
        var found = ImmutableArray.CreateBuilder<StandingChain>();
        foreach (var ipv6 in (bool[])[false, true])
        {
            AddNftables(found, ipv6, wanted);
            foreach (var table in (string[])["nat", "filter"])
                AddLegacy(found, ipv6, table, wanted);
        }

        return found.ToImmutable();
    }

    /// <summary>Those of one family in the tables that iptables has.</summary>
    /// <exception cref="NetlinkException">The kernel has a packet filter and does not show it.</exception>
    public static ImmutableArray<StandingChain> Of(bool isLegacy, bool ipv6)
    {
        var found = ImmutableArray.CreateBuilder<StandingChain>();
        if (!isLegacy)
        {
            AddNftables(found, ipv6, (table, _) => IptablesTables.Contains(table));
        }
        else
        {
            foreach (var table in IptablesTables)
                AddLegacy(found, ipv6, table, (_, _) => true);
        }

        return found.ToImmutable();
    }

    private static void AddNftables(ImmutableArray<StandingChain>.Builder found, bool ipv6, Func<string, string, bool> wanted)
    {
        NetlinkSocket socket;
        try
        {
            socket = NetlinkSocket.Open(NetlinkSocket.ProtocolNetfilter, Deadline);
        }
        catch (NetlinkException fault) when (fault.Errno == NetlinkCalls.Eprotonosupport)
        {
            // A kernel without nfnetlink has no chains of it.
            return;
        }

        using (socket)
        {
            var errno = NftChains.List(socket, ipv6 ? NetlinkCalls.AfInet6 : NetlinkCalls.AfInet, (_, payload) =>
            {
                if (payload.Length < 4)
                    return;
                var (table, name) = ("", "");
                var attributes = new NetlinkAttributes(payload[4..]);
                while (attributes.MoveNext())
                {
                    if (attributes.Type == 1)
                        table = attributes.Text;
                    else if (attributes.Type == 3)
                        name = attributes.Text;
                }

                if (wanted(table, name))
                    found.Add(new StandingChain(ipv6 ? "ip6" : "ip", table, name, IsLegacy: false));
            });
            if (errno is not (0 or NetlinkCalls.Einval or NetlinkCalls.Eopnotsupp or NetlinkCalls.Eafnosupport))
                throw new NetlinkException("Listing the chains of the packet filter", errno);
        }
    }

    private static void AddLegacy(ImmutableArray<StandingChain>.Builder found, bool ipv6, string name, Func<string, string, bool> wanted)
    {
        foreach (var chain in LegacyFilter.MadeChains(ipv6, name))
        {
            if (wanted(name, chain))
                found.Add(new StandingChain(ipv6 ? "ip6" : "ip", name, chain, IsLegacy: true));
        }
    }
}
