using EdgeMesh.Dns.Caching;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using Xunit;

namespace EdgeMesh.Tests.Dns;

public sealed class MessageTests
{
    [Fact]
    public void AQueryIsReadAsItWasWritten()
    {
        Assert.Equal(QueryFault.None, DnsQuery.Read(DnsText.Query("Web.Example", RecordType.Https, edns: 4096, id: 99, dnssec: true), out var query));
        Assert.Equal("Web.Example.", WireName.ToText(query.Name));
        Assert.Equal((99, RecordType.Https, 1), (query.Id, query.Type, query.Class));
        Assert.True(query.HasEdns && query.DnssecOk);
        Assert.Equal((4096, 1232), (query.UdpSize, query.UdpLimit));
    }

    [Fact]
    public void WithoutEdnsAClientTakes512Bytes()
    {
        DnsQuery.Read(DnsText.Query("a", RecordType.A), out var query);
        Assert.Equal(512, query.UdpLimit);
        DnsQuery.Read(DnsText.Query("a", RecordType.A, edns: 100), out query);
        Assert.Equal(512, query.UdpLimit);
    }

    [Fact]
    public void EachFaultOfARequestHasItsName()
    {
        var good = DnsText.Query("a.example", RecordType.A, edns: 1232);
        Assert.Equal(QueryFault.Silence, Read(good[..11]));
        Assert.Equal(QueryFault.Silence, Read(With(good, 2, 0x80)));
        Assert.Equal(QueryFault.NotImplemented, Read(With(good, 2, 0x28)));
        Assert.Equal(QueryFault.FormatError, Read(With(good, 5, 2)));
        Assert.Equal(QueryFault.FormatError, Read(With(good, 5, 0)));
        Assert.Equal(QueryFault.BadVersion, Read(DnsText.Query("a", RecordType.A, edns: 1232, version: 1)));
        // A question that points into the message, and two OPT.
        Assert.Equal(QueryFault.FormatError, Read(With(good, 12, 0xC0)));
        byte[] twice = [.. good, .. good[^11..]];
        twice[11] = 2;
        Assert.Equal(QueryFault.FormatError, Read(twice));
    }

    /// <summary>A request that ends early is never taken for a whole one, and never read beyond.</summary>
    [Fact]
    public void ARequestCutAtAnyByteIsAFault()
    {
        var whole = DnsText.Query("web.shop.svc.cluster.local", RecordType.A, edns: 1232);
        for (var length = 0; length < whole.Length; length++)
            Assert.NotEqual(QueryFault.None, Read(whole[..length]));
        Assert.Equal(QueryFault.None, Read(whole));
    }

    [Fact]
    public void AnAnswerCutAtAnyByteIsNotKept()
    {
        var whole = DnsText.Reply(DnsText.Query("a.example", RecordType.A), ResponseCode.NoError, "60 CNAME b.example", "60 A 192.0.2.1", "60 TYPE65 0001");
        for (var length = 0; length < whole.Length; length++)
            Assert.Null(CachedAnswer.From(whole.AsSpan(0, length), new AnswerCacheOptions(), 0));
        Assert.NotNull(CachedAnswer.From(whole, new AnswerCacheOptions(), 0));
    }

    [Fact]
    public void RandomBytesAreReadWithoutAFault()
    {
        var random = new Random(1);
        var seed = DnsText.Reply(DnsText.Query("a.example", RecordType.A, edns: 1232), ResponseCode.NoError, "60 CNAME b.example", "60 A 192.0.2.1");
        for (var i = 0; i < 20_000; i++)
        {
            var bytes = random.Next(2) == 0 ? (byte[])seed.Clone() : new byte[random.Next(80)];
            for (var flips = random.Next(1, 8); flips > 0 && bytes.Length > 0; flips--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            Read(bytes);
            CachedAnswer.From(bytes, new AnswerCacheOptions(), 0);
            RecordReader.TryOpen(bytes, out var records);
            while (records.TryNext())
                DnsText.NameAt(bytes, records.Current.Start);
        }
    }

    [Fact]
    public void ARecordThatDoesNotFitIsTakenBackWhole()
    {
        DnsQuery.Read(DnsText.Query("a.example", RecordType.A, edns: 1232), out var query);
        var buffer = new byte[DnsLimits.HeaderSize + query.Question.Length + 16 + DnsLimits.OptSize];
        var writer = MessageWriter.Answer(query, buffer, 0);
        Assert.True(Put(ref writer));
        Assert.False(Put(ref writer));
        writer.WriteOpt(1232, dnssecOk: false);
        Assert.Equal("NOERROR\na.example. 5 A 1.2.3.4\nadditional: OPT 1232", DnsText.Show(buffer, writer.Finish()));

        static bool Put(ref MessageWriter writer)
        {
            writer.BeginRecord(12, RecordType.A, 5);
            writer.PutData([1, 2, 3, 4]);
            return writer.EndRecord(Section.Answer);
        }
    }

    [Fact]
    public void MessagesAreCutOutOfAStreamHoweverTheyArrive()
    {
        byte[] stream = [0, 3, 1, 2, 3, 0, 0, 0, 1, 9];
        for (var piece = 1; piece <= stream.Length; piece++)
        {
            var frames = new StreamFrames(100);
            var found = new List<string>();
            foreach (var chunk in stream.Chunk(piece))
            {
                ReadOnlySpan<byte> input = chunk;
                while (frames.TryRead(ref input, out var message))
                    found.Add(Convert.ToHexString(message));
                Assert.True(input.IsEmpty);
            }

            Assert.Equal(["010203", "", "09"], found);
            Assert.False(frames.IsWithin);
        }
    }

    [Fact]
    public void OfATooLongMessageTheFrontIsGivenAndTheRestIsSteppedOver()
    {
        byte[] stream = [0xFF, 0xFF, .. Enumerable.Repeat((byte)7, 65_535), 0, 1, 5];
        var frames = new StreamFrames(16);
        var found = new List<int>();
        foreach (var b in stream)
        {
            ReadOnlySpan<byte> input = [b];
            while (frames.TryRead(ref input, out var message))
                found.Add(message.Length);
        }

        Assert.Equal([16, 1], found);
    }

    private static QueryFault Read(byte[] bytes) => DnsQuery.Read(bytes, out _);

    private static byte[] With(byte[] bytes, int at, byte value)
    {
        var copy = (byte[])bytes.Clone();
        copy[at] = value;
        return copy;
    }
}
