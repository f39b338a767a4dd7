using System.Net;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using Xunit;
using static EdgeMesh.Tests.Dns.FakeUpstreams;

namespace EdgeMesh.Tests.Dns;

public sealed class ForwarderTests : IForwarderOwner
{
    private readonly FakeUpstreams _upstreams = new();
    private readonly List<string> _resolved = [];
    private Forwarder _forwarder;
    private long _now = 1_000_000;
    private ushort _id = 100;

    public ForwarderTests()
    {
        _forwarder = Make(new ForwarderOptions());
        _forwarder.Use(UpstreamTable.ForAll(One, Two));
    }

    [Fact]
    public void TheAnswerOfTheFirstUpstreamIsTheAnswer()
    {
        Assert.True(Ask("a.example"));
        var (exchange, query) = _upstreams.To(One);
        Assert.Equal(101, exchange.Id);
        DnsQuery.Read(query, out var sent);
        Assert.Equal((101, 1232), (sent.Id, sent.UdpSize));
        _forwarder.Received(exchange, Answer(query, "60 A 192.0.2.9"), _now);
        Assert.Equal(["a.example. NOERROR\na.example. 60 A 192.0.2.9"], _resolved);
        Assert.Empty(_upstreams.Open);
        Assert.False(_forwarder.NeedsTicks);
    }

    [Fact]
    public void TheSameQuestionIsAskedOnceForAll()
    {
        Ask("a.example", client: 1);
        Ask("A.Example", client: 2);
        Assert.Single(_upstreams.Open);
        Assert.Equal((1, 2, 1), (_forwarder.Pending, _forwarder.Waiting, _forwarder.Joined));
        Respond(One, "60 A 192.0.2.9");
        Assert.Equal(0, _forwarder.Waiting);
    }

    [Fact]
    public void WhoDoesNotAnswerIsFollowedByTheNextWithinASecond()
    {
        Ask("a.example");
        var began = _now;
        while (_upstreams.Open.Count == 1)
            Pass(50);
        Assert.InRange(_now - began, 100, 1_000);
        Assert.Equal(["udp 192.0.2.1", "udp 192.0.2.2"], _upstreams.Sent);
        Respond(Two, "60 A 192.0.2.9");
        Assert.Single(_resolved);
        // The first one failed: the second is asked first from now on.
        Ask("b.example");
        Assert.Equal("udp 192.0.2.2", _upstreams.Sent[2]);
    }

    [Fact]
    public void ALateAnswerCountsToo()
    {
        Ask("a.example");
        Pass(900);
        Respond(One, "60 A 192.0.2.9");
        Assert.Single(_resolved);
        Assert.Empty(_upstreams.Open);
        Assert.True(_forwarder.Upstreams[0].IsHealthy);
    }

    [Fact]
    public void ARefusedSocketMovesOnAtOnce()
    {
        Ask("a.example");
        _forwarder.Failed(_upstreams.To(One).Exchange, _now);
        Assert.Equal(["udp 192.0.2.1", "udp 192.0.2.2"], _upstreams.Sent);
    }

    [Fact]
    public void AnUnreachableUpstreamMovesOnAtOnce()
    {
        _upstreams.Unreachable.Add(One);
        Ask("a.example");
        Respond(Two, "60 A 192.0.2.9");
        Assert.Single(_resolved);
    }

    [Fact]
    public void WhenAllAreUnreachableTheEndComesAtOnce()
    {
        _upstreams.Unreachable.UnionWith([One, Two]);
        Assert.True(Ask("a.example"));
        Assert.Equal(["a.example. (nothing)"], _resolved);
        Assert.Equal(0, _forwarder.Pending);
    }

    [Fact]
    public void ServerFailureOfOneIsTheNextOnesQuestion()
    {
        Ask("a.example");
        Respond(One, ResponseCode.ServerFailure);
        Respond(Two, ResponseCode.Refused);
        Assert.Equal(["a.example. REFUSED"], _resolved);
    }

    [Fact]
    public void WhatIsTruncatedIsAskedAgainByTcp()
    {
        Ask("big.example");
        var (exchange, query) = _upstreams.To(One);
        _forwarder.Received(exchange, DnsText.Truncated(query), _now);
        Assert.Equal(["udp 192.0.2.1", "tcp 192.0.2.1"], _upstreams.Sent);
        Respond(One, "60 A 192.0.2.9");
        Assert.Single(_resolved);
    }

