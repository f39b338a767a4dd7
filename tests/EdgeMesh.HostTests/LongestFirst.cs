using Xunit.Sdk;
using Xunit.v3;

[assembly: Xunit.TestCollectionOrderer(typeof(EdgeMesh.HostTests.LongestFirst))]

namespace EdgeMesh.HostTests;

/// <summary>Classes that take longest begin first: one that begins last is the only one that runs, for as long as it takes.</summary>
internal sealed class LongestFirst : ITestCollectionOrderer
{
    private static readonly string[] _long =
    [
        nameof(Lifecycle.LifecycleTests), nameof(Netfilter.Iptables.RealIptablesNftTests), nameof(Netfilter.Iptables.RealIptablesLegacyTests), nameof(Hosts.HostMatrixTests),
        nameof(Coexistence.OrderTests), nameof(Coexistence.HijackTests), nameof(Forwarding.UdpTests), nameof(Forwarding.TcpTests), nameof(Coexistence.FilterTests),
        nameof(Lifecycle.FailOpenTests), nameof(Takeover.SquatterTests), nameof(Trouble.StartTests), nameof(Nftables.DirectNftTests), nameof(ApiSource.FaultTests),
        nameof(Nftables.RealNftTests), nameof(Takeover.FrozenSuccessorTests), nameof(ApiSource.OfflineTests), nameof(BadInput.ManifestTests), nameof(Nftables.DirectChangeTests),
        nameof(Takeover.HandoverTests), nameof(Trouble.CleanupTests), nameof(ApiSource.CloudReturnTests), nameof(ApiSource.AccessTests), nameof(ApiSource.ApiChurnTests),
        nameof(Lifecycle.ChurnTests), nameof(Lifecycle.LeaseTests),
    ];

    public IReadOnlyCollection<TTestCollection> OrderTestCollections<TTestCollection>(IReadOnlyCollection<TTestCollection> testCollections)
        where TTestCollection : ITestCollection =>
        [.. testCollections.OrderBy(Rank).ThenBy(collection => collection.TestCollectionDisplayName, StringComparer.Ordinal)];

    private static int Rank<TTestCollection>(TTestCollection collection)
        where TTestCollection : ITestCollection
    {
        var rank = Array.FindIndex(_long, name => collection.TestCollectionDisplayName.Contains("." + name + " ", StringComparison.Ordinal));
        return rank < 0 ? _long.Length : rank;
    }
}
