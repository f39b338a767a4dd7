using BenchmarkDotNet.Attributes;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Iptables;
using EdgeMesh.Netfilter.Nftables;

namespace EdgeMesh.Bench;

/// <summary>From a plan to the text that nft or iptables-restore reads, without running either.</summary>
public class RuleTextBenchmarks
{
    private readonly ChainNames _names = new(ChainPrefix.EdgeMesh);
    private FamilyPortals _one = null!;
    private FamilyPortals _other = null!;
    private Netfilter.Nftables.PortalTable _nftables = null!;
    private Netfilter.Iptables.PortalTable _iptables = null!;

    [GlobalSetup]
    public void Build()
    {
        (_one, _other) = LargeCluster.Portals();
        _nftables = new Netfilter.Nftables.PortalTable(_one);
        using var transaction = new NftTransaction();
        _nftables.Write(transaction, _one.Rules);
        _iptables = Netfilter.Iptables.PortalTable.Build(_one, _names, IptablesCapabilities.Everything, previous: null);
    }

    [Benchmark]
    public long NftablesTenThousandServices()
    {
        using var transaction = new NftTransaction();
        var table = new Netfilter.Nftables.PortalTable(_one);
        table.WriteReplace(transaction);
        table.Write(transaction, _one.Rules);
        return transaction.Length;
    }

    [Benchmark]
    public long NftablesOneChangedAmongTenThousand()
    {
        (_one, _other) = (_other, _one);
        using var transaction = new NftTransaction();
        _nftables.Write(transaction, _one.Rules);
        return transaction.Length;
    }

    [Benchmark]
    public string IptablesTenThousandServices()
    {
        var nothing = Netfilter.Iptables.PortalTable.Build(_one with { Rules = [] }, _names, IptablesCapabilities.Everything, previous: null);
        var table = Netfilter.Iptables.PortalTable.Build(_one, _names, IptablesCapabilities.Everything, previous: null);
        return Reconciliation.FromApplied(nothing, table, _names).ToString();
    }

    [Benchmark]
    public string IptablesOneChangedAmongTenThousand()
    {
        (_one, _other) = (_other, _one);
        var applied = _iptables;
        _iptables = Netfilter.Iptables.PortalTable.Build(_one, _names, IptablesCapabilities.Everything, applied);
        return Reconciliation.FromApplied(applied, _iptables, _names).ToString();
    }
}
