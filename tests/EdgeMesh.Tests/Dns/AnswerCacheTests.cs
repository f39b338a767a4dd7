using EdgeMesh.Dns.Caching;
using EdgeMesh.Dns.Messages;
using Xunit;

namespace EdgeMesh.Tests.Dns;

public sealed class AnswerCacheTests
{
    private static readonly AnswerCacheOptions Options = new() { MaxPositive = 300, MaxNegative = 60 };

    private readonly AnswerCache _cache = new(Options, 42);
    private long _now = 1_000_000;

    [Fact]
    public void AnAnswerAgesAndComesBackInTheCaseOfItsQuestion()
    {
        Store("web.example", "100 CNAME Lb.Example", "200 A 192.0.2.1");
        _now += 30_500;
        Assert.Equal("NOERROR\nWEB.example. 70 CNAME Lb.Example.\nLb.Example. 170 A 192.0.2.1", Ask("WEB.example"));
        _now += 69_499;
        Assert.Equal("NOERROR\nweb.example. 1 CNAME Lb.Example.\nLb.Example. 101 A 192.0.2.1", Ask("web.example"));
    }

    [Fact]
    public void NoAnswerIsKeptLongerThanTheCap()
    {
        Store("web.example", "100000 A 192.0.2.1");
        Assert.Equal("NOERROR\nweb.example. 300 A 192.0.2.1", Ask("web.example"));
        // With its highest bit set a time counts as none (RFC 2181, 8).
        Store("odd.example", "4000000000 A 192.0.2.1");
        Assert.Equal("unknown", Ask("odd.example"));
    }

    [Fact]
    public void WhatDoesNotExistIsKeptByItsStartOfAuthority()
    {
        Store("no.example", ResponseCode.NameError, "authority:3600 SOA 40");
        Assert.StartsWith("NXDOMAIN\nauthority: no.example. 40 SOA", Ask("no.example"), StringComparison.Ordinal);
        // Of no type: RFC 2308, 5 keeps a name error by the name.
        Assert.StartsWith("NXDOMAIN", Ask("no.example", RecordType.Aaaa), StringComparison.Ordinal);
        _now += 40_000;
        Assert.Equal(Freshness.Stale, FreshnessOf("no.example"));

        Store("empty.example", ResponseCode.NoError, "authority:3600 SOA 40");
        Assert.StartsWith("NOERROR\nauthority", Ask("empty.example"), StringComparison.Ordinal);
        Assert.Equal("unknown", Ask("empty.example", RecordType.Aaaa));
    }

    [Fact]
    public void WithoutStartOfAuthorityADenialIsNotKept()
    {
        Store("no.example", ResponseCode.NameError);
        Assert.Equal("unknown", Ask("no.example"));
    }

    [Fact]
    public void ANameThatCameIntoBeingIsNoLongerDenied()
    {
        Store("new.example", ResponseCode.NameError, "authority:60 SOA 60");
        Store("new.example", "60 A 192.0.2.1");
        Assert.StartsWith("NOERROR", Ask("new.example"), StringComparison.Ordinal);
        Assert.Equal("unknown", Ask("new.example", RecordType.Aaaa));
        Assert.Equal(1, _cache.Count);
    }

    [Fact]
    public void AnswersWithAndWithoutDnssecAreKeptApart()
    {
        Store("web.example", "60 A 192.0.2.1");
        Assert.Null(_cache.Find(DnsText.Question("web.example", RecordType.A), 1, _now, out _));
        Assert.NotNull(_cache.Find(DnsText.Question("web.example", RecordType.A), 0, _now, out _));
    }

    [Fact]
    public void UnknownTypesPassThroughAsBytes()
    {
        var query = DnsText.Query("web.example", RecordType.Https);
        _cache.Store(CachedAnswer.From(DnsText.Reply(query, ResponseCode.NoError, "60 TYPE65 0001000001000302683200040004C0000201", "60 TYPE65399 ABCD"), Options, _now)!, 0, _now);
        Assert.Equal("NOERROR\nweb.example. 60 HTTPS 0001000001000302683200040004C0000201\nweb.example. 60 TYPE65399 ABCD", Ask("web.example", RecordType.Https));
    }

    [Fact]
    public void AddressesTakeTurns()
    {
        Store("web.example", "60 CNAME lb.example", "60 A 192.0.2.1", "60 A 192.0.2.2", "60 A 192.0.2.3");
        var answers = Enumerable.Range(0, 3).Select(turn => Ask("web.example", turn: (uint)turn).Split('\n')).ToList();
        Assert.Equal(3, answers.Select(a => a[2]).Distinct().Count());
        Assert.All(answers, a => Assert.Equal("web.example. 60 CNAME lb.example.", a[1]));
        Assert.All(answers, a => Assert.Equal(3, a[2..].Distinct().Count()));
    }

