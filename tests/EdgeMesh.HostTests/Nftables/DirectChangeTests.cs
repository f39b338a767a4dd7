using System.Text.Json.Nodes;
using EdgeMesh.HostTests.Netlink;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Netfilter;
using EdgeMesh.Netfilter.Nftables;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Tests.Netfilter.Nftables;
using Xunit;

namespace EdgeMesh.HostTests.Nftables;

/// <summary>Messages to the kernel must mean what the text for nft means: the same changes in two network namespaces, by text
/// in one and by messages in the other, must end in the same rules.</summary>
[Trait(Ring.Name, Ring.Kernels)]
public sealed class DirectChangeTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task MessagesAndTextLeaveTheSameRules()
    {
        await using var byText = await Place.CreateAsync(direct: false);
        await using var byMessages = await Place.CreateAsync(direct: true);
        var random = new Random(1);
        for (var step = 0; step < 24; step++)
        {
            // Several at once: some come, some go, some change their number of endpoints or only one of them.
            var v4 = Enumerable.Range(0, 9).Where(_ => random.Next(5) > 0).Select(i => NftCases.RandomRule(random, i)).ToArray();
            var v6 = Enumerable.Range(0, 5).Where(_ => random.Next(5) > 0).Select(i => RandomV6(random, i)).ToArray();
            // Choices that need sets or hashes go through nft; so they are absent most of the time.
            if (step % 4 != 0)
                (v4, v6) = ([.. v4.Where(Expressible)], [.. v6.Where(Expressible)]);
            foreach (var place in (Place[])[byText, byMessages])
                await place.Backend.SyncAsync([NftCases.V4(v4), NftCases.V6(v6)], Cancel);
            Assert.Equal(await byText.RulesAsync(), await byMessages.RulesAsync());
        }

        Assert.InRange(byMessages.Sent, 5, int.MaxValue);
        Assert.Equal(0, byMessages.Refused);
    }

    [Fact]
    public async Task OddSizesLeaveTheSameRules()
    {
        await using var byText = await Place.CreateAsync(direct: false);
        await using var byMessages = await Place.CreateAsync(direct: true);
        PortalRule[] before = [.. Enumerable.Range(0, 300).Select(i => Service(i, "demo/s:http", 2))];
        PortalRule[][] steps =
        [
            // Nothing, one of everything at its edge, more than fits into a message, into a batch, and nothing again.
            [],
            [Service(65_535, new string('x', 300), 1), Service(1, "", 63), Service(2, "demo/æ\"\\\n:http", 64)],
            before,
            [.. before.Take(20).Select((rule, i) => Service(i, rule.Comment, 5)), .. before.Skip(20)],
            [.. before.Take(290)],
            [.. before.Select((rule, i) => Service(i, rule.Comment, 1 + (i % 7)))],
            [Service(0, "demo/s:http", 700)],
            [],
        ];
        foreach (var step in steps)
        {
            foreach (var place in (Place[])[byText, byMessages])
                await place.Backend.SyncAsync([NftCases.V4(step)], Cancel);
            Assert.Equal(await byText.RulesAsync(), await byMessages.RulesAsync());
        }

        Assert.InRange(byMessages.Sent, 2, int.MaxValue);
        Assert.Equal(0, byMessages.Refused);
    }

    [Fact]
    public async Task AWholeTableBuiltInPartsIsTheOneThatTextMakes()
    {
        await using var byText = await Place.CreateAsync(direct: false);
        await using var byMessages = await Place.CreateAsync(direct: true);
        var random = new Random(2);
        PortalRule[] v4 = [.. NftCases.Everything, .. Enumerable.Range(0, 400).Select(i => Service(i, $"demo/s{i}:http", 1 + random.Next(20)))];
        PortalRule[] v6 = [.. Enumerable.Range(0, 250).Select(i => RandomV6(random, i))];
        foreach (var place in (Place[])[byText, byMessages])
            await place.Backend.SyncAsync([NftCases.V4(v4), NftCases.V6(v6)], Cancel);

        Assert.Equal(await byText.RulesAsync(), await byMessages.RulesAsync());
        Assert.InRange(byMessages.Sent, 4, int.MaxValue);
        Assert.Equal(0, byMessages.Refused);
        Assert.Empty(await byMessages.Backend.CompareAsync(IpFamily.IPv4, Cancel));
        Assert.Empty(await byMessages.Backend.CompareAsync(IpFamily.IPv6, Cancel));

        // And goes on from there as if it had been.
        foreach (var place in (Place[])[byText, byMessages])
            await place.Backend.SyncAsync([NftCases.V4(v4[3..]), NftCases.V6(v6[..^5])], Cancel);
        Assert.Equal(await byText.RulesAsync(), await byMessages.RulesAsync());
    }

    [Fact]
    public async Task WhatTheKernelRefusesFailsWithNftsWordsAndTheNextSyncHeals()
    {
        await using var place = await Place.CreateAsync(direct: true);
        await place.Backend.SyncAsync([NftCases.V4(Service(1, "demo/s:http", 2))], Cancel);
        (await place.Lab.RunAsync("node", "nft", "delete", "table", "ip", "edgemesh")).Succeeded();

        var fault = await Assert.ThrowsAsync<NetfilterException>(() => place.Backend.SyncAsync([NftCases.V4(Service(1, "demo/s:http", 3))], Cancel));
        Assert.Contains("No such file or directory", fault.Message, StringComparison.Ordinal);
        Assert.Equal(1, place.Refused);

        await place.Backend.SyncAsync([NftCases.V4(Service(1, "demo/s:http", 3))], Cancel);
        Assert.Contains(await place.RulesAsync(), line => line.Contains("\"mod\":3", StringComparison.Ordinal));
    }

    [Fact]
    public async Task ABatchThatIsTooLargeOrNoBatchAtAllIsRefusedAndTheLinkGoesOn()
    {
        await using var place = await Place.CreateAsync(direct: true);
        await place.Backend.SyncAsync([NftCases.V4(Service(1, "demo/s:http", 2))], Cancel);

        var large = new byte[64 << 20];
        Assert.NotEqual(0, place.Link.Send(large, 1));
        // An unknown message that asks for an answer.
        Assert.NotEqual(0, place.Link.Send([20, 0, 0, 0, 0x7F, 10, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0], 7));

        await place.Backend.SyncAsync([NftCases.V4(Service(1, "demo/s:http", 3))], Cancel);
        Assert.Equal((1, 0), (place.Sent, place.Refused));
    }

    private static bool Expressible(PortalRule rule) =>
        rule.Target is not PortalTarget.Backends { Choice: BackendChoice.ClientAffinity or BackendChoice.SourceHash };

    private static PortalRule RandomV6(Random random, int index) => NftCases.Rule(
        $"[fd00:10::{index + 1}]:53",
        $"demo/six{index}",
        NftCases.To((BackendChoice)random.Next(4), [.. Enumerable.Range(1, 9).Where(_ => random.Next(2) == 0).Select(i => $"[fd00:1::{i}]:65535")]),
        Enum.GetValues<TransportProtocol>()[random.Next(3)]);

    private static PortalRule Service(int number, string comment, int endpoints) => NftCases.Rule(
        $"10.97.{number >> 8}.{number & 255}:{1 + (number % 65_535)}",
        comment,
        NftCases.To(BackendChoice.RoundRobin, [.. Enumerable.Range(0, endpoints).Select(i => $"10.{number % 200}.{i >> 8}.{i & 255}:8080")]));

    /// <summary>A network namespace with a backend of its own.</summary>
    private sealed class Place : IAsyncDisposable
    {
        private Place(NamespaceLab lab, bool direct)
        {
            Lab = lab;
            Link = lab.Node.Run(() => new NftablesLink());
            Backend = new NftablesBackend(
                new NftInside(lab.Node),
                [IpFamily.IPv4, IpFamily.IPv6], TimeProvider.System, direct ? Send : null);
        }

        public NamespaceLab Lab { get; }

        public NftablesLink Link { get; }

        public NftablesBackend Backend { get; }

        public int Sent { get; private set; }

        public int Refused { get; private set; }

        public static async Task<Place> CreateAsync(bool direct) => new(await ListenDeviceTests.BareLabAsync(), direct);

        /// <summary>A line per object: rules with their place in the chain, elements sorted, since a set's order is chance, and
        /// without what differs from table to table.</summary>
        public async Task<List<string>> RulesAsync()
        {
            var listed = (await Lab.RunAsync("node", "nft", "-j", "list", "ruleset")).Succeeded().Output;
            var lines = new List<string>();
            var places = new Dictionary<string, int>(StringComparer.Ordinal);
            foreach (var item in JsonNode.Parse(listed)!["nftables"]!.AsArray())
            {
                var (kind, value) = item!.AsObject().Single();
                var content = value!.AsObject();
                content.Remove("handle");
                if (content["elem"] is JsonArray elements)
                {
                    foreach (var element in elements)
                        ((element as JsonObject)?["elem"] as JsonObject)?.Remove("expires");
                    content["elem"] = new JsonArray([.. elements.Select(e => e!.ToJsonString()).Order(StringComparer.Ordinal).Select(e => JsonNode.Parse(e))]);
                }

                var place = "";
                if (kind == "rule")
                {
                    var chain = $"{content["family"]} {content["chain"]}";
                    place = $" {places[chain] = places.GetValueOrDefault(chain) + 1}";
                }

                lines.Add($"{kind}{place} {content.ToJsonString()}");
            }

            lines.Sort(StringComparer.Ordinal);
            return lines;
        }

        public ValueTask DisposeAsync()
        {
            Link.Dispose();
            return Lab.DisposeAsync();
        }

        private int Send(ReadOnlySpan<byte> batch, uint sequence)
        {
            var errno = Link.Send(batch, sequence);
            if (errno == 0)
                Sent++;
            else
                Refused++;
            return errno;
        }
    }
}
