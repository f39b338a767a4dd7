using System.Buffers.Binary;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.LibP2P.Yamux;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests.LibP2P;

public sealed class YamuxTests
{
    private readonly ManualTime _time = new();
    private readonly List<string> _events = [];

    [Fact]
    public void AStreamCarriesBytesAndEndsEachWayByItself()
    {
        var (dialer, listener) = Pair();
        var stream = dialer.TryOpen()!;
        Assert.Equal(3, dialer.Write(stream, [1, 2, 3]));
        dialer.CloseWrite(stream);
        Deliver(dialer, listener);
        Assert.Equal(["Opened 1", "Data 1 010203", "Ended 1"], _events);
        Assert.Equal(1, listener.StreamCount);

        var theirs = Opened!;
        Assert.Equal(1, listener.Write(theirs, [9]));
        listener.CloseWrite(theirs);
        _events.Clear();
        Deliver(listener, dialer);
        Assert.Equal(["Acknowledged 1", "Data 1 09", "Ended 1"], _events);
        Assert.Equal((0, 0), (dialer.StreamCount, listener.StreamCount));
        Assert.True(stream.IsGone);
    }

    [Fact]
    public void TheEventsAreTheSameHoweverTheBytesAreCut()
    {
        var (dialer, _) = Pair();
        var first = dialer.TryOpen()!;
        var second = dialer.TryOpen()!;
        dialer.Write(first, new byte[100]);
        dialer.Ping();
        dialer.Write(second, [5, 6]);
        dialer.CloseWrite(first);
        dialer.Reset(second);
        dialer.GoAway(0);
        var bytes = dialer.Output.Data.ToArray();

        string? whole = null;
        foreach (var piece in new[] { bytes.Length, 1, 2, 11, 12, 13, 64 })
        {
            _events.Clear();
            var (_, listener) = Pair();
            for (var at = 0; at < bytes.Length; at += piece)
                Feed(listener, bytes.AsSpan(at, Math.Min(piece, bytes.Length - at)));
            // Data comes in the pieces that it arrives in.
            var seen = string.Join('|', Merge(_events));
            whole ??= seen;
            Assert.Equal(whole, seen);
        }

        Assert.Contains("Data 3 0506|Ended 1|Reset 3|GoAway", whole, StringComparison.Ordinal);
    }

    [Fact]
    public void AWriterStopsWhereThePeersWindowEndsAndGoesOnWhenItOpens()
    {
        var (dialer, listener) = Pair(new YamuxOptions { SendBuffer = 1024 * 1024 });
        var stream = dialer.TryOpen()!;
        Assert.Equal(YamuxOptions.InitialWindow, dialer.Write(stream, new byte[400_000]));
        Assert.Equal(0u, stream.SendWindow);
        Deliver(dialer, listener);
        listener.Consumed(Opened!, YamuxOptions.InitialWindow / 2 - 1);
        Deliver(listener, dialer);
        Assert.Equal(0, dialer.Write(stream, [1]));
        listener.Consumed(Opened!, 1);
        _events.Clear();
        Deliver(listener, dialer);
        Assert.Equal(["Writable 1"], _events);
        Assert.Equal((uint)YamuxOptions.InitialWindow / 2, stream.SendWindow);
    }

    [Fact]
    public void AWriterStopsWhereTheSendBufferEnds()
    {
        var (dialer, _) = Pair(new YamuxOptions { SendBuffer = 10_000 });
        var stream = dialer.TryOpen()!;
        var written = dialer.Write(stream, new byte[50_000]);
        Assert.InRange(written, 9_000, 10_000);
        Assert.Equal(0, dialer.Write(stream, [1]));
        dialer.Output.Consume(dialer.Output.Count);
        Assert.Equal(1, dialer.Write(stream, [1]));
    }

