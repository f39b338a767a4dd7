using EdgeMesh.Netfilter.Nftables;

namespace EdgeMesh.Tests.Netfilter.Nftables;

/// <summary>The cases over the fake.</summary>
public sealed class FakeNftTests : NftCases
{
    internal override INft Nft { get; } = new FakeNft();
}
