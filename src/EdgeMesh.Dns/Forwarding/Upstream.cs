namespace EdgeMesh.Dns.Forwarding;

/// <summary>One upstream and how it has done. Owned by the forwarder's thread; counters may be read by any.</summary>
public sealed class Upstream(UpstreamServer server)
{
    private const int LongestPause = 30_000;
    private const int Unmeasured = 50;

    private static readonly double[] _bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

    private readonly long[] _latencies = new long[_bounds.Length + 1];
    private double _smoothed;
    private double _latencySum;
    private long _sent;
    private long _answered;
    private long _failed;
    private long _strange;

    public UpstreamServer Server { get; } = server;

    /// <summary>Upper bounds of <see cref="Latencies"/> in seconds; the last count has none.</summary>
    public static ReadOnlySpan<double> LatencyBounds => _bounds;

    public ReadOnlySpan<long> Latencies => _latencies;

    /// <summary>In seconds.</summary>
    public double LatencySum => Volatile.Read(ref _latencySum);

    public long Sent => Volatile.Read(ref _sent);

    public long Answered => Volatile.Read(ref _answered);

    /// <summary>Questions that it did not answer in time, or refused to take.</summary>
    public long Failed => Volatile.Read(ref _failed);

    /// <summary>Messages with another id or question than was asked, or that could not be read.</summary>
    public long Strange => Volatile.Read(ref _strange);

    /// <summary>Failures since the last answer.</summary>
    public int FailuresInARow { get; private set; }

    public bool IsHealthy => FailuresInARow == 0;

    /// <summary>In milliseconds, smoothed; 0 before the first answer.</summary>
    public double RoundTrip => Volatile.Read(ref _smoothed);

    /// <summary>It does not know EDNS.</summary>
    internal bool WithoutEdns { get; set; }

    /// <summary>When one that failed is tried again.</summary>
    internal long RetryAt { get; private set; }

    /// <summary>The order in which upstreams are asked: those that failed last come last.</summary>
    internal double Rank => FailuresInARow == 0 ? _smoothed == 0 ? Unmeasured : _smoothed : 100_000.0 * FailuresInARow;

    /// <summary>How long it is waited for before the next one is asked too: well above its usual time, and below a second.</summary>
    internal int Patience => _smoothed == 0 ? 400 : (int)Math.Clamp(_smoothed * 4, 150, 800);

    internal void CountSent() => Volatile.Write(ref _sent, _sent + 1);

    internal void CountStrange() => Volatile.Write(ref _strange, _strange + 1);

    internal void Answer(double milliseconds)
    {
        Volatile.Write(ref _answered, _answered + 1);
        Volatile.Write(ref _smoothed, _smoothed == 0 ? Math.Max(milliseconds, 0.1) : ((7 * _smoothed) + milliseconds) / 8);
        Volatile.Write(ref _latencySum, _latencySum + (milliseconds / 1000));
        var bucket = 0;
        while (bucket < _bounds.Length && milliseconds / 1000 > _bounds[bucket])
            bucket++;
        Volatile.Write(ref _latencies[bucket], _latencies[bucket] + 1);
        FailuresInARow = 0;
    }

    internal void Fail(long now)
    {
        Volatile.Write(ref _failed, _failed + 1);
        FailuresInARow = Math.Min(FailuresInARow + 1, 1000);
        RetryAt = now + Math.Min(1000L << Math.Min(FailuresInARow - 1, 5), LongestPause);
    }

    /// <summary>One question is sent along to find out whether it is back; the next one waits.</summary>
    internal bool TryProbe(long now)
    {
        if (FailuresInARow == 0 || now < RetryAt)
            return false;
        RetryAt = now + LongestPause;
        return true;
    }

    /// <summary>An upstream that is not asked is not measured: its figure fades, until it is its turn again.</summary>
    internal void Fade() => Volatile.Write(ref _smoothed, _smoothed * 0.98);
}
