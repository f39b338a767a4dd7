using System.Text;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Kubernetes.Manifests;
using EdgeMesh.Kubernetes.Watching;
using EdgeMesh.Kubernetes.Yaml;
using Xunit;

namespace EdgeMesh.Tests.Kubernetes;

/// <remarks>One after the other: the pool of shared strings is one for the process, and a test looks into it.</remarks>
[Collection("shared strings")]
public sealed class ReadersTests
{
    private static readonly string List = $$"""{"apiVersion":"v1","items":[{{Sample.Service("a")}},{{Sample.Service("b")}}],"kind":"ServiceList","metadata":{"resourceVersion":"7","continue":"next"} }""";

    [Fact]
    public void AListIsCutIntoItsItemsWhateverThePiecesItArrivesIn()
    {
        var bytes = Encoding.UTF8.GetBytes(List);
        for (var piece = 1; piece < 64; piece++)
        {
            var names = new List<string>();
            var splitter = new ListSplitter(ObjectReader.LargestObject, (item, whole) =>
            {
                Assert.True(whole);
                names.Add(Kinds.Services.Read(item).Value!.Metadata.Name);
            });
            for (var at = 0; at < bytes.Length; at += piece)
            {
                splitter.Feed(bytes.AsSpan(at, Math.Min(piece, bytes.Length - at)));
            }

            var envelope = splitter.Finish();
            Assert.Equal(["a", "b"], names);
            Assert.Equal(("ServiceList", "v1", "7", "next"), (envelope.Kind, envelope.ApiVersion, envelope.Metadata!.ResourceVersion, envelope.Metadata.Continue));
        }
    }

    [Fact]
    public void AListCutOffAtAnyByteIsAFault()
    {
        var bytes = Encoding.UTF8.GetBytes(List);
        for (var length = 0; length < bytes.Length; length++)
        {
            var splitter = new ListSplitter(ObjectReader.LargestObject, (_, _) => { });
            splitter.Feed(bytes.AsSpan(0, length));
            Assert.Throws<ApiFaultException>(splitter.Finish);
        }
    }

    [Fact]
    public void RandomDamageToAListThrowsNothingButTheDeclaredFault()
    {
        var random = new Random(1);
        for (var round = 0; round < 3000; round++)
        {
            var bytes = Damaged(List, random);
            try
            {
                var splitter = new ListSplitter(200, (item, _) => Assert.NotNull((object?)Kinds.Services.Read(item).Value ?? Kinds.Services.Read(item).Fault));
                splitter.Feed(bytes);
                splitter.Finish();
            }
            catch (ApiFaultException)
            {
                // The declared fault.
            }
        }
    }

    [Fact]
    public void RandomDamageToAnObjectOrAWatchLineThrowsNothingButTheDeclaredFault()
    {
        var random = new Random(2);
        string[] texts = [Sample.Service("a"), Sample.Slice("a", 3), Sample.Endpoints("a"), "{\"type\":\"ADDED\",\"object\":" + Sample.Service("a") + "}"];
        for (var round = 0; round < 8000; round++)
        {
            var bytes = Damaged(texts[round % texts.Length], random);
            Assert.True(Kinds.Services.Read(bytes) is { Value: null, Fault: not null } or { Value: not null, Fault: null });
            Assert.True(Kinds.EndpointSlices.Read(bytes) is { Value: null, Fault: not null } or { Value: not null, Fault: null });
            Assert.True(Kinds.Endpoints.Read(bytes) is { Value: null, Fault: not null } or { Value: not null, Fault: null });
            try
            {
                var line = WatchLine.Parse(bytes);
                _ = ObjectReader.Identify(bytes.AsSpan()[line.Object]);
            }
            catch (ApiFaultException)
            {
                // The declared fault.
            }

            _ = ObjectReader.Identify(WatchLine.FrontOfObject(bytes));
        }
    }

