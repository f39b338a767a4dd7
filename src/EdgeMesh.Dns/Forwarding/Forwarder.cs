using System.Buffers.Binary;
using System.Runtime.InteropServices;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;

namespace EdgeMesh.Dns.Forwarding;

/// <summary>
/// Asks upstreams, as decisions without I/O:
/// <code>
///   Ask ---> UDP to the best upstream --- answer ------------------> Resolved
///             |            |    '-- truncated -> TCP to the same one --'
///             |            '-- refused, unreachable, SERVFAIL -> the next one at once
///             '-- nothing within its patience (150 to 800 ms) -> the next one too, whoever answers first
///   all asked, or 4.5 s over ---------------------------------> Resolved with nothing
/// </code>
/// One thread owns it. It reads no clock and no random numbers but those that it is given.
/// </summary>
public sealed class Forwarder
{
    // One that is sent so many wrong answers on one port is being guessed at; TCP cannot be guessed.
    private const int MostStrange = 20;

    // One in so many questions shows how the others do.
    private const int FadeEvery = 16;

    private const int ProbeMilliseconds = 1_000;

    private readonly ForwarderOptions _options;
    private readonly IUpstreamSockets _sockets;
    private readonly IForwarderOwner _owner;
    private readonly Func<ushort> _nextId;
    private readonly Dictionary<QuestionKey, PendingQuestion> _pending = [];
    private readonly List<PendingQuestion> _order = [];
    private readonly List<Exchange> _probes = [];
    private readonly Dictionary<(UInt128, bool), int> _perClient = [];
    private readonly Dictionary<UpstreamServer, Upstream> _upstreams = [];
    private readonly byte[] _message = new byte[DnsLimits.HeaderSize + DnsLimits.MaxQuestion + DnsLimits.OptSize];
    private (byte[] Domain, Upstream[] Upstreams)[] _routes = [];
    private Upstream[] _all = [];
    private int _waiting;
    private int _asked;

    /// <param name="nextId">A number that nobody can guess.</param>
    public Forwarder(ForwarderOptions options, IUpstreamSockets sockets, IForwarderOwner owner, Func<ushort> nextId)
    {
        _options = options;
        _sockets = sockets;
        _owner = owner;
        _nextId = nextId;
    }

    public int Pending => _pending.Count;

    public int Waiting => _waiting;

    /// <summary>Every upstream that is configured; an array that is not written to any more.</summary>
    public IReadOnlyList<Upstream> Upstreams => _all;

    /// <summary>Requests that joined a question that was already asked.</summary>
    public long Joined { get; private set; }

    /// <summary>Requests that found no place.</summary>
    public long Refused { get; private set; }

    public static IReadOnlyList<Waiter> WaitersOf(PendingQuestion question)
    {
        ArgumentNullException.ThrowIfNull(question);
        return question.Waiters;
    }

    /// <summary>From now on these are asked. One that was known before keeps what is known of it.</summary>
    public void Use(UpstreamTable table)
    {
        ArgumentNullException.ThrowIfNull(table);
        var known = new Dictionary<UpstreamServer, Upstream>(_upstreams);
        _upstreams.Clear();
        _routes = [.. table.Routes.OrderByDescending(r => r.Domain.Length).Select(r => (r.Domain.ToArray(), r.Servers.Select(Known).Distinct().ToArray()))];
        _all = [.. _upstreams.Values];

        Upstream Known(UpstreamServer server)
        {
            if (!_upstreams.TryGetValue(server, out var upstream))
                _upstreams[server] = upstream = known.TryGetValue(server, out var before) ? before : new Upstream(server);
            return upstream;
        }
    }

    /// <summary>Asks, or joins those who wait for the same.</summary>
    /// <param name="waiter">Null: only the cache wants to know.</param>
    /// <returns>False: there is no upstream, or no place for this client.</returns>
    public bool Ask(ReadOnlySpan<byte> question, byte variant, Waiter? waiter, long now)
    {
        // A copy at once: it is the key's, and the pending question's.
        var bytes = question.ToArray();
        var isKnown = _pending.TryGetValue(new QuestionKey(bytes, variant), out var pending);
        if (!isKnown && _pending.Count >= _options.MaxPending)
        {
            Refused++;
            return false;
        }

        var upstreams = isKnown ? pending!.Order : UpstreamsFor(question[..^4]);
        if (upstreams.Length == 0)
            return false;
        if (waiter is { } who && !TryWait(who.Client))
        {
            Refused++;
            return false;
        }

        if (!isKnown)
        {
            pending = new PendingQuestion(bytes, variant, now) { Order = Ranked(upstreams, now) };
            _pending.Add(new QuestionKey(bytes, variant), pending);
            _order.Add(pending);
        }
        else if (waiter is not null)
        {
            Joined++;
        }

        if (waiter is { } waits)
            pending!.Waiters.Add(waits);
        if (!isKnown)
        {
            AskNext(pending!, now);
            ProbeOthers(pending!, now);
        }

        return true;
    }

