using Xunit.Sdk;
using Xunit.v3;

[assembly: Xunit.TestCollectionOrderer(typeof(EdgeMesh.HostTests.LongestFirst))]

namespace EdgeMesh.HostTests;

/// <summary>Classes that take longest begin first: one that begins last is the only one that runs, for as long as it takes.</summary>
internal sealed class LongestFirst : ITestCollectionOrderer
{
    private static readonly string[] _long =
    [
        nameof(Hosts.HostMatrixTests), nameof(Lifecycle.LifecycleTests), nameof(Lifecycle.ChurnTests), nameof(Coexistence.OrderTests), nameof(Coexistence.HijackTests),
        nameof(Lifecycle.FailOpenTests), nameof(ApiSource.ApiChurnTests), nameof(ApiSource.CloudReturnTests), nameof(Forwarding.TcpTests), nameof(ApiSource.FaultTests),
        nameof(Netfilter.Iptables.RealIptablesNftTests), nameof(Forwarding.UdpTests), nameof(ApiSource.OfflineTests), nameof(Lifecycle.LeaseTests),
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