    [Fact]
    public void AnItemOverTheLimitIsNamedAndDroppedAndTheOthersStay()
    {
        var big = Sample.Service("big", labels: $$"""{"x":"{{new string('y', 10 << 20)}}"}""");
        var names = new List<string>();
        var splitter = new ListSplitter(ObjectReader.LargestObject, (item, whole) => names.Add((whole ? "" : "too large: ") + ObjectReader.Identify(item).Name));
        foreach (var chunk in Encoding.UTF8.GetBytes(List.Replace(Sample.Service("a"), big, StringComparison.Ordinal)).Chunk(32 << 10))
        {
            splitter.Feed(chunk);
        }

        splitter.Finish();
        Assert.Equal(["too large: demo/big", "demo/b"], names);
    }

    [Fact]
    public async Task LinesComeOutWholeWhateverThePieces()
    {
        for (var piece = 1; piece < 40; piece++)
        {
            using var reader = new LineReader(new Pieces("one\n\ntwo two two\r\nhalf", piece), 100);
            Assert.Equal((LineKind.Line, "one"), await NextAsync(reader));
            Assert.Equal((LineKind.Line, ""), await NextAsync(reader));
            Assert.Equal((LineKind.Line, "two two two\r"), await NextAsync(reader));
            Assert.Equal((LineKind.Unfinished, "half"), await NextAsync(reader));
            Assert.Equal(LineKind.End, await reader.ReadAsync(CancellationToken.None));
        }
    }

    [Fact]
    public async Task ALineOverTheLimitIsDroppedAndTheNextIsRead()
    {
        foreach (var piece in (int[])[1, 7, 1000, 100_000])
        {
            using var reader = new LineReader(new Pieces("a\n" + new string('x', 50_000) + "\nb\n", piece), 1000);
            Assert.Equal((LineKind.Line, "a"), await NextAsync(reader));
            var (kind, front) = await NextAsync(reader);
            // A long line that happens to stand in the buffer as a whole may come out as a line.
            Assert.True(kind == LineKind.TooLong || front.Length == 50_000);
            Assert.Equal((LineKind.Line, "b"), await NextAsync(reader));
            Assert.Equal(LineKind.End, await reader.ReadAsync(CancellationToken.None));
        }
    }