    /// <summary>Sends a question to every upstream; nobody waits for the answers.</summary>
    public void AskEach(ReadOnlySpan<byte> question, long now)
    {
        var pending = new PendingQuestion(question.ToArray(), 0, now) { IsOver = true };
        foreach (var upstream in _all)
            Probe(pending, upstream, now);
    }

    /// <summary>A whole message came from where <paramref name="exchange"/> was sent to.</summary>
    public void Received(Exchange exchange, ReadOnlySpan<byte> message, long now)
    {
        ArgumentNullException.ThrowIfNull(exchange);
        if (exchange.IsClosed)
            return;
        var question = exchange.Question;
        if (!Answers(message, exchange, out var header))
        {
            exchange.Upstream.CountStrange();
            if (++exchange.Strange < MostStrange)
                return;
            Close(exchange);
            if (exchange.IsProbe || exchange.Path != UpstreamPath.Udp || !TrySend(question, exchange.Upstream, UpstreamPath.Tcp, exchange.WithEdns, now))
                AskNextAfterFailure(exchange, now);
            return;
        }

        exchange.Upstream.Answer(now - exchange.SentAt);
        Close(exchange);
        if (exchange.IsProbe || question.IsOver)
            return;
        if (header.IsTruncated && exchange.Path == UpstreamPath.Udp)
        {
            if (!TrySend(question, exchange.Upstream, UpstreamPath.Tcp, exchange.WithEdns, now))
                AskNext(question, now);
            return;
        }

        switch (header.Code)
        {
            case ResponseCode.NoError or ResponseCode.NameError:
                End(question, message, now);
                break;
            case ResponseCode.FormatError or ResponseCode.NotImplemented when exchange.WithEdns:
                // RFC 6891, 7.
                exchange.Upstream.WithoutEdns = true;
                if (!TrySend(question, exchange.Upstream, exchange.Path, withEdns: false, now))
                    AskNext(question, now);
                break;
            default:
                question.Unsaid = message.ToArray();
                AskNext(question, now);
                break;
        }
    }

    /// <summary>The socket of an exchange failed: refused, reset, unreachable, or closed by the upstream.</summary>
    public void Failed(Exchange exchange, long now)
    {
        ArgumentNullException.ThrowIfNull(exchange);
        if (exchange.IsClosed)
            return;
        Close(exchange);
        AskNextAfterFailure(exchange, now);
    }

    /// <summary>Whether <see cref="Tick"/> has anything to do.</summary>
    public bool NeedsTicks => _order.Count > 0 || _probes.Count > 0;

    /// <summary>Called a few times a second while questions are pending.</summary>
    public void Tick(long now)
    {
        for (var i = _order.Count - 1; i >= 0; i--)
        {
            // Questions may end, and others take their places.
            if (i < _order.Count)
                Look(_order[i], now);
        }

        for (var i = _probes.Count - 1; i >= 0; i--)
        {
            var probe = _probes[i];
            if (now - probe.SentAt < ProbeMilliseconds)
                continue;
            FailOnce(probe, now);
            Close(probe);
        }
    }

    /// <summary>Gives everything up, when the server ends.</summary>
    public void Abandon(long now)
    {
        while (_order.Count > 0)
            End(_order[^1], [], now);
        while (_probes.Count > 0)
            Close(_probes[^1]);
    }

    private void Look(PendingQuestion question, long now)
    {
        if (now - question.AskedAt >= (long)_options.GiveUpAfter.TotalMilliseconds)
        {
            foreach (var exchange in question.Open)
                FailOnce(exchange, now);
            End(question, question.Unsaid, now);
            return;
        }

        if (!question.StaleWasDue && now - question.AskedAt >= (long)_options.StaleAfter.TotalMilliseconds)
        {
            question.StaleWasDue = true;
            if (_owner.StaleIsDue(question, now))
                Forget(question);
        }

        if (now < question.NextAttemptAt || question.Attempts >= _options.MaxAttempts)
            return;
        foreach (var exchange in question.Open)
            FailOnce(exchange, now);
        AskNext(question, now);
    }

