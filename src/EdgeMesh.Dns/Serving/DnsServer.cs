using System.Diagnostics.CodeAnalysis;
using EdgeMesh.Dns.Caching;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;

namespace EdgeMesh.Dns.Serving;

public sealed record DnsServerOptions
{
    public AnswerCacheOptions Cache { get; init; } = new();

    public ForwarderOptions Forwarder { get; init; } = new();

    /// <summary>Who may ask at all: an open resolver would answer the world, and whomever it pretends to be.</summary>
    public required Func<DnsClient, bool> Allows { get; init; }

    /// <summary>Answers by UDP for one client address in a second.</summary>
    public int MaxAnswersPerSecond { get; init; } = 200_000;

    /// <summary>Aliases of the own zone that lead to aliases of the own zone.</summary>
    public int MaxAliases { get; init; } = 8;
}

/// <summary>
/// A server, forwarder and cache as decisions without I/O. The way of a request:
/// <code>
///   may the client ask -> can it be read -> the own zone -> the cache -> upstream, and the request waits
/// </code>
/// One thread owns it; times are milliseconds on the caller's clock. What is answered at once allocates nothing.
/// </summary>
public sealed class DnsServer : IForwarderOwner
{
    private readonly DnsServerOptions _options;
    private readonly IZone _zone;
    private readonly IAnswerSink _sink;
    private readonly AnswerCache _cache;
    private readonly Forwarder _forwarder;
    private readonly ResponseRate _rate;
    private readonly byte[] _answer = new byte[DnsLimits.MaxMessage];
    private readonly byte[] _behindAlias = new byte[DnsLimits.MaxMessage];
    private readonly byte[] _aliasQuestion = new byte[DnsLimits.MaxQuestion];
    private int _aliasQuestionLength;
    private byte[]? _ownQuestion;
    private uint _turn;