    [Theory]
    [InlineData("\"80\"", "$.spec.ports[0].port")]
    [InlineData("80.5", "$.spec.ports[0].port")]
    [InlineData("99999999999", "$.spec.ports[0].port")]
    [InlineData("70000", "impossible port 70000")]
    [InlineData("-1", "impossible port -1")]
    [InlineData("{}", "$.spec.ports[0].port")]
    public void AWrongPortIsAFaultThatNamesTheObjectAndThePlace(string port, string part)
    {
        var (value, fault) = Kinds.Services.Read(Encoding.UTF8.GetBytes(Sample.Service("web", port: port)));
        Assert.Null(value);
        Assert.Equal(new("demo", "web"), fault!.Name);
        Assert.Contains(part, fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void NullAndAbsentMembersAreEmptyAsGoWritesThem()
    {
        var slice = Kinds.EndpointSlices.Read("""{"metadata":{"name":"a","namespace":"b","labels":null},"endpoints":null,"ports":null}"""u8).Value!;
        Assert.True(slice.Endpoints.IsEmpty && slice.Ports.IsEmpty && slice.Metadata.Labels.IsEmpty);
        var service = Kinds.Services.Read("""{"metadata":{"name":"a","namespace":"b"},"spec":null}"""u8).Value!;
        Assert.True(service.Spec.Ports.IsEmpty && service.Spec.ClusterIPs.IsEmpty && service.Spec.ExternalIPs.IsEmpty);
    }

    [Fact]
    public void LabelsOfPeoplesOwnAreDroppedAndRepeatedNamesAreOneString()
    {
        var slice = Kinds.EndpointSlices.Read(Encoding.UTF8.GetBytes(Sample.Slice("web", 100))).Value!;
        // Other tests share the pool and may drive a name out while this one reads; one that is read anew each time would be 100.
        Assert.InRange(slice.Endpoints.Select(e => e.NodeName).Distinct(ReferenceEqualityComparer.Instance).Count(), 50, 60);
        var service = Kinds.Services.Read(Encoding.UTF8.GetBytes(Sample.Service("a", labels: """{"team":"x","n":7,"service.edgemesh.kubeedge.io/service-proxy-name":""}"""))).Value!;
        Assert.Equal(["service.edgemesh.kubeedge.io/service-proxy-name"], service.Metadata.Labels.Keys);
    }

    [Fact]
    public void NamesThatComeInTurnAndHaveOneHashAreStillOneStringEach()
    {
        var bucket = SharedString.BucketOf("node-0");
        var names = Enumerable.Range(0, int.MaxValue).Select(i => $"node-{i}").Where(name => SharedString.BucketOf(name) == bucket).Take(SharedString.PerBucket).ToArray();
        // Strings of other tests may fall into this bucket meanwhile; a pool that forgets in turn would give 400.
        var seen = Enumerable.Range(0, 100).SelectMany(_ => names).Select(name => SharedString.Share(name)).Distinct(ReferenceEqualityComparer.Instance);
        Assert.InRange(seen.Count(), names.Length, names.Length * 4);
    }

    [Fact]
    public void YamlOfAMillionBracketsOrOfAliasesUponAliasesIsAFaultAndNotTheEnd()
    {
        Assert.Throws<YamlFaultException>(() => YamlTree.Parse(new string('[', 100_000)));
        var bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + string.Concat(Enumerable.Range(1, 12).Select(i => $"a{i}: &a{i} [{string.Join(',', Enumerable.Repeat($"*a{i - 1}", 10))}]\n"));
        Assert.Contains("aliases", Assert.Throws<YamlFaultException>(() => YamlTree.Parse(bomb)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AliasesAndMergesOfYamlCostWhatTheyStandFor()
    {
        var chain = string.Concat(Enumerable.Range(1, 20_000).Select(i => $"a{i}: &a{i} {{<<: *a{i - 1}, k{i}: 1}}\n"));
        var list = $"a: &a {{k: [{string.Join(',', Enumerable.Repeat("x", 50_000))}]}}\nitems: [{string.Join(',', Enumerable.Repeat("*a", 1_000))}]\n";
        foreach (var text in new[] { "a0: &a0 {k0: 1}\n" + chain, list })
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            Assert.Throws<YamlFaultException>(() => YamlTree.Parse(text));
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 400L * text.Length);
        }
    }

    [Fact]
    public void ATemplateThatManyObjectsOfAYamlFileShareIsRead()
    {
        var text = "t: &t {type: ClusterIP, sessionAffinity: ClientIP}\nitems:\n"
            + string.Concat(Enumerable.Range(0, 500).Select(i => $"- {{<<: *t, clusterIP: 10.96.{i / 250}.{1 + (i % 250)}}}\n"));
        Assert.Equal(500, Assert.IsType<YamlSequence>(Assert.IsType<YamlMapping>(YamlTree.Parse(text))["items"]).Items.Count);
    }

    [Fact]
    public void RandomDamageToYamlThrowsNothingButTheDeclaredFault()
    {
        var random = new Random(3);
        const string Text = "a: {b: [1, 'two', \"three\"], c: &x |\n  text\n  more}\nd: *x\n- ? e : f\n";
        for (var round = 0; round < 5000; round++)
        {
            try
            {
                if (YamlTree.Parse(Encoding.UTF8.GetString(Damaged(Text, random))) is { } tree)
                {
                    YamlJson.Write(tree, 1 << 20);
                }
            }
            catch (YamlFaultException e)
            {
                Assert.True(e.Line >= 1);
            }
        }
    }

    private static byte[] Damaged(string text, Random random)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        for (var i = random.Next(0, 4); i >= 0; i--)
        {
            bytes[random.Next(bytes.Length)] = random.Next(3) == 0 ? (byte)"{}[]\",:\\n"[random.Next(9)] : (byte)random.Next(256);
        }

        return random.Next(2) == 0 ? bytes[..random.Next(bytes.Length)] : bytes;
    }

    private static async Task<(LineKind, string)> NextAsync(LineReader reader)
    {
        var kind = await reader.ReadAsync(CancellationToken.None);
        return (kind, Encoding.UTF8.GetString(reader.Line.Span));
    }

    private sealed class Pieces(string text, int piece) : MemoryStream(Encoding.UTF8.GetBytes(text))
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(piece, buffer.Length)], cancellationToken);
    }
}
