using System.Collections.Immutable;
using System.Diagnostics;
using System.Net;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.Tests.Netfilter.Nftables;
using Xunit;

namespace EdgeMesh.HostTests.Nftables;

/// <summary>10,000 services with 10 endpoints each, 4,000 in the short form.</summary>
[Collection(Alone.Name)]
public sealed class ScaleTests(ITestOutputHelper output)
{
    private static int Services => LongForm.IsAsked ? 10_000 : 4_000;

    [Fact]
    public async Task ManyServicesStandInTime()
    {
        await using var node = await PortalNode.StartAsync(wired: false);
        var cancel = TestContext.Current.CancellationToken;
        var backend = new NftablesBackend(new NftInside(node.NodeSpace), [IpFamily.IPv4], TimeProvider.System);
        var rules = Enumerable.Range(0, Services).Select(service => Rule(service, generation: 0)).ToImmutableArray();
        var first = Stopwatch.StartNew();
        await backend.SyncAsync([NftCases.V4([.. rules])], cancel);
        first.Stop();

        var desired = NftCases.V4([.. rules]);
        var took = new List<double>();
        for (var change = 1; change <= 100; change++)
        {
            var service = change * 97 % Services;
            desired = desired with { Rules = desired.Rules.SetItem(service, Rule(service, change)) };
            var one = Stopwatch.StartNew();
            await backend.SyncAsync([desired], cancel);
            took.Add(one.Elapsed.TotalMilliseconds);
        }

        took.Sort();
        var idle = Stopwatch.StartNew();
        Assert.False((await backend.SyncAsync([desired], cancel)).Changed);
        idle.Stop();
        var listing = Stopwatch.StartNew();
        Assert.Empty((await backend.RepairAsync(cancel)).Repairs);
        listing.Stop();
        var presence = Stopwatch.StartNew();
        Assert.Empty((await backend.RepairAsync(cancel)).Repairs);
        presence.Stop();
        output.WriteLine(
            $"nftables, {Services} services x 10 endpoints: first apply {first.Elapsed.TotalSeconds:0.00} s; one change p50 {took[50]:0.0} ms, "
            + $"p99 {took[98]:0.0} ms, max {took[99]:0.0} ms; nothing changed {idle.Elapsed.TotalMilliseconds:0.00} ms; "
            + $"whole comparison {listing.Elapsed.TotalSeconds:0.00} s; presence check {presence.Elapsed.TotalMilliseconds:0} ms");
        // The goals are 4 s and 50 ms; what is asserted leaves room for a machine that does other things meanwhile.
        Assert.InRange(first.Elapsed.TotalSeconds, 0, 12);
        Assert.InRange(took[50], 0, 150);
    }

    /// <summary>The number of endpoints changes too, so that chains are written and not only elements.</summary>
    private static PortalRule Rule(int service, int generation) => new()
    {
        Key = new TransportAddress(InetAddress.FromBytes([10, 200, (byte)(service >> 8), (byte)service]), 80, TransportProtocol.Tcp),
        Comment = $"demo/web{service}:http",
        Target = new PortalTarget.Backends
        {
            Choice = BackendChoice.RoundRobin,
            Endpoints = [.. Enumerable.Range(0, 10 + (generation % 3)).Select(i => Endpoint((service * 10) + i + (generation * 7)))],
        },
    };

    private static InetEndpoint Endpoint(int number) =>
        new(InetAddress.FromBytes([10, (byte)(1 + (number >> 16)), (byte)(number >> 8), (byte)number]), 8080);
}
