using EdgeMesh.Linux.Netlink;
using Xunit;

namespace EdgeMesh.Tests.Linux.Netlink;

public sealed class RuleChangeParserTests
{
    private const int NewTable = 0x0A00, DeleteTable = 0x0A02, NewChain = 0x0A03, NewRule = 0x0A06, DeleteRule = 0x0A08, NewElement = 0x0A0C;

    private readonly RuleChangeParser _parser = new(new RuleWatch { ChainPrefixes = ["EDGEMESH-"], Tables = ["edgemesh"] });

    [Theory]
    [InlineData(NewRule, 2, "nat", "PREROUTING", RuleChanges.HookChain)]
    [InlineData(DeleteRule, 10, "nat", "OUTPUT", RuleChanges.HookChain)]
    [InlineData(NewRule, 2, "nat", "POSTROUTING", RuleChanges.HookChain)]
    [InlineData(DeleteRule, 2, "nat", "EDGEMESH-PORTALS-HOST", RuleChanges.WatchedChain)]
    [InlineData(NewRule, 2, "nat", "KUBE-SVC-ABC", RuleChanges.None)]
    [InlineData(NewRule, 2, "filter", "OUTPUT", RuleChanges.None)]
    [InlineData(DeleteRule, 2, "filter", "FORWARD", RuleChanges.HookChain)]
    [InlineData(NewRule, 10, "filter", "INPUT", RuleChanges.HookChain)]
    [InlineData(DeleteRule, 2, "filter", "EDGEMESH-FORWARD", RuleChanges.WatchedChain)]
    [InlineData(NewRule, 2, "filter", "PREROUTING", RuleChanges.None)]
    [InlineData(NewRule, 2, "filter", "DOCKER-USER", RuleChanges.None)]
    [InlineData(NewRule, 2, "nat", "PREROUTING2", RuleChanges.None)]
    [InlineData(NewRule, 7, "nat", "PREROUTING", RuleChanges.None)]
    [InlineData(NewRule, 2, "edgemesh", "anything", RuleChanges.WatchedTable)]
    [InlineData(NewRule, 2, "kube-proxy", "services", RuleChanges.None)]
    public void OnlyWatchedRulesCount(int type, int family, string table, string chain, RuleChanges expected)
    {
        Assert.Equal(expected, _parser.Parse(type, Payload(family, table, 2, chain)));
    }

    [Theory]
    [InlineData(NewChain, "nat", "EDGEMESH-NEW", RuleChanges.WatchedChain)]
    [InlineData(NewChain, "nat", "PREROUTING", RuleChanges.HookChain)]
    [InlineData(NewChain, "nat", "KUBE-SEP-1", RuleChanges.None)]
    [InlineData(NewTable, "nat", null, RuleChanges.HookTable)]
    [InlineData(DeleteTable, "edgemesh", null, RuleChanges.WatchedTable)]
    [InlineData(DeleteTable, "kube-proxy", null, RuleChanges.None)]
    [InlineData(NewElement, "edgemesh", null, RuleChanges.None)]
    [InlineData(0x0106, "nat", "PREROUTING", RuleChanges.None)]
    public void ChainsAndTablesCountAndSetElementsDoNot(int type, string table, string? chain, RuleChanges expected)
    {
        Assert.Equal(expected, _parser.Parse(type, Payload(2, table, 3, chain)));
    }

    private static byte[] Payload(int family, string table, int chainAttribute, string? chain)
    {
        var writer = new NetlinkWriter(new byte[256]);
        writer.NetfilterHeader(family);
        writer.AttributeText(1, table);
        if (chain is not null)
            writer.AttributeText(chainAttribute, chain);
        return writer.Written.ToArray();
    }
}
