using EdgeMesh.LibP2P.Admission;

namespace EdgeMesh.LibP2P.Yamux;

/// <summary>How often a peer may do what costs it a few bytes and this side more: so many at once, so many a second after that.
/// Whoever exceeds a bound ends his session. The defaults are beyond what any honest peer does, and below what costs anything.</summary>
public sealed record YamuxPaceOptions
{
    /// <summary>Streams that the peer opens.</summary>
    public (int AtOnce, int PerSecond) Opened { get; init; } = (65_536, 50_000);

    /// <summary>Of these, those that end without a byte of answer: given up at once, refused, or ended as soon as begun.</summary>
    public (int AtOnce, int PerSecond) Fruitless { get; init; } = (16_384, 500);

    /// <summary>Pings that want an answer.</summary>
    public (int AtOnce, int PerSecond) Pings { get; init; } = (256, 20);

    /// <summary>Window updates. An honest peer sends one for half a window of what it was sent.</summary>
    public (int AtOnce, int PerSecond) WindowUpdates { get; init; } = (65_536, 20_000);

    /// <summary>Frames that say nothing: no data, no window, no flag, answers to no question, and good-byes.</summary>
    public (int AtOnce, int PerSecond) Empty { get; init; } = (1_024, 100);

    /// <summary>Ends and resets of streams that are gone already. Some cross on the way.</summary>
    public (int AtOnce, int PerSecond) Late { get; init; } = (65_536, 20_000);
}

/// <summary>The peer did something more often than <see cref="YamuxPaceOptions"/> allows.</summary>
public sealed class PaceExceededException(string what, (int AtOnce, int PerSecond) bound)
    : PeerProtocolException($"the peer sent {what} faster than {bound.PerSecond} a second after {bound.AtOnce} at once");

/// <summary>Counts for one session. The clock is looked at only when a bucket is empty.</summary>
internal sealed class YamuxPace(YamuxPaceOptions options, TimeProvider time)
{
    private TokenBucket _opened = Bucket(options.Opened);
    private TokenBucket _fruitless = Bucket(options.Fruitless);
    private TokenBucket _pings = Bucket(options.Pings);
    private TokenBucket _windowUpdates = Bucket(options.WindowUpdates);
    private TokenBucket _empty = Bucket(options.Empty);
    private TokenBucket _late = Bucket(options.Late);

    internal void Opened() => Take(ref _opened, "new streams", options.Opened);

    internal void Fruitless() => Take(ref _fruitless, "streams that came to nothing", options.Fruitless);

    internal void Empty() => Take(ref _empty, "empty frames", options.Empty);

    internal void Ping() => Take(ref _pings, "pings", options.Pings);

    /// <summary>A frame for a stream, before what it says is done.</summary>
    internal void StreamFrame(YamuxFrame frame, bool isKnown)
    {
        if ((frame.Flags & YamuxFlags.Syn) != YamuxFlags.None)
            return;
        if (frame.Length == 0 && frame.Flags == YamuxFlags.None)
            Empty();
        else if (!isKnown && (frame.Length == 0 || frame.Type == YamuxType.WindowUpdate))
            Take(ref _late, "frames for streams that are gone", options.Late);
        else if (frame.Type == YamuxType.WindowUpdate && frame.Length > 0)
            Take(ref _windowUpdates, "window updates", options.WindowUpdates);
    }

    private void Take(ref TokenBucket bucket, string what, (int AtOnce, int PerSecond) bound)
    {
        if (!bucket.TryTake(time))
            throw new PaceExceededException(what, bound);
    }

    private static TokenBucket Bucket((int AtOnce, int PerSecond) bound) => new(bound.AtOnce, bound.PerSecond);
}
