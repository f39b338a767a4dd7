using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.Testing.Lab;

namespace EdgeMesh.HostTests.Nftables;

/// <summary>The real nft, started by the thread that lives in a namespace: a program belongs to the namespace of the thread that starts it,
/// and it is started before anything is awaited.</summary>
internal sealed class NftInside(NetworkNamespace space) : INft
{
    private readonly NftProcess _nft = new(["nft"], TimeSpan.FromSeconds(30));

    public Task<NftAnswer> RunAsync(NftTransaction transaction, bool checkOnly, NftTransaction.Step from, NftTransaction.Step to, CancellationToken cancellationToken) =>
        space.Run(() => _nft.RunAsync(transaction, checkOnly, from, to, cancellationToken));

    public Task<NftAnswer> ListAsync(string what, CancellationToken cancellationToken) => space.Run(() => _nft.ListAsync(what, cancellationToken));
}
