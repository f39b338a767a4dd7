using EdgeMesh.Dns.Messages;

namespace EdgeMesh.Dns.Caching;

/// <summary>Bounds of what is remembered. Times to live are in seconds.</summary>
public sealed record AnswerCacheOptions
{
    public int MaxBytes { get; init; } = 4 * 1024 * 1024;

    /// <summary>No answer is kept longer, whatever it says.</summary>
    public int MaxPositive { get; init; } = 30;

    /// <summary>The same for what says that there is none (RFC 2308).</summary>
    public int MaxNegative { get; init; } = 30;

    /// <summary>How long it is known that nobody could say (RFC 9520).</summary>
    public int Failure { get; init; } = 1;

    /// <summary>How long beyond its time an answer may be served while upstream is away (RFC 8767).</summary>
    public TimeSpan Stale { get; init; } = TimeSpan.FromDays(1);

    /// <summary>What clients are told of a stale answer (RFC 8767, 5.11).</summary>
    public int StaleSeconds { get; init; } = 30;

    /// <summary>After upstream was found away, stale answers are given at once for so long.</summary>
    public TimeSpan StaleRetry { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>An answer that was asked for so often is fetched again before it ends.</summary>
    public int PrefetchHits { get; init; } = 3;

    /// <summary>The last part of its time in which that is done, in percent.</summary>
    public int PrefetchPercent { get; init; } = 10;
}

public enum Freshness
{
    Fresh,

    /// <summary>Fresh, near its end and much asked for.</summary>
    Hot,

    /// <summary>Over, but of use while upstream is away.</summary>
    Stale,

    /// <summary>Stale, and upstream was found away a moment ago.</summary>
    StaleAndAway,
}

/// <summary>Answers by question, without case. Owned by one thread. What was used least lately goes first when the bytes are used up.</summary>
public sealed class AnswerCache
{
    private const int FirstBuckets = 256;

    private readonly AnswerCacheOptions _options;
    private readonly ulong _seed;
    private readonly long _staleMilliseconds;
    private CachedAnswer?[] _buckets = new CachedAnswer?[FirstBuckets];
    private CachedAnswer? _newest;
    private CachedAnswer? _oldest;

    /// <param name="seed">Random, so that nobody can choose names that share a bucket.</param>
    public AnswerCache(AnswerCacheOptions options, ulong seed)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _seed = seed;
        _staleMilliseconds = (long)options.Stale.TotalMilliseconds;
    }

    public int Count { get; private set; }

    public long Bytes { get; private set; }

    public long Evictions { get; private set; }

    /// <summary>Requests that differ in more than their question: DO and CD change the answer (RFC 4035, 4.7).</summary>
    public static byte VariantOf(in DnsQuery query) => (byte)((query.DnssecOk ? 1 : 0) | (query.CheckingDisabled ? 2 : 0));

    /// <param name="question">Name, type and class.</param>
    /// <returns>Null: unknown, or too old even to be served stale.</returns>
    public CachedAnswer? Find(ReadOnlySpan<byte> question, byte variant, long now, out Freshness freshness)
    {
        var answer = Find(question, variant, byName: false) ?? Find(question, variant, byName: true);
        freshness = Freshness.Fresh;
        if (answer is null)
            return null;
        if (now < answer.ExpiresAt)
        {
            answer.Hits++;
            var last = (answer.ExpiresAt - answer.StoredAt) * _options.PrefetchPercent / 100;
            if (answer.Hits >= _options.PrefetchHits && answer.ExpiresAt - now <= last && now >= answer.RetryAt)
                freshness = Freshness.Hot;
            Touch(answer);
            return answer;
        }

        // That nobody could say is of no use afterwards.
        if (now - answer.ExpiresAt > _staleMilliseconds || answer.Code is not (ResponseCode.NoError or ResponseCode.NameError))
        {
            Remove(answer);
            return null;
        }

        freshness = now < answer.RetryAt ? Freshness.StaleAndAway : Freshness.Stale;
        Touch(answer);
        return answer;
    }

