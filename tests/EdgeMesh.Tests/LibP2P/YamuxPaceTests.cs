using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Relay;
using EdgeMesh.LibP2P.Yamux;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests.LibP2P;

/// <summary>What is cheap for a peer and not for this side has a rate, and honest peers never come near it.</summary>
public sealed class YamuxPaceTests
{
    private readonly ManualTime _time = new();

    [Theory]
    [InlineData("open and reset")]
    [InlineData("open and end")]
    [InlineData("open beyond the limit")]
    [InlineData("ping")]
    [InlineData("answer no question")]
    [InlineData("grow a window")]
    [InlineData("say nothing")]
    [InlineData("say nothing of a stream that is gone")]
    [InlineData("reset streams that are gone")]
    [InlineData("say good-bye")]
    public void APeerThatDoesItWithoutEndEndsItsSession(string what)
    {
        using var session = new YamuxSession(dialer: false, new YamuxOptions { AcknowledgesWithFirstFrame = true }, _time) { MaxInboundStreams = 100 };
        Receive(session, new YamuxFrame(YamuxType.Data, YamuxFlags.Syn, 1, 0));
        uint next = 3;
        var fault = Assert.Throws<PaceExceededException>(() =>
        {
            for (var i = 0; i < 200_000; i++)
            {
                next += 2;
                switch (what)
                {
                    case "open and reset":
                        Receive(session, new YamuxFrame(YamuxType.Data, YamuxFlags.Syn, next, 0), new YamuxFrame(YamuxType.Data, YamuxFlags.Rst, next, 0));
                        break;
                    case "open and end":
                        Receive(session, new YamuxFrame(YamuxType.Data, YamuxFlags.Syn | YamuxFlags.Fin, next, 0));
                        session.Reset(session.Streams.Last());
                        break;
                    case "open beyond the limit":
                        Receive(session, new YamuxFrame(YamuxType.WindowUpdate, YamuxFlags.Syn, next, 0));
                        break;
                    case "ping":
                        Receive(session, new YamuxFrame(YamuxType.Ping, YamuxFlags.Syn, 0, next));
                        break;
                    case "answer no question":
                        Receive(session, new YamuxFrame(YamuxType.Ping, YamuxFlags.Ack, 0, next));
                        break;
                    case "grow a window":
                        Receive(session, new YamuxFrame(YamuxType.WindowUpdate, YamuxFlags.None, 1, 1));
                        break;
                    case "say nothing":
                        Receive(session, new YamuxFrame(YamuxType.Data, YamuxFlags.None, 1, 0));
                        break;
                    case "say nothing of a stream that is gone":
                        Receive(session, new YamuxFrame(YamuxType.WindowUpdate, YamuxFlags.None, 999_999, 0));
                        break;
                    case "reset streams that are gone":
                        Receive(session, new YamuxFrame(YamuxType.WindowUpdate, YamuxFlags.Rst, 999_999, 0));
                        break;
                    case "say good-bye":
                        Receive(session, new YamuxFrame(YamuxType.GoAway, YamuxFlags.None, 0, 0));
                        break;
                }

                session.Output.Consume(session.Output.Count);
            }
        });
        Assert.Contains("faster than", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ABurstOfTenThousandStreamsIsTakenAlsoWhenAllOfThemAreGivenUp()
    {
        using var session = new YamuxSession(dialer: false, new YamuxOptions { AcknowledgesWithFirstFrame = true }, _time);
        for (uint id = 1; id < 20_000; id += 2)
            Receive(session, new YamuxFrame(YamuxType.Data, YamuxFlags.Syn, id, 0));
        Assert.Equal(10_000, session.StreamCount);
        for (uint id = 1; id < 20_000; id += 2)
            Receive(session, new YamuxFrame(YamuxType.Data, YamuxFlags.Rst, id, 0));
        Receive(session, new YamuxFrame(YamuxType.Data, YamuxFlags.Syn, 20_001, 0));
        Assert.Equal(1, session.StreamCount);
    }

    /// <summary>Short connections, one after another for a long while, each answered: as many as a machine can carry.</summary>
    [Fact]
    public void StreamsThatAreAnsweredMayComeQuickly()
    {
        using var session = new YamuxSession(dialer: false, new YamuxOptions { AcknowledgesWithFirstFrame = true }, _time);
        uint id = 1;
        for (var second = 0; second < 10; second++)
        {
            for (var i = 0; i < 30_000; i++, id += 2)
            {
                Receive(session, new YamuxFrame(YamuxType.Data, YamuxFlags.Syn | YamuxFlags.Fin, id, 0));
                var stream = session.Streams.Last();
                session.Write(stream, [1]);
                session.CloseWrite(stream);
                session.Output.Consume(session.Output.Count);
            }

            _time.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.Equal(0, session.StreamCount);
    }

    [Theory]
    [InlineData(null, 3_600, 3_600)]
    [InlineData(null, -3_600 * 24 * 365 * 50, 3_600)]
    [InlineData(null, 3_600L * 24 * 365 * 50, 3_600)]
    [InlineData(null, 600, 600)]
    [InlineData(1_800, -3_600 * 24 * 365 * 50, 1_800)]
    [InlineData(1_800, 3_600L * 24 * 365 * 50, 1_800)]
    [InlineData(int.MaxValue, 600, 24 * 3_600)]
    public void AReservationLastsAsLongAsItWasGrantedWhateverTheClocksSay(int? granted, long expiresIn, long lasts)
    {
        var now = new DateTimeOffset(2026, 5, 1, 0, 0, 0, TimeSpan.Zero);
        var reservation = new RelayReservation { Expires = now.AddSeconds(expiresIn), Granted = granted is { } seconds ? TimeSpan.FromSeconds(seconds) : null };
        Assert.Equal(lasts, reservation.Lasts(now).TotalSeconds);
        var message = new RelayMessage { Type = RelayMessageType.Status, Status = RelayStatus.Ok, Reservation = reservation };
        Assert.Equal(lasts, RelayMessage.DecodeHop(message.EncodeHop())!.Reservation!.Lasts(now).TotalSeconds);
    }

    private static void Receive(YamuxSession session, params ReadOnlySpan<YamuxFrame> frames)
    {
        var bytes = new byte[frames.Length * YamuxFrame.HeaderSize];
        for (var i = 0; i < frames.Length; i++)
            frames[i].Write(bytes.AsSpan(i * YamuxFrame.HeaderSize));
        var input = bytes.AsSpan();
        while (session.TryReceive(ref input, out _))
        {
        }
    }
}