    [Fact]
    public void AWindowGrowsWhenItIsWhatHoldsThePeerBackAndNotBeyondItsBounds()
    {
        var options = new YamuxOptions { MaxWindow = 1024 * 1024, MaxWindowGrowth = 1024 * 1024 };
        var (dialer, listener) = Pair(options);
        listener.Ping();
        Deliver(listener, dialer);
        _time.Advance(TimeSpan.FromMilliseconds(50));
        Deliver(dialer, listener);
        Assert.Equal(TimeSpan.FromMilliseconds(50), listener.RoundTrip);

        var stream = dialer.TryOpen()!;
        Deliver(dialer, listener);
        var theirs = Opened!;
        for (var round = 0; round < 20; round++)
        {
            Send(dialer, listener, stream, theirs.Window / 2);
            _time.Advance(TimeSpan.FromMilliseconds(100));
            listener.Consumed(theirs, theirs.Window / 2);
            Deliver(listener, dialer);
        }

        Assert.Equal(1024 * 1024, theirs.Window);
        Assert.Equal(1024u * 1024, stream.SendWindow);

        // A second stream finds what the first left of the common growth: 256 KiB.
        var second = dialer.TryOpen()!;
        Deliver(dialer, listener);
        var theirSecond = Opened!;
        for (var round = 0; round < 5; round++)
        {
            Send(dialer, listener, second, theirSecond.Window / 2);
            listener.Consumed(theirSecond, theirSecond.Window / 2);
            Deliver(listener, dialer);
        }

        Assert.Equal(512 * 1024, theirSecond.Window);
    }

    [Fact]
    public void AnIdleStreamKeepsItsWindow()
    {
        var (dialer, listener) = Pair();
        listener.Ping();
        Deliver(listener, dialer);
        _time.Advance(TimeSpan.FromMilliseconds(1));
        Deliver(dialer, listener);
        var stream = dialer.TryOpen()!;
        Deliver(dialer, listener);
        for (var round = 0; round < 5; round++)
        {
            Send(dialer, listener, stream, YamuxOptions.InitialWindow / 2);
            _time.Advance(TimeSpan.FromSeconds(1));
            listener.Consumed(Opened!, YamuxOptions.InitialWindow / 2);
            Deliver(listener, dialer);
        }

        Assert.Equal(YamuxOptions.InitialWindow, Opened!.Window);
    }

    [Fact]
    public void StreamsBeyondTheLimitAreResetAndTheOthersLiveOn()
    {
        var (dialer, listener) = Pair(new YamuxOptions { MaxInboundStreams = 2 });
        var streams = Enumerable.Range(0, 4).Select(_ => dialer.TryOpen()!).ToList();
        dialer.Write(streams[3], [1, 2, 3]);
        Deliver(dialer, listener);
        Assert.Equal(2, listener.StreamCount);
        Deliver(listener, dialer);
        Assert.Equal([false, false, true, true], streams.Select(s => s.IsGone));
        dialer.Write(streams[0], [7]);
        _events.Clear();
        Deliver(dialer, listener);
        Assert.Equal(["Data 1 07"], _events);
    }

    [Fact]
    public void NoMoreStreamsAreOpenedThanThePeerHasAcknowledged()
    {
        var (dialer, listener) = Pair(new YamuxOptions { MaxUnacknowledged = 3 });
        Assert.Equal(3, Enumerable.Range(0, 5).Count(_ => dialer.TryOpen() is not null));
        Deliver(dialer, listener);
        Deliver(listener, dialer);
        Assert.NotNull(dialer.TryOpen());
    }

    [Fact]
    public void APeerThatAsksForAnswersAndDoesNotReadThemIsCutOff()
    {
        // Slowly enough, or else its pace ends it.
        var (_, listener) = Pair(new YamuxOptions { Pace = new YamuxPaceOptions { Pings = (int.MaxValue, 1) } });
        var ping = new byte[12];
        new YamuxFrame(YamuxType.Ping, YamuxFlags.Syn, 0, 1).Write(ping);
        Assert.Throws<PeerProtocolException>(() =>
        {
            for (var i = 0; i < 100_000; i++)
                Feed(listener, ping);
        });
        Assert.True(listener.Output.Count <= 512 * 1024);
    }