    [Fact]
    public void OptIsHopByHopAndNeverKept()
    {
        var query = DnsText.Query("web.example", RecordType.A);
        byte[] reply = [.. DnsText.Reply(query, ResponseCode.NoError, "60 A 192.0.2.1"), 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 10, 0, 0];
        reply[11] = 1;
        _cache.Store(CachedAnswer.From(reply, Options, _now)!, 0, _now);
        Assert.Equal("NOERROR\nweb.example. 60 A 192.0.2.1", Ask("web.example"));
        Assert.Equal("NOERROR\nweb.example. 60 A 192.0.2.1\nadditional: OPT 1232", Ask("web.example", edns: 4096));
    }

    [Fact]
    public void WhatIsTooLargeForADatagramIsSaidToBeTruncated()
    {
        Store("big.example", [.. Enumerable.Range(0, 60).Select(i => $"60 A 192.0.2.{i}")]);
        Assert.Equal("NOERROR tc", Ask("big.example", limit: 512));
        Assert.Equal(61, Ask("big.example", limit: 1232).Split('\n').Length);
    }

    [Fact]
    public void BytesAreBoundedAndWhatWasNotUsedGoesFirst()
    {
        var cache = new AnswerCache(Options with { MaxBytes = 10_000 }, 1);
        for (var i = 0; i < 1_000; i++)
        {
            var query = DnsText.Query($"n{i}.example", RecordType.A);
            cache.Store(CachedAnswer.From(DnsText.Reply(query, ResponseCode.NoError, "60 A 192.0.2.1"), Options, _now)!, 0, _now);
            Assert.NotNull(cache.Find(DnsText.Question("n0.example", RecordType.A), 0, _now, out _));
            Assert.InRange(cache.Bytes, 1, 10_000);
        }

        Assert.Equal(1_000, cache.Count + cache.Evictions);
        Assert.Null(cache.Find(DnsText.Question("n1.example", RecordType.A), 0, _now, out _));
        Assert.NotNull(cache.Find(DnsText.Question("n999.example", RecordType.A), 0, _now, out _));
    }

    [Fact]
    public void AStaleAnswerIsOfUseForADayAndAtOnceWhileUpstreamIsAway()
    {
        Store("web.example", "60 A 192.0.2.1");
        _now += 61_000;
        var stale = _cache.Find(DnsText.Question("web.example", RecordType.A), 0, _now, out var freshness)!;
        Assert.Equal(Freshness.Stale, freshness);
        Assert.Equal("NOERROR\nweb.example. 30 A 192.0.2.1", Ask("web.example"));
        _cache.KeepThroughFailure(stale, _now);
        Assert.Equal(Freshness.StaleAndAway, FreshnessOf("web.example"));
        _now += 30_000;
        Assert.Equal(Freshness.Stale, FreshnessOf("web.example"));
        _now += 86_400_000;
        Assert.Equal("unknown", Ask("web.example"));
        Assert.Equal(0, _cache.Count);
    }

    [Fact]
    public void AMuchAskedAnswerIsHotNearItsEnd()
    {
        Store("web.example", "100 A 192.0.2.1");
        for (var i = 0; i < 5; i++)
            Assert.Equal(Freshness.Fresh, FreshnessOf("web.example"));
        _now += 91_000;
        Assert.Equal(Freshness.Hot, FreshnessOf("web.example"));
        Store("seldom.example", "100 A 192.0.2.1");
        _now += 91_000;
        Assert.Equal(Freshness.Fresh, FreshnessOf("seldom.example"));
    }

    private void Store(string name, params string[] records) => Store(name, ResponseCode.NoError, records);

    private void Store(string name, ResponseCode code, params string[] records) =>
        _cache.Store(CachedAnswer.From(DnsText.Reply(DnsText.Query(name, RecordType.A), code, records), Options, _now)!, 0, _now);

    private Freshness FreshnessOf(string name)
    {
        Assert.NotNull(_cache.Find(DnsText.Question(name, RecordType.A), 0, _now, out var freshness));
        return freshness;
    }

    private string Ask(string name, RecordType type = RecordType.A, int edns = 0, int limit = 4096, uint turn = 0)
    {
        DnsQuery.Read(DnsText.Query(name, type, edns), out var query);
        var buffer = new byte[limit];
        return _cache.Find(query.Question, 0, _now, out _) is { } answer ? DnsText.Show(buffer, answer.Write(query, buffer, _now, 30, turn)) : "unknown";
    }
}