    /// <summary>Keeps an answer in the place of the one before.</summary>
    public void Store(CachedAnswer answer, byte variant, long now)
    {
        ArgumentNullException.ThrowIfNull(answer);
        if (answer.ExpiresAt <= now || answer.Cost > _options.MaxBytes)
            return;
        // What a name has of a type is no longer true when the name is gone, and the other way round.
        if (Find(answer.Question, variant, byName: false) is { } before)
            Remove(before);
        if (Find(answer.Question, variant, byName: true) is { } denied)
            Remove(denied);
        answer.KeyedByName = answer.DeniesName;
        answer.Variant = variant;
        answer.Hash = HashOf(answer.Question, variant, answer.KeyedByName);
        if (Count >= _buckets.Length)
            Grow();
        ref var bucket = ref Bucket(answer.Hash);
        answer.Next = bucket;
        bucket = answer;
        Link(answer);
        Count++;
        Bytes += answer.Cost;
        while (Bytes > _options.MaxBytes && _oldest is { } oldest)
        {
            Remove(oldest);
            Evictions++;
        }
    }

    /// <summary>Upstream could not say what has become of it: whoever asks is given this one at once for a while.</summary>
    public void KeepThroughFailure(CachedAnswer answer, long now)
    {
        ArgumentNullException.ThrowIfNull(answer);
        answer.RetryAt = now + (long)_options.StaleRetry.TotalMilliseconds;
    }

    public void Clear()
    {
        Array.Clear(_buckets);
        (_newest, _oldest, Count, Bytes) = (null, null, 0, 0);
    }

    private CachedAnswer? Find(ReadOnlySpan<byte> question, byte variant, bool byName)
    {
        var hash = HashOf(question, variant, byName);
        for (var answer = Bucket(hash); answer is not null; answer = answer.Next)
        {
            if (answer.Hash == hash && answer.Variant == variant && answer.KeyedByName == byName
                && (byName ? WireName.EqualsIgnoringCase(answer.Question[..^4], question[..^4]) && answer.Question[^2..].SequenceEqual(question[^2..])
                    : WireName.EqualsIgnoringCase(answer.Question[..^4], question[..^4]) && answer.Question[^4..].SequenceEqual(question[^4..])))
            {
                return answer;
            }
        }

        return null;
    }

    private ulong HashOf(ReadOnlySpan<byte> question, byte variant, bool byName)
    {
        var type = byName ? 0u : (uint)((question[^4] << 8) | question[^3]);
        return (WireName.Hash(question[..^4], _seed) * 31) + (type << 2) + variant;
    }

    private ref CachedAnswer? Bucket(ulong hash) => ref _buckets[(int)(hash & (uint)(_buckets.Length - 1))];

    private void Grow()
    {
        _buckets = new CachedAnswer?[_buckets.Length * 2];
        for (var answer = _newest; answer is not null; answer = answer.Older)
        {
            ref var bucket = ref Bucket(answer.Hash);
            answer.Next = bucket;
            bucket = answer;
        }
    }

    private void Remove(CachedAnswer answer)
    {
        ref var at = ref Bucket(answer.Hash);
        if (ReferenceEquals(at, answer))
        {
            at = answer.Next;
        }
        else
        {
            var before = at!;
            while (!ReferenceEquals(before.Next, answer))
                before = before.Next!;
            before.Next = answer.Next;
        }

        answer.Next = null;
        Unlink(answer);
        Count--;
        Bytes -= answer.Cost;
    }

    private void Touch(CachedAnswer answer)
    {
        if (ReferenceEquals(_newest, answer))
            return;
        Unlink(answer);
        Link(answer);
    }

    private void Link(CachedAnswer answer)
    {
        answer.Older = _newest;
        answer.Newer = null;
        if (_newest is not null)
            _newest.Newer = answer;
        _newest = answer;
        _oldest ??= answer;
    }

    private void Unlink(CachedAnswer answer)
    {
        if (answer.Newer is null)
            _newest = answer.Older;
        else
            answer.Newer.Older = answer.Older;
        if (answer.Older is null)
            _oldest = answer.Newer;
        else
            answer.Older.Newer = answer.Newer;
        answer.Newer = answer.Older = null;
    }
}