    [Theory]
    [InlineData("010000000000000100000000", "version")]
    [InlineData("000900000000000100000000", "type")]
    [InlineData("000000000000000000000005", "without a stream")]
    [InlineData("000100010000000200000000", "numbers")]
    [InlineData("0000000100000001FFFFFFFF", "window")]
    [InlineData("000000000000000DFFFFFFFF", "window")]
    public void AFrameAgainstTheProtocolEndsTheSession(string hex, string says)
    {
        var (_, listener) = Pair();
        var refused = Assert.Throws<PeerProtocolException>(() => Feed(listener, Convert.FromHexString(hex)));
        Assert.Contains(says, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void APeerThatOpensAStreamTwiceOrOverflowsAWindowIsCutOff()
    {
        var open = Convert.FromHexString("000100010000000100000000");
        var (_, first) = Pair();
        Feed(first, open);
        Assert.Throws<PeerProtocolException>(() => Feed(first, open));

        var (_, second) = Pair();
        Feed(second, open);
        Assert.Throws<PeerProtocolException>(() => Feed(second, Convert.FromHexString("0001000000000001FFFFFFFF")));
    }

    [Fact]
    public void DataForAStreamThatWasResetHereIsPassedOver()
    {
        var (dialer, listener) = Pair();
        var stream = dialer.TryOpen()!;
        Deliver(dialer, listener);
        listener.Reset(Opened!);
        dialer.Write(stream, [1, 2, 3]);
        dialer.CloseWrite(stream);
        _events.Clear();
        Deliver(dialer, listener);
        Assert.Empty(_events);
        Deliver(listener, dialer);
        Assert.Equal(0, dialer.StreamCount);
    }

    [Fact]
    public void NoiseFromTheNetworkEndsTheSessionAndNothingElse()
    {
        var random = new Random(11);
        for (var round = 0; round < 3000; round++)
        {
            var (_, session) = Pair();
            var bytes = new byte[random.Next(200)];
            random.NextBytes(bytes);
            // Mostly headers that get past the first look.
            for (var at = 0; at + 12 <= bytes.Length; at += 12)
            {
                bytes[at] = 0;
                bytes[at + 1] &= 3;
                bytes[at + 2] = 0;
                bytes[at + 3] &= 15;
                BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(at + 4), (uint)random.Next(4));
                BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(at + 8), random.Next(2) == 0 ? (uint)random.Next(20) : (uint)random.Next());
            }

            try
            {
                Feed(session, bytes);
            }
            catch (PeerProtocolException)
            {
                // Refused.
            }

            Assert.True(session.Output.Count < 1000);
        }
    }

    private YamuxStream? Opened { get; set; }

    private (YamuxSession Dialer, YamuxSession Listener) Pair(YamuxOptions? options = null) =>
        (new YamuxSession(true, options ?? new YamuxOptions(), _time), new YamuxSession(false, options ?? new YamuxOptions(), _time));

    private void Send(YamuxSession from, YamuxSession to, YamuxStream stream, int count)
    {
        while (count > 0)
        {
            count -= from.Write(stream, new byte[count]);
            Deliver(from, to);
        }
    }

    private void Deliver(YamuxSession from, YamuxSession to)
    {
        var bytes = from.Output.Data.ToArray();
        from.Output.Consume(bytes.Length);
        Feed(to, bytes);
    }

    private void Feed(YamuxSession session, Span<byte> bytes)
    {
        while (session.TryReceive(ref bytes, out var happened))
        {
            if (happened.Kind == YamuxEventKind.Opened)
                Opened = happened.Stream;
            _events.Add($"{happened.Kind} {happened.Stream?.Id}{(happened.Data.IsEmpty ? "" : " " + Convert.ToHexString(happened.Data))}".TrimEnd());
        }

        Assert.True(bytes.IsEmpty);
    }

    private static IEnumerable<string> Merge(List<string> events)
    {
        string? held = null;
        foreach (var e in events)
        {
            if (held is not null && e.StartsWith("Data ", StringComparison.Ordinal) && e.Split(' ')[1] == held.Split(' ')[1])
            {
                held += e.Split(' ')[2];
                continue;
            }

            if (held is not null)
                yield return held;
            held = null;
            if (e.StartsWith("Data ", StringComparison.Ordinal))
                held = e;
            else
                yield return e;
        }

        if (held is not null)
            yield return held;
    }
}