    /// <param name="sockets">Where questions leave.</param>
    /// <param name="nextId">A random number for each message to an upstream.</param>
    /// <param name="seed">Random too: for tables that clients' input is sorted into.</param>
    public DnsServer(DnsServerOptions options, IZone zone, IAnswerSink sink, IUpstreamSockets sockets, Func<ushort> nextId, ulong seed)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _zone = zone;
        _sink = sink;
        _cache = new AnswerCache(options.Cache, seed);
        _forwarder = new Forwarder(options.Forwarder, sockets, this, nextId);
        _rate = new ResponseRate(options.MaxAnswersPerSecond, seed);
    }

    public Forwarder Forwarder => _forwarder;

    public AnswerCache Cache => _cache;

    public DnsCounters Counters { get; } = new();

    /// <summary>A question of this server came back to it: an upstream asks us.</summary>
    public bool SeesItself { get; private set; }

    /// <summary>Where the answer that <see cref="Receive"/> gave last came from.</summary>
    public AnswerSource LastSource { get; private set; }

    /// <summary>Takes a request.</summary>
    /// <param name="response">Room for the answer: <see cref="DnsLimits.LargestUdp"/> for a datagram, a whole message for a stream.</param>
    /// <returns>The length of the answer; 0: none, or later to the <see cref="IAnswerSink"/>.</returns>
    public int Receive(in DnsClient client, ReadOnlySpan<byte> request, Span<byte> response, long now)
    {
        Counters.CountRequest(client.IsStream);
        var fault = DnsQuery.Read(request, out var query);
        if (fault == QueryFault.Silence)
        {
            Counters.CountIgnored();
            return 0;
        }

        if (!client.IsStream)
        {
            // A datagram's address may be forged, and what is sent there is nobody's wish.
            if (!_rate.TryTake(client, now))
            {
                Counters.CountRateLimited();
                return 0;
            }

            response = response[..Math.Min(response.Length, query.UdpLimit)];
        }

        if (!_options.Allows(client))
        {
            Counters.CountRefusedClient();
            return Say(query, ResponseCode.Refused, AnswerSource.Refused, response);
        }

        if (fault != QueryFault.None)
            return Say(query, CodeOf(fault), fault == QueryFault.FormatError ? AnswerSource.Malformed : AnswerSource.Refused, response);
        if (query.Class != DnsLimits.ClassInternet || query.Type is RecordType.None or RecordType.Opt or (>= RecordType.Ixfr and <= RecordType.MailA) or (> (RecordType)127 and < RecordType.Ixfr))
            return Say(query, ResponseCode.Refused, AnswerSource.Refused, response);
        var length = Answer(query, response, now, resolved: null, out var source);
        if (length > 0)
        {
            Count(source, response[3] & DnsHeader.CodeMask);
            return length;
        }

        return Forward(client, request, query, _aliasQuestionLength > 0 ? _aliasQuestion.AsSpan(0, _aliasQuestionLength) : query.Question, response, now);
    }

    /// <summary>Sends a question that nobody else asks to all upstreams; <see cref="SeesItself"/> tells whether it came back.</summary>
    /// <param name="name">Of random letters.</param>
    public void LookForLoop(ReadOnlySpan<byte> name, long now)
    {
        _ownQuestion = [.. name, 0, (byte)RecordType.HInfo, 0, 1];
        SeesItself = false;
        _forwarder.AskEach(_ownQuestion, now);
    }

    void IForwarderOwner.Resolved(PendingQuestion question, ReadOnlySpan<byte> message, long now)
    {
        CachedAnswer? answer = null;
        if (!message.IsEmpty)
        {
            answer = CachedAnswer.From(message, _options.Cache, now);
            // An answer that says only that its server cannot say must not drive out one that was good.
            if (answer is { Code: ResponseCode.NoError or ResponseCode.NameError })
                _cache.Store(answer, question.Variant, now);
            else if (StaleOf(question, now) is null && answer is not null)
                _cache.Store(answer, question.Variant, now);
        }

        var source = AnswerSource.Upstream;
        if (answer is null || answer.Code is not (ResponseCode.NoError or ResponseCode.NameError))
        {
            if (StaleOf(question, now) is { } stale)
            {
                _cache.KeepThroughFailure(stale, now);
                (answer, source) = (stale, AnswerSource.Stale);
            }
            else if (answer is null)
            {
                answer = CachedAnswer.Failed(question.Question, _options.Cache, now);
                _cache.Store(answer, question.Variant, now);
            }

            if (source != AnswerSource.Stale)
                source = AnswerSource.Failed;
        }

        Tell(question, answer, source, now);
    }

    bool IForwarderOwner.StaleIsDue(PendingQuestion question, long now)
    {
        if (StaleOf(question, now) is not { } stale)
            return false;
        _cache.KeepThroughFailure(stale, now);
        Tell(question, stale, AnswerSource.Stale, now);
        return true;
    }

    private CachedAnswer? StaleOf(PendingQuestion question, long now) => _cache.Find(question.Question, question.Variant, now, out _);

    private void Tell(PendingQuestion question, CachedAnswer answer, AnswerSource source, long now)
    {
        foreach (var waiter in Forwarder.WaitersOf(question))
        {
            if (DnsQuery.Read(waiter.Request, out var query) != QueryFault.None)
                continue;
            var room = _answer.AsSpan(0, waiter.Client.IsStream ? DnsLimits.MaxMessage : query.UdpLimit);
            var length = Answer(query, room, now, answer, out _);
            if (length == 0)
                length = Say(query, ResponseCode.ServerFailure, AnswerSource.Failed, room);
            else
                Counters.CountAnswer(source, room[3] & DnsHeader.CodeMask);
            _sink.Answer(waiter.Client, room[..length], source);
        }
    }

    /// <summary>Answers from the zone, the cache, or <paramref name="resolved"/>, which has just come from upstream.</summary>
    /// <returns>0: upstream is to be asked, for what an alias leads to where <see cref="_aliasQuestionLength"/> says so.</returns>
    private int Answer(scoped in DnsQuery query, Span<byte> response, long now, CachedAnswer? resolved, out AnswerSource source)
    {
        source = AnswerSource.Zone;
        _aliasQuestionLength = 0;
        if (_ownQuestion is { } own && query.Question.Length == own.Length && WireName.EqualsIgnoringCase(query.Name, own.AsSpan(0, own.Length - 4)))
        {
            SeesItself = true;
            Counters.CountLoop();
            source = AnswerSource.Refused;
            return Say(query, ResponseCode.Refused, response);
        }

        var turn = _turn++;
        var writer = MessageWriter.Answer(query, response, 0);
        Span<byte> alias = stackalloc byte[DnsLimits.MaxName];
        switch (_zone.Answer(query, turn, ref writer, alias, out var aliasLength))
        {
            case ZoneResult.Answered:
                return Finish(query, ref writer);
            case ZoneResult.Alias:
                return Follow(query, ref writer, alias, aliasLength, now, resolved, ref source);
            default:
                break;
        }

        var answer = IsFor(resolved, query.Question) ? resolved : Lookup(query.Question, AnswerCache.VariantOf(query), now, out source);
        if (answer is null)
            return 0;
        return answer.Write(query, response, now, _options.Cache.StaleSeconds, turn);
    }

    /// <summary>An alias of the zone, and what it leads to: of the zone again, of the cache, or of upstream.</summary>
    private int Follow(
        scoped in DnsQuery query, scoped ref MessageWriter writer, scoped Span<byte> alias, int aliasLength, long now, CachedAnswer? resolved, ref AnswerSource source)
    {
        // For any other type the alias is the answer.
        if (query.Type is not (RecordType.A or RecordType.Aaaa))
            return Finish(query, ref writer);
        for (var i = 0; i < _options.MaxAliases; i++)
        {
            var question = _aliasQuestion.AsSpan(0, aliasLength + 4);
            alias[..aliasLength].CopyTo(question);
            query.Question[^4..].CopyTo(question[aliasLength..]);
            var behind = new DnsQuery { Question = question, Type = query.Type, Class = query.Class };
            var inner = MessageWriter.Answer(behind, _behindAlias, 0);
            var result = _zone.Answer(behind, _turn, ref inner, alias, out aliasLength);
            if (result == ZoneResult.NotOurs)
            {
                var answer = IsFor(resolved, question) ? resolved : Lookup(question, AnswerCache.VariantOf(query), now, out source);
                if (answer is null)
                {
                    _aliasQuestionLength = question.Length;
                    return 0;
                }

                writer.SetCode(answer.Code);
                Append(answer.Message, answer, now, ref writer);
                return Finish(query, ref writer);
            }

            var length = inner.Finish();
            Append(_behindAlias.AsSpan(0, length), null, now, ref writer);
            if (result == ZoneResult.Answered)
            {
                writer.SetCode((ResponseCode)(_behindAlias[3] & DnsHeader.CodeMask));
                return Finish(query, ref writer);
            }
        }

        writer.SetCode(ResponseCode.ServerFailure);
        return Finish(query, ref writer);
    }

    /// <summary>The zone may have changed while a request waited: then what came is not what it asks for now.</summary>
    private static bool IsFor([NotNullWhen(true)] CachedAnswer? answer, ReadOnlySpan<byte> question) =>
        answer is not null && answer.Question[^4..].SequenceEqual(question[^4..]) && WireName.EqualsIgnoringCase(answer.Question[..^4], question[..^4]);

    private static int Finish(scoped in DnsQuery query, scoped ref MessageWriter writer)
    {
        if (query.HasEdns)
            writer.WriteOpt(DnsLimits.LargestUdp, query.DnssecOk);
        return writer.Finish();
    }

    private int Forward(in DnsClient client, ReadOnlySpan<byte> request, in DnsQuery query, ReadOnlySpan<byte> ask, Span<byte> response, long now)
    {
        var variant = AnswerCache.VariantOf(query);
        // Where an old answer is at hand, upstream has 1.8 s, and then it is given.
        if (_forwarder.Ask(ask, variant, new Waiter(client, request.ToArray()), now))
            return 0;
        if (_cache.Find(ask, variant, now, out _) is { } stale)
        {
            var length = Answer(query, response, now, stale, out _);
            Count(AnswerSource.Stale, response[3] & DnsHeader.CodeMask);
            return length;
        }

        return Say(query, ResponseCode.ServerFailure, AnswerSource.Failed, response);
    }

    private CachedAnswer? Lookup(ReadOnlySpan<byte> question, byte variant, long now, out AnswerSource source)
    {
        source = AnswerSource.Cache;
        var answer = _cache.Find(question, variant, now, out var freshness);
        switch (freshness)
        {
            case Freshness.Hot when answer is not null:
                // Once: a fetch that fails is not begun again for each who asks.
                _cache.KeepThroughFailure(answer, now);
                if (_forwarder.Ask(question, variant, waiter: null, now))
                    Counters.CountPrefetch();
                return answer;
            case Freshness.StaleAndAway:
                source = AnswerSource.Stale;
                return answer;
            case Freshness.Stale:
                return null;
            default:
                return answer;
        }
    }

    private int Say(in DnsQuery query, ResponseCode code, AnswerSource source, Span<byte> response)
    {
        Count(source, (int)code);
        return Say(query, code, response);
    }

    private void Count(AnswerSource source, int code)
    {
        LastSource = source;
        Counters.CountAnswer(source, code);
    }

    private static int Say(in DnsQuery query, ResponseCode code, Span<byte> response)
    {
        var writer = MessageWriter.Answer(query, response, (ushort)((int)code & DnsHeader.CodeMask));
        if (query.HasEdns)
            writer.WriteOpt(DnsLimits.LargestUdp, query.DnssecOk, code);
        return writer.Finish();
    }

    private static ResponseCode CodeOf(QueryFault fault) => fault switch
    {
        QueryFault.NotImplemented => ResponseCode.NotImplemented,
        QueryFault.BadVersion => ResponseCode.BadVersion,
        _ => ResponseCode.FormatError,
    };

    /// <summary>Copies the answers of another message, with their names in full: they would point into that one.</summary>
    private void Append(scoped ReadOnlySpan<byte> message, CachedAnswer? answer, long now, scoped ref MessageWriter writer)
    {
        if (!RecordReader.TryOpen(message, out var records))
            return;
        Span<byte> owner = stackalloc byte[DnsLimits.MaxName];
        Span<byte> target = stackalloc byte[DnsLimits.MaxName];
        while (records.TryNext())
        {
            var record = records.Current;
            // What else stands there (signatures, above all) would be for names that nobody asked for.
            if (record.Section != Section.Answer || record.Type is not (RecordType.A or RecordType.Aaaa or RecordType.CName))
                continue;
            var at = record.Start;
            if (!WireName.TryRead(message, ref at, owner, out var ownerLength))
                return;
            var timeToLive = answer?.Remaining(record.TimeToLive, now, _options.Cache.StaleSeconds) ?? record.TimeToLive;
            writer.BeginRecord(owner[..ownerLength], record.Type, timeToLive);
            if (record.Type == RecordType.CName)
            {
                at = record.DataAt;
                if (!WireName.TryRead(message, ref at, target, out var targetLength))
                    targetLength = 0;
                writer.PutData(target[..targetLength]);
            }
            else
            {
                writer.PutData(record.Data);
            }

            if (!writer.EndRecord(Section.Answer))
            {
                writer.SetFlags(DnsHeader.TruncatedFlag);
                return;
            }
        }
    }
}
