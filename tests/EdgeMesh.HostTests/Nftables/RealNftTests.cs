using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.Tests.Netfilter.Nftables;
using Xunit;

namespace EdgeMesh.HostTests.Nftables;

/// <summary>The cases over the real nft and kernel.</summary>
public sealed class RealNftTests : NftCases, IAsyncLifetime
{
    private PortalNode? node;
    private NftProcess? nft;

    internal override INft Nft => nft!;

    public async ValueTask InitializeAsync()
    {
        node = await PortalNode.StartAsync(wired: false);
        nft = new NftProcess(["ip", "netns", "exec", node.Node, "nft"], TimeSpan.FromSeconds(30));
    }

    public ValueTask DisposeAsync() => node!.DisposeAsync();
}
