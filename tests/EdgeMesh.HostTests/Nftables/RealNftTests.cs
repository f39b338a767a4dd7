using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.Tests.Netfilter.Nftables;
using Xunit;

namespace EdgeMesh.HostTests.Nftables;

/// <summary>The cases over the real nft and kernel.</summary>
public sealed class RealNftTests : NftCases, IAsyncLifetime
{
    private PortalNode? node;
    private NftInside? nft;

    internal override INft Nft => nft!;

    public async ValueTask InitializeAsync()
    {
        node = await PortalNode.StartAsync(wired: false);
        nft = new NftInside(node.NodeSpace);
    }

    public ValueTask DisposeAsync() => node!.DisposeAsync();
}