    private void FailOnce(Exchange exchange, long now)
    {
        if (exchange.IsLate)
            return;
        exchange.IsLate = true;
        exchange.Upstream.Fail(now);
    }

    private void AskNextAfterFailure(Exchange exchange, long now)
    {
        FailOnce(exchange, now);
        if (!exchange.IsProbe && !exchange.Question.IsOver)
            AskNext(exchange.Question, now);
    }

    /// <summary>To the next upstream, or when all have been asked and none is still expected to answer, the end.</summary>
    private void AskNext(PendingQuestion question, long now)
    {
        for (var tried = 0; tried < question.Order.Length && question.Attempts < _options.MaxAttempts; tried++)
        {
            // Who said that he cannot say is not asked again.
            if (question.Unsaid is not null && question.Attempts >= question.Order.Length)
                break;
            var round = question.Attempts / question.Order.Length;
            var upstream = question.Order[question.Attempts % question.Order.Length];
            question.Attempts++;
            question.NextAttemptAt = now + Math.Min(upstream.Patience << Math.Min(round, 3), 1000);
            // A stream loses nothing: who is asked by one has the question.
            if (question.Open.Exists(e => e.Upstream == upstream && e.Path != UpstreamPath.Udp))
                continue;
            if (TrySend(question, upstream, PathOf(upstream), !upstream.WithoutEdns, now))
                return;
            upstream.Fail(now);
        }

        if (question.Open.Count == 0)
            End(question, question.Unsaid, now);
    }

    private bool TrySend(PendingQuestion question, Upstream upstream, UpstreamPath path, bool withEdns, long now)
    {
        var exchange = new Exchange(question, upstream, path, _nextId(), now) { WithEdns = withEdns };
        question.Open.Add(exchange);
        upstream.CountSent();
        if (path == UpstreamPath.Tcp)
            question.NextAttemptAt = now + 1000;
        if (_sockets.TryOpen(exchange, Compose(exchange)))
            return true;
        exchange.IsClosed = true;
        question.Open.Remove(exchange);
        return false;
    }

    private ReadOnlySpan<byte> Compose(Exchange exchange)
    {
        var question = exchange.Question;
        var writer = new MessageWriter(_message);
        writer.Begin(exchange.Id, (ushort)(DnsHeader.RecursionDesired | ((question.Variant & 2) != 0 ? DnsHeader.CheckingDisabled : 0)));
        writer.WriteQuestion(question.Bytes);
        if (exchange.WithEdns)
            writer.WriteOpt(DnsLimits.LargestUdp, (question.Variant & 1) != 0);
        return _message.AsSpan(0, writer.Finish());
    }

    /// <summary>Upstreams that failed a while ago are sent the same question too, so that who waits does not wait for them. Their
    /// answer tells that they are back, and nothing else: it mostly comes when the question has been answered.</summary>
    private void ProbeOthers(PendingQuestion question, long now)
    {
        foreach (var upstream in question.Order)
        {
            if (!question.Open.Exists(e => e.Upstream == upstream) && upstream.TryProbe(now))
                Probe(question, upstream, now);
        }
    }

    private void Probe(PendingQuestion question, Upstream upstream, long now)
    {
        var probe = new Exchange(question, upstream, PathOf(upstream), _nextId(), now) { WithEdns = !upstream.WithoutEdns, IsProbe = true };
        _probes.Add(probe);
        upstream.CountSent();
        if (_sockets.TryOpen(probe, Compose(probe)))
            return;
        probe.IsClosed = true;
        _probes.Remove(probe);
        upstream.Fail(now);
    }

    private static UpstreamPath PathOf(Upstream upstream) => upstream.Server.TlsName is null ? UpstreamPath.Udp : UpstreamPath.Tls;

