using System.Collections.Immutable;
using EdgeMesh.Agent.Hosting;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Nftables;
using Xunit;

namespace EdgeMesh.Tests.Hosting;

public sealed class RuleChoiceTests
{
    private static readonly RuleChoice Waiting = new(BackendKind.None, "locked", null, null, [], [], FollowsKubeProxy: false, IsHeld: true);

    [Fact]
    public void WhoWaitsTakesWhateverThereIs()
    {
        Assert.True((Nft(IpFamily.IPv4) with { IsHeld = true }).Supersedes(Waiting));
        Assert.False(Waiting.Supersedes(Waiting));
    }

    [Fact]
    public void AFamilyThatComesBackIsTakenUpAndNoneIsGivenUp()
    {
        Assert.True(Nft(IpFamily.IPv4, IpFamily.IPv6).Supersedes(Nft(IpFamily.IPv4)));
        Assert.False(Nft(IpFamily.IPv4).Supersedes(Nft(IpFamily.IPv4, IpFamily.IPv6)));
        Assert.False(Nft(IpFamily.IPv4).Supersedes(Nft(IpFamily.IPv4)));
        Assert.False(Waiting.Supersedes(Nft(IpFamily.IPv4)));
    }

    private static RuleChoice Nft(params ImmutableArray<IpFamily> families) =>
        new(BackendKind.Nftables, "", null, null, families, [], FollowsKubeProxy: false, IsHeld: false);
}
