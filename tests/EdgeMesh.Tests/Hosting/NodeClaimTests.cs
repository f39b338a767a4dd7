using EdgeMesh.Agent.Hosting.Handover;
using EdgeMesh.Linux;
using Xunit;

namespace EdgeMesh.Tests.Hosting;

public sealed class NodeClaimTests
{
    private const string Header = "Num       RefCount Protocol Flags    Type St Inode Path";

    private static readonly string Name = NodeClaim.NewName();

    [Fact]
    public void AClaimIsReadAsItWasWrittenAndFitsIntoAnAlias()
    {
        var claim = new NodeClaim(Name, long.MaxValue, uint.MaxValue);

        Assert.Equal(claim, NodeClaim.Parse(claim.ToString()));
        Assert.True(claim.ToString().Length < 256);
        Assert.True(Name.Length is >= UnixListeners.ShortestName and < 107);
    }

    [Theory]
    [InlineData("")]
    [InlineData("uplink")]
    [InlineData(NodeClaim.Vacant)]
    [InlineData("edgemesh-agent short 1 2")]
    [InlineData("edgemesh-agent  1 2 3")]
    public void OtherTextIsNoClaim(string text) => Assert.Null(NodeClaim.Parse(text));

    [Fact]
    public void AClaimWithNumbersThatAreNoneIsNone() =>
        Assert.All((string[])[$"{Name} -1 2", $"{Name} 1 -2", $"{Name} 1", $"{Name} 1 2 3", $"{Name} 1 99999999999"], text => Assert.Null(NodeClaim.Parse(NodeClaim.Beginning + text)));

    [Fact]
    public void OnlyTheSocketThatListensCounts() =>
        Assert.Equal(77, UnixListeners.InodeOf(
            [
                Header,
                $"0000000000000000: 00000003 00000000 00000000 0001 03 75 @{Name}",
                $"0000000000000000: 00000002 00000000 00010000 0001 01 76 @{Name}0",
                $"0000000000000000: 00000002 00000000 00010000 0001 01 77 @{Name}",
            ],
            Name));

    /// <summary>The table prints a line break within a name as it is; a name has 107 bytes.</summary>
    [Fact]
    public void AForgedLineAboutTheNameDoesNotFitIntoAnotherName()
    {
        const int LongestName = 107;
        var shortest = $"\n0 0 0 10000 0 0 1 @{Name}";

        Assert.Equal(1, UnixListeners.InodeOf([shortest[1..]], Name));
        Assert.True(shortest.Length > LongestName);
    }

    [Theory]
    [InlineData("CapEff:\t0000000000001000", true)]
    [InlineData("CapEff:\t000001ffffffffff", true)]
    [InlineData("CapEff:\t000001ffffffefff", false)]
    [InlineData("CapPrm:\t000001ffffffffff", false)]
    [InlineData("CapEff:\tnonsense", false)]
    public void TheRightToAdministerTheNetworkIsReadFromTheEffectiveSet(string line, bool expected) =>
        Assert.Equal(expected, ProcessRights.HasNetAdmin(["Name:\tx", line]));
}