    [Fact]
    public void AnswersToAnotherQuestionOrIdAreIgnoredAndCounted()
    {
        Ask("a.example");
        var (exchange, query) = _upstreams.To(One);
        var good = Answer(query, "60 A 192.0.2.66");
        byte[] otherId = [.. good];
        otherId[1] ^= 1;
        byte[][] wrong =
        [
            otherId,
            Answer(DnsText.Query("b.example", RecordType.A, id: exchange.Id), "60 A 192.0.2.66"),
            Answer(DnsText.Query("a.example", RecordType.Aaaa, id: exchange.Id), "60 A 192.0.2.66"),
            query,
            good[..20],
            [],
        ];
        foreach (var message in wrong)
            _forwarder.Received(exchange, message, _now);
        Assert.Empty(_resolved);
        Assert.Equal(wrong.Length, _forwarder.Upstreams[0].Strange);
        _forwarder.Received(exchange, good, _now);
        Assert.Single(_resolved);
    }

    [Fact]
    public void AFloodOfWrongAnswersLeadsToTcp()
    {
        Ask("a.example");
        var (exchange, query) = _upstreams.To(One);
        for (var i = 0; i < 1_000; i++)
            _forwarder.Received(exchange, [0, 0, .. query[2..]], _now);
        Assert.Equal(["udp 192.0.2.1", "tcp 192.0.2.1"], _upstreams.Sent);
        Respond(One, "60 A 192.0.2.9");
        Assert.Single(_resolved);
    }

    [Fact]
    public void AnUpstreamWithoutEdnsIsAskedWithoutIt()
    {
        Ask("a.example");
        var (exchange, query) = _upstreams.To(One);
        byte[] plain = [query[0], query[1], 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0];
        _forwarder.Received(exchange, plain, _now);
        DnsQuery.Read(_upstreams.To(One).Message, out var again);
        Assert.False(again.HasEdns);
        Respond(One, "60 A 192.0.2.9");
        Ask("b.example");
        DnsQuery.Read(_upstreams.To(One).Message, out var next);
        Assert.False(next.HasEdns);
    }

    [Fact]
    public void TheFasterIsAskedFirst()
    {
        Ask("a.example");
        Pass(90);
        Respond(One, "60 A 192.0.2.9");
        for (var i = 0; i < 5; i++)
        {
            Ask($"n{i}.example");
            // Not measured yet, the second one counts as 50 ms.
            Pass(5);
            Respond(Two, "60 A 192.0.2.9");
        }

        Assert.Equal(5, _upstreams.Sent.Count(s => s == "udp 192.0.2.2"));
    }

    [Fact]
    public void AnUpstreamThatWasAwayIsFoundAgainWithoutAnybodysWait()
    {
        Ask("a.example");
        _forwarder.Failed(_upstreams.To(One).Exchange, _now);
        Respond(Two, "60 A 192.0.2.9");
        Assert.False(_forwarder.Upstreams[0].IsHealthy);
        Pass(1_500);
        Ask("b.example");
        Respond(Two, "60 A 192.0.2.9");
        Assert.Equal(2, _resolved.Count);
        // The probe still stands, and answers later.
        Pass(20);
        Respond(One, "60 A 192.0.2.9");
        Assert.True(_forwarder.Upstreams[0].IsHealthy);
        Assert.False(_forwarder.NeedsTicks);
        Assert.Equal(2, _resolved.Count);
    }

    [Fact]
    public void AProbeThatNobodyAnswersEnds()
    {
        Ask("a.example");
        _forwarder.Failed(_upstreams.To(One).Exchange, _now);
        Respond(Two, "60 A 192.0.2.9");
        Pass(1_500);
        Ask("b.example");
        Respond(Two, "60 A 192.0.2.9");
        Pass(1_500);
        Assert.Empty(_upstreams.Open);
        Assert.Equal(2, _forwarder.Upstreams[0].FailuresInARow);
    }

    [Fact]
    public void AQuestionThatNobodyAnswersIsGivenUp()
    {
        Ask("a.example");
        for (var i = 0; i < 100; i++)
            Pass(50);
        Assert.Equal(["a.example. (nothing)"], _resolved);
        Assert.Empty(_upstreams.Open);
        Assert.InRange(_upstreams.Sent.Count, 4, 6);
        Assert.False(_forwarder.NeedsTicks);
    }

    [Fact]
    public void EachDomainHasItsOwnUpstreams()
    {
        _forwarder.Use(new UpstreamTable([new UpstreamRoute([0], [One]), new UpstreamRoute([.. DnsText.Name("corp.example")], [Two])]));
        Ask("a.Corp.example");
        Ask("a.notcorp.example");
        Assert.Equal(["udp 192.0.2.2", "udp 192.0.2.1"], _upstreams.Sent);
    }

