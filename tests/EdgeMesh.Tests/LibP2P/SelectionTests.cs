using System.Text;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Select;
using EdgeMesh.LibP2P.Wire;
using Xunit;

namespace EdgeMesh.Tests.LibP2P;

public sealed class SelectionTests
{
    [Fact]
    public void TheDialerSendsHeaderAndOfferInOneWrite()
    {
        using var output = new ByteQueue(1000);
        using var dialer = ProtocolSelection.Dial(["/noise"], output);
        Assert.Equal("\x13/multistream/1.0.0\n\x07/noise\n", Encoding.ASCII.GetString(output.Data));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(1000)]
    public void TheFirstOfferThatTheListenerSpeaksIsTaken(int piece)
    {
        var (dialer, listener) = Run(["/x", "/tls/1.0.0", "/noise"], p => p is "/noise" or "/tls/1.0.0", piece);
        Assert.Equal((SelectionState.Agreed, "/tls/1.0.0"), (dialer.State, dialer.Protocol));
        Assert.Equal((SelectionState.Agreed, "/tls/1.0.0"), (listener.State, listener.Protocol));
    }

    [Fact]
    public void ADialerWithoutACommonProtocolIsRefused()
    {
        var (dialer, listener) = Run(["/x", "/y"], _ => false, 1000);
        Assert.Equal(SelectionState.Refused, dialer.State);
        Assert.Equal(SelectionState.Pending, listener.State);
    }

    [Fact]
    public void NotAByteOfWhatFollowsIsTaken()
    {
        using var output = new ByteQueue(1000);
        using var listener = ProtocolSelection.Listen(_ => true, output);
        ReadOnlySpan<byte> input = "\u0013/multistream/1.0.0\n\u0007/noise\nrest"u8;
        Assert.Equal(SelectionState.Agreed, listener.Receive(ref input));
        Assert.Equal("rest", Encoding.ASCII.GetString(input));
    }

    [Fact]
    public void AListenerIsNotAskedForEver()
    {
        using var output = new ByteQueue(10_000);
        using var listener = ProtocolSelection.Listen(_ => false, output);
        var offers = Encoding.ASCII.GetBytes("\x13/multistream/1.0.0\n" + string.Concat(Enumerable.Repeat("\x03/x\n", 100)));
        ReadOnlySpan<byte> input = offers;
        Assert.Equal(SelectionState.Refused, listener.Receive(ref input));
    }

    [Fact]
    public void NoiseAndHostileLengthsAreRefused()
    {
        var random = new Random(3);
        foreach (var dial in new[] { true, false })
        {
            for (var round = 0; round < 2000; round++)
            {
                var bytes = new byte[random.Next(1, 600)];
                random.NextBytes(bytes);
                if (round % 4 == 0)
                    new byte[] { 0xFF, 0xFF, 0xFF, 0x7F }.AsSpan(0, Math.Min(4, bytes.Length)).CopyTo(bytes);
                using var output = new ByteQueue(10_000);
                using var selection = dial ? ProtocolSelection.Dial(["/a"], output) : ProtocolSelection.Listen(_ => true, output);
                ReadOnlySpan<byte> input = bytes;
                try
                {
                    Assert.NotEqual(SelectionState.Agreed, selection.Receive(ref input));
                }
                catch (PeerProtocolException)
                {
                    // Refused.
                }
            }
        }
    }

    private static (ProtocolSelection Dialer, ProtocolSelection Listener) Run(string[] offers, Func<string, bool> accepts, int piece)
    {
        using var toListener = new ByteQueue(10_000);
        using var toDialer = new ByteQueue(10_000);
        var dialer = ProtocolSelection.Dial(offers, toListener);
        var listener = ProtocolSelection.Listen(accepts, toDialer);
        while (toListener.Count + toDialer.Count > 0)
        {
            Feed(toListener, listener, piece);
            Feed(toDialer, dialer, piece);
        }

        dialer.Dispose();
        listener.Dispose();
        return (dialer, listener);
    }

    private static void Feed(ByteQueue from, ProtocolSelection to, int piece)
    {
        var part = from.Data[..Math.Min(piece, from.Count)].ToArray();
        from.Consume(part.Length);
        ReadOnlySpan<byte> input = part;
        to.Receive(ref input);
    }
}
