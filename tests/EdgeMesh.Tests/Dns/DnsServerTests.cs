using EdgeMesh.Dns.Caching;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using Xunit;
using static EdgeMesh.Tests.Dns.FakeUpstreams;

namespace EdgeMesh.Tests.Dns;

public sealed class DnsServerTests : IAnswerSink
{
    private readonly FakeUpstreams _upstreams = new();
    private readonly List<(DnsClient Client, string Text, AnswerSource Source)> _answers = [];
    private readonly byte[] _response = new byte[DnsLimits.MaxMessage];
    private DnsServer _server;
    private long _now = 1_000_000;
    private ushort _id = 500;

    public DnsServerTests() => _server = Make(new NoZone());

    [Fact]
    public void AnUnknownNameWaitsForUpstreamAndIsRememberedAfterwards()
    {
        Assert.Equal("(nothing)", Ask("Web.example"));
        Respond("60 A 192.0.2.9");
        Assert.Equal((DnsText.Client, "NOERROR\nWeb.example. 60 A 192.0.2.9", AnswerSource.Upstream), Assert.Single(_answers));
        Assert.Equal("NOERROR\nWEB.example. 60 A 192.0.2.9", Ask("WEB.example"));
        Assert.Equal(AnswerSource.Cache, _server.LastSource);
        Assert.Equal(1, _server.Counters.Answered(AnswerSource.Upstream));
        Assert.Equal(1, _server.Counters.Answered(AnswerSource.Cache));
    }

    [Fact]
    public void EachWhoWaitsGetsTheAnswerInHisOwnWay()
    {
        var other = DnsText.Client with { Address = 2 };
        Ask("web.example", edns: 4096);
        Receive(other with { IsStream = true }, DnsText.Query("WEB.example", RecordType.A, id: 77));
        Respond("60 A 192.0.2.9");
        Assert.Equal(["NOERROR\nweb.example. 60 A 192.0.2.9\nadditional: OPT 1232", "NOERROR\nWEB.example. 60 A 192.0.2.9"], _answers.Select(a => a.Text));
    }

    [Fact]
    public void WhatEndsAtOnceIsToldToThoseWhoWaitAndToNobodyElse()
    {
        Ask("web.example");
        Respond("0 A 192.0.2.9");
        Assert.Equal("NOERROR\nweb.example. 0 A 192.0.2.9", Assert.Single(_answers).Text);
        Assert.Equal("(nothing)", Ask("web.example"));
    }

    [Fact]
    public void StrangersAreRefused()
    {
        var stranger = DnsText.Client with { Address = 0xC0000201 };
        Assert.Equal("REFUSED", Receive(stranger, DnsText.Query("web.example", RecordType.A)));
        Assert.Equal((1, 0), (_server.Counters.RefusedClients, _server.Forwarder.Pending));
    }

    [Fact]
    public void BadRequestsAreAnsweredByTheirFaultAndResponsesNotAtAll()
    {
        var good = DnsText.Query("web.example", RecordType.A, edns: 1232);
        Assert.Equal("FORMERR", Receive(DnsText.Client, good[..20]));
        Assert.Equal("FORMERR", Receive(DnsText.Client, good[..12]));
        byte[] update = [.. good];
        update[2] |= 0x28;
        Assert.Equal("NOTIMP", Receive(DnsText.Client, update));
        byte[] response = [.. good];
        response[2] |= 0x80;
        Assert.Equal("(nothing)", Receive(DnsText.Client, response));
        Assert.Equal("(nothing)", Receive(DnsText.Client, [1, 2, 3]));
        Assert.Equal(2, _server.Counters.Ignored);
        Assert.Equal("REFUSED", Ask("web.example", RecordType.Axfr));
        byte[] chaos = [.. DnsText.Query("version.bind", RecordType.Txt)];
        chaos[^1] = 3;
        Assert.Equal("REFUSED", Receive(DnsText.Client, chaos));
    }

    [Fact]
    public void AnEdnsVersionFromTheFutureIsAnsweredWithOurs()
    {
        Assert.Equal("NOERROR\nadditional: OPT 1232", Receive(DnsText.Client, DnsText.Query("web.example", RecordType.A, edns: 1232, version: 1)));
        // BADVERS is 16: its upper bits are in OPT, six bytes before the end.
        var length = DnsLimits.HeaderSize + DnsText.Question("web.example", RecordType.A).Length + DnsLimits.OptSize;
        Assert.Equal(1, _response[length - 6]);
        Assert.Equal(1, _server.Counters.WithCode((int)ResponseCode.BadVersion));
    }

