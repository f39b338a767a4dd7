using EdgeMesh.Linux.Netlink;
using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.HostTests.Netlink;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Tests.Netfilter.Nftables;
using Xunit;

namespace EdgeMesh.HostTests.Nftables;

/// <summary>The cases over the real nft and kernel, with every change that can go straight to the kernel going there.</summary>
[Trait(Ring.Name, Ring.Kernels)]
public sealed class DirectNftTests : NftCases, IAsyncLifetime
{
    private NamespaceLab? lab;
    private NftInside? nft;
    private NftablesLink? link;

    internal override INft Nft => nft!;

    internal override NftSend Send => link!.Send;

    public async ValueTask InitializeAsync()
    {
        lab = await ListenDeviceTests.BareLabAsync();
        nft = new NftInside(lab.Node);
        link = lab.Node.Run(() => new NftablesLink());
    }

    public ValueTask DisposeAsync()
    {
        link!.Dispose();
        return lab!.DisposeAsync();
    }
}