    [Fact]
    public void WithoutAnUpstreamNothingIsAsked()
    {
        _forwarder.Use(UpstreamTable.Empty);
        Assert.False(Ask("a.example"));
        Assert.Equal((0, 0), (_forwarder.Pending, _forwarder.Waiting));
    }

    [Fact]
    public void WhatIsPendingIsBoundedInAllAndForEachClient()
    {
        _forwarder = Make(new ForwarderOptions { MaxPending = 5, MaxPendingOfClient = 3 });
        _forwarder.Use(UpstreamTable.ForAll(One));
        for (var i = 0; i < 10; i++)
            Assert.Equal(i < 3, Ask($"n{i}.example", client: 1));
        for (var i = 0; i < 10; i++)
            Assert.Equal(i < 2, Ask($"m{i}.example", client: 2));
        // A question that is asked already has room for him.
        Assert.True(Ask("n0.example", client: 2));
        Assert.False(Ask("n1.example", client: 2));
        Assert.Equal(5, _upstreams.Open.Count);
        Respond(One, "60 A 192.0.2.9");
        Assert.True(Ask("free.example", client: 2));
    }

    [Fact]
    public void OtherUpstreamsKeepWhatIsKnownOfThoseThatStay()
    {
        Ask("a.example");
        Respond(One, "60 A 192.0.2.9");
        _forwarder.Use(UpstreamTable.ForAll(Two, One));
        Assert.Equal(1, _forwarder.Upstreams.Single(u => u.Server == One).Answered);
    }

    [Fact]
    public void TlsUpstreamsAreAskedByTls()
    {
        _forwarder.Use(UpstreamTable.ForAll(UpstreamServer.Parse("tls://192.0.2.7#dns.example", out _)!));
        Ask("a.example");
        Assert.Equal(["tls 192.0.2.7"], _upstreams.Sent);
    }

    [Theory]
    [InlineData("8.8.8.8", "8.8.8.8:53")]
    [InlineData("8.8.8.8:5353", "8.8.8.8:5353")]
    [InlineData("fd00::1", "[fd00::1]:53")]
    [InlineData("[fd00::1]:5353", "[fd00::1]:5353")]
    [InlineData("tls://1.1.1.1#one.example", "tls://1.1.1.1:853#one.example")]
    [InlineData("tls://1.1.1.1:8853#one.example", "tls://1.1.1.1:8853#one.example")]
    [InlineData("tls://1.1.1.1", null)]
    [InlineData("dns.example", null)]
    [InlineData("8.8.8.8:0", null)]
    [InlineData("8.8", null)]
    [InlineData("", null)]
    public void UpstreamsAreReadFromText(string text, string? expected)
    {
        var server = UpstreamServer.Parse(text, out var fault);
        Assert.Equal(expected, server?.ToString());
        Assert.Equal(expected is null, fault is not null);
    }

    [Fact]
    public void NameserversOfTheHostAreTakenAndOurselvesLeftOut()
    {
        var read = ResolvConf.Parse("# c\nsearch a b\nnameserver 10.0.0.1 # x\n nameserver\t169.254.96.16\nnameserver fe80::1%eth0\nnameserver 10.0.0.1\nnameserverx 1.2.3.4\nnameserver nonsense\n", [IPAddress.Parse("169.254.96.16")]);
        Assert.Equal("10.0.0.1:53", read.Servers[0].ToString());
        Assert.Equal(2, read.Servers.Length);
        Assert.Equal(["169.254.96.16"], read.Own.Select(a => a.ToString()));
    }

    void IForwarderOwner.Resolved(PendingQuestion question, ReadOnlySpan<byte> message, long now) =>
        _resolved.Add($"{WireName.ToText(question.Question[..^4])} {DnsText.Show(message).Replace("\r", "", StringComparison.Ordinal)}");

    bool IForwarderOwner.StaleIsDue(PendingQuestion question, long now) => false;

    private Forwarder Make(ForwarderOptions options) => new(options, _upstreams, this, () => ++_id);

    private bool Ask(string name, int client = 1) =>
        _forwarder.Ask(DnsText.Question(name, RecordType.A), 0, new Waiter(new DnsClient((UInt128)client, false, 1, false, 0), []), _now);

    private void Respond(UpstreamServer server, params string[] records)
    {
        var (exchange, query) = _upstreams.To(server);
        _forwarder.Received(exchange, Answer(query, records), _now);
    }

    private void Respond(UpstreamServer server, ResponseCode code)
    {
        var (exchange, query) = _upstreams.To(server);
        _forwarder.Received(exchange, DnsText.Reply(query, code), _now);
    }

    private void Pass(int milliseconds)
    {
        _now += milliseconds;
        _forwarder.Tick(_now);
    }
}