    [Fact]
    public void WithUpstreamAwayAnOldAnswerIsGivenAfterUnderTwoSecondsAndThenAtOnce()
    {
        Ask("web.example");
        Respond("20 A 192.0.2.9");
        _now += 21_000;
        Assert.Equal("(nothing)", Ask("web.example"));
        var began = _now;
        while (_answers.Count == 1)
            Pass(100);
        Assert.InRange(_now - began, 1_500, 2_000);
        Assert.Equal(("NOERROR\nweb.example. 30 A 192.0.2.9", AnswerSource.Stale), (_answers[1].Text, _answers[1].Source));
        Assert.Equal("NOERROR\nweb.example. 30 A 192.0.2.9", Ask("web.example"));
        Assert.Equal(AnswerSource.Stale, _server.LastSource);
        // And when upstream is back, it is asked again after a while.
        for (var i = 0; i < 350; i++)
            Pass(100);
        Assert.Equal("(nothing)", Ask("web.example"));
        Respond("60 A 192.0.2.10");
        Assert.Equal("NOERROR\nweb.example. 60 A 192.0.2.10", _answers[^1].Text);
    }

    [Fact]
    public void AFailureDoesNotDriveOutAnOldAnswer()
    {
        Ask("web.example");
        Respond("20 A 192.0.2.9");
        _now += 21_000;
        Ask("web.example");
        RespondWith(ResponseCode.ServerFailure);
        Assert.Equal(("NOERROR\nweb.example. 30 A 192.0.2.9", AnswerSource.Stale), (_answers[^1].Text, _answers[^1].Source));
        // Upstream is known to be away: nobody waits for it.
        Assert.Equal("NOERROR\nweb.example. 30 A 192.0.2.9", Ask("web.example"));
    }

    [Fact]
    public void WithoutAnOldAnswerItIsAFailureRememberedForAMoment()
    {
        Ask("web.example");
        for (var i = 0; i < 60; i++)
            Pass(100);
        Assert.Equal(("SERVFAIL", AnswerSource.Failed), (Assert.Single(_answers).Text, _answers[0].Source));
        Assert.Equal("(nothing)", Ask("web.example"));
        RespondWith(ResponseCode.ServerFailure);
        var sent = _upstreams.Sent.Count;
        Assert.Equal("SERVFAIL", Ask("web.example"));
        Assert.Equal(sent, _upstreams.Sent.Count);
        _now += 1_000;
        Assert.Equal("(nothing)", Ask("web.example"));
    }

    [Fact]
    public void AMuchAskedNameIsFetchedBeforeItEnds()
    {
        Ask("web.example");
        Respond("20 A 192.0.2.9");
        for (var i = 0; i < 5; i++)
            Ask("web.example");
        _now += 19_000;
        Assert.Equal("NOERROR\nweb.example. 1 A 192.0.2.9", Ask("web.example"));
        Assert.Equal(1, _server.Counters.Prefetches);
        Respond("20 A 192.0.2.10");
        Assert.Equal("NOERROR\nweb.example. 20 A 192.0.2.10", Ask("web.example"));
        Assert.Single(_answers);
    }

    [Fact]
    public void AliasesOfTheZoneAreFollowedUpstreamAndInTheZone()
    {
        _server = Make(new AliasZone());
        Assert.Equal("(nothing)", Ask("Out.zone"));
        Assert.Equal("target.example.", DnsText.NameAt(_upstreams.Open[0].Message, 12));
        Respond("60 CNAME lb.example", "60 A 192.0.2.9");
        Assert.Equal("NOERROR\nOut.zone. 9 CNAME target.example.\ntarget.example. 60 CNAME lb.example.\nlb.example. 60 A 192.0.2.9", Assert.Single(_answers).Text);
        _now += 10_000;
        Assert.Equal("NOERROR\nout.zone. 9 CNAME target.example.\ntarget.example. 50 CNAME lb.example.\nlb.example. 50 A 192.0.2.9\nadditional: OPT 1232", Ask("out.zone", edns: 1232));
        Assert.Equal("NOERROR\nin.zone. 9 CNAME address.zone.\naddress.zone. 9 A 192.0.2.77", Ask("in.zone"));
        Assert.Equal("NOERROR\nout.zone. 9 CNAME target.example.", Ask("out.zone", RecordType.Txt));
    }

    [Fact]
    public void AnAliasThatLeadsInACircleEnds()
    {
        _server = Make(new AliasZone());
        Assert.StartsWith("SERVFAIL\ncircle.zone. 9 CNAME circle.zone.", Ask("circle.zone"), StringComparison.Ordinal);
    }

    [Fact]
    public void AnswersOfOneAddressAreBoundedInEachSecond()
    {
        _server = Make(new AliasZone(), perSecond: 10);
        for (var i = 0; i < 20; i++)
            Assert.Equal(i < 10 ? "NOERROR" : "(nothing)", Ask("address.zone").Split('\n')[0]);
        Assert.Equal(10, _server.Counters.RateLimited);
        Assert.NotEqual("(nothing)", Receive(DnsText.Client with { Address = 5 }, DnsText.Query("address.zone", RecordType.A)));
        // A stream's address is not forged.
        Assert.NotEqual("(nothing)", Receive(DnsText.StreamClient, DnsText.Query("address.zone", RecordType.A)));
        _now += 1_000;
        Assert.NotEqual("(nothing)", Ask("address.zone"));
    }