    private static bool Answers(ReadOnlySpan<byte> message, Exchange exchange, out DnsHeader header)
    {
        var question = exchange.Question.Bytes;
        if (!DnsHeader.TryRead(message, out header) || !header.IsResponse || header.Opcode != 0 || header.Id != exchange.Id)
            return false;
        // One that knows no EDNS may send back the header alone.
        if (header.Questions == 0 && header.Code is ResponseCode.FormatError or ResponseCode.NotImplemented or ResponseCode.ServerFailure or ResponseCode.Refused)
            return true;
        return header.Questions == 1
            && message.Length >= DnsLimits.HeaderSize + question.Length
            && WireName.EqualsIgnoringCase(message.Slice(DnsLimits.HeaderSize, question.Length - 4), question.AsSpan(0, question.Length - 4))
            && message.Slice(DnsLimits.HeaderSize + question.Length - 4, 4).SequenceEqual(question.AsSpan(question.Length - 4))
            && Reads(message);
    }

    private static bool Reads(ReadOnlySpan<byte> message)
    {
        if (!RecordReader.TryOpen(message, out var records))
            return false;
        while (records.TryNext())
        {
        }

        // A truncated one may end anywhere, and is not used.
        return !records.IsMalformed || (message[2] & (DnsHeader.TruncatedFlag >> 8)) != 0;
    }

    private void End(PendingQuestion question, ReadOnlySpan<byte> message, long now)
    {
        if (question.IsOver)
            return;
        question.IsOver = true;
        _pending.Remove(new QuestionKey(question.Bytes, question.Variant));
        _order.Remove(question);
        // Who is late is closed with the question, so that no socket outlives it. It has answered nothing: that is no news.
        while (question.Open.Count > 0)
            Close(question.Open[^1]);
        _owner.Resolved(question, message, now);
        Forget(question);
    }

    private void Forget(PendingQuestion question)
    {
        foreach (var waiter in question.Waiters)
        {
            var key = (waiter.Client.Address, waiter.Client.IsIPv6);
            ref var count = ref CollectionsMarshal.GetValueRefOrNullRef(_perClient, key);
            if (--count == 0)
                _perClient.Remove(key);
        }

        _waiting -= question.Waiters.Count;
        question.Waiters.Clear();
    }

    private bool TryWait(in DnsClient client)
    {
        if (_waiting >= _options.MaxWaiters)
            return false;
        ref var count = ref CollectionsMarshal.GetValueRefOrAddDefault(_perClient, (client.Address, client.IsIPv6), out _);
        if (count >= _options.MaxPendingOfClient)
            return false;
        count++;
        _waiting++;
        return true;
    }

    private void Close(Exchange exchange)
    {
        exchange.IsClosed = true;
        _ = exchange.IsProbe ? _probes.Remove(exchange) : exchange.Question.Open.Remove(exchange);
        _sockets.Close(exchange);
    }

    private Upstream[] UpstreamsFor(ReadOnlySpan<byte> name)
    {
        foreach (var (domain, upstreams) in _routes)
        {
            if (WireName.IsWithin(name, domain))
                return upstreams;
        }

        return [];
    }

    private Upstream[] Ranked(Upstream[] upstreams, long now)
    {
        if (upstreams.Length == 1)
            return upstreams;
        var ranked = (Upstream[])upstreams.Clone();
        Array.Sort(ranked, static (a, b) => a.Rank.CompareTo(b.Rank));
        if (++_asked % FadeEvery == 0)
        {
            foreach (var other in ranked.AsSpan(1))
                other.Fade();
        }

        return ranked;
    }

    /// <summary>A question without the case of its name.</summary>
    private readonly struct QuestionKey(byte[] question, byte variant) : IEquatable<QuestionKey>
    {
        private readonly byte[] _question = question;
        private readonly byte _variant = variant;

        public bool Equals(QuestionKey other) => _variant == other._variant
            && _question.Length == other._question.Length
            && WireName.EqualsIgnoringCase(_question.AsSpan(0, _question.Length - 4), other._question.AsSpan(0, _question.Length - 4))
            && _question.AsSpan(_question.Length - 4).SequenceEqual(other._question.AsSpan(_question.Length - 4));

        public override bool Equals(object? obj) => obj is QuestionKey other && Equals(other);

        public override int GetHashCode() =>
            HashCode.Combine(WireName.Hash(_question.AsSpan(0, _question.Length - 4), Seed), BinaryPrimitives.ReadUInt32BigEndian(_question.AsSpan(_question.Length - 4)), _variant);

        // Names that meet cost a look at each of the few that are pending.
        private const ulong Seed = 0x9E3779B97F4A7C15;
    }
}