    [Fact]
    public void AnUpstreamThatAsksUsIsFound()
    {
        _server.LookForLoop(DnsText.Name("abc.loop"), _now);
        Assert.False(_server.SeesItself);
        Assert.Equal("REFUSED", Receive(DnsText.Client, _upstreams.Open[0].Message).Split('\n')[0]);
        Assert.True(_server.SeesItself);
        // Each of them is asked, and nobody waits for those who say nothing.
        _server.Forwarder.Use(UpstreamTable.ForAll(One, Two));
        _server.LookForLoop(DnsText.Name("def.loop"), _now);
        Assert.False(_server.SeesItself);
        Assert.Equal(["udp 192.0.2.1", "udp 192.0.2.2"], _upstreams.Sent[^2..]);
        Pass(2_000);
        Assert.Empty(_upstreams.Open);
    }

    [Fact]
    public void WhatIsAnsweredAtOnceAllocatesNothing()
    {
        _server = Make(new AliasZone());
        Ask("web.example");
        Respond("60 CNAME lb.example", "60 A 192.0.2.9", "60 A 192.0.2.10");
        Ask("no.example");
        RespondWith(ResponseCode.NameError, "authority:60 SOA 60");
        Ask("out.zone");
        Respond("60 A 192.0.2.9");
        byte[][] queries =
        [
            DnsText.Query("web.example", RecordType.A), DnsText.Query("no.example", RecordType.A, edns: 1232), DnsText.Query("out.zone", RecordType.A), DnsText.Query("address.zone", RecordType.A),
        ];
        for (var i = 0; i < 100; i++)
            AskAll();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
            AskAll();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void AskAll()
        {
            foreach (var query in queries)
                Assert.True(_server.Receive(DnsText.Client, query, _response, _now) > 12);
        }
    }

    void IAnswerSink.Answer(in DnsClient client, ReadOnlySpan<byte> message, AnswerSource source) => _answers.Add((client, DnsText.Show(message), source));

    private DnsServer Make(IZone zone, int perSecond = 1_000_000)
    {
        var options = new DnsServerOptions
        {
            Allows = client => client.Address < 0xC0000000,
            MaxAnswersPerSecond = perSecond,
            Cache = new AnswerCacheOptions { MaxPositive = 300 },
        };
        var server = new DnsServer(options, zone, this, _upstreams, () => ++_id, 42);
        server.Forwarder.Use(UpstreamTable.ForAll(One));
        return server;
    }

    private string Ask(string name, RecordType type = RecordType.A, int edns = 0) => Receive(DnsText.Client, DnsText.Query(name, type, edns));

    private string Receive(DnsClient client, byte[] request) => DnsText.Show(_response, _server.Receive(client, request, _response, _now));

    private void Respond(params string[] records) => RespondWith(ResponseCode.NoError, records);

    private void RespondWith(ResponseCode code, params string[] records)
    {
        var (exchange, query) = _upstreams.To(One);
        _server.Forwarder.Received(exchange, DnsText.Reply(query, code, records), _now);
    }

    private void Pass(int milliseconds)
    {
        _now += milliseconds;
        _server.Forwarder.Tick(_now);
    }

    /// <summary>address.zone, and aliases to it, to elsewhere, and to themselves.</summary>
    private sealed class AliasZone : IZone
    {
        private static readonly byte[] Zone = DnsText.Name("zone");
        private static readonly byte[] Target = DnsText.Name("target.example");
        private static readonly byte[] Address = DnsText.Name("address.zone");
        private static readonly byte[] Circle = DnsText.Name("circle.zone");
        private static readonly byte[] Out = DnsText.Name("out.zone");
        private static readonly byte[] In = DnsText.Name("in.zone");

        public ZoneResult Answer(scoped in DnsQuery query, uint turn, scoped ref MessageWriter writer, scoped Span<byte> alias, out int aliasLength)
        {
            aliasLength = 0;
            if (!WireName.IsWithin(query.Name, Zone))
                return ZoneResult.NotOurs;
            if (WireName.EqualsIgnoringCase(query.Name, Address))
            {
                writer.BeginRecord(12, RecordType.A, 9);
                writer.PutData([192, 0, 2, 77]);
                writer.EndRecord(Section.Answer);
                return ZoneResult.Answered;
            }

            var target = WireName.EqualsIgnoringCase(query.Name, Out) ? Target : WireName.EqualsIgnoringCase(query.Name, In) ? Address : Circle;
            writer.BeginRecord(12, RecordType.CName, 9);
            writer.PutData(target);
            writer.EndRecord(Section.Answer);
            target.CopyTo(alias);
            aliasLength = target.Length;
            return ZoneResult.Alias;
        }
    }
}
