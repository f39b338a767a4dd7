using System.Runtime.InteropServices;
using System.Security.Cryptography;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.LibP2P.Yamux;
using Xunit;

namespace EdgeMesh.Tests.LibP2P;

/// <summary>What a driver uses of the protocol cores: places in the output, and messages opened where they are.</summary>
public sealed class DrivenSessionTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(NoiseSession.MaxPlain)]
    [InlineData(NoiseSession.MaxPlain + 1)]
    [InlineData(200_000)]
    public void WhatIsSealedIsOpenedInPlace(int length)
    {
        using var alice = new NoiseSession(true, Ed25519KeyPair.Create(), new NoiseTerms(), [], new ByteQueue(100_000));
        using var bob = new NoiseSession(false, Ed25519KeyPair.Create(), new NoiseTerms(), [], new ByteQueue(100_000));
        using var plain = new ByteQueue(1000);
        while (!alice.IsEstablished || !bob.IsEstablished)
        {
            foreach (var (from, to) in ((NoiseSession, NoiseSession)[])[(alice, bob), (bob, alice)])
            {
                ReadOnlySpan<byte> bytes = from.Output.Data;
                to.Receive(ref bytes, plain);
                from.Output.Consume(from.Output.Count);
            }
        }

        var text = RandomNumberGenerator.GetBytes(length);
        var wire = new byte[NoiseSession.SealedLength(length)];
        Assert.Equal(wire.Length, alice.Seal(text, wire));
        var opened = new List<byte>();
        var rest = wire.AsSpan();
        while (!rest.IsEmpty)
        {
            Assert.False(bob.TryOpen(rest[..1], out _, out _));
            Assert.True(bob.TryOpen(rest, out var taken, out var message));
            opened.AddRange(message);
            rest = rest[taken..];
        }

        Assert.Equal(text, opened);
        alice.Seal([1, 2, 3], wire = new byte[NoiseSession.SealedLength(3)]);
        wire[^1] ^= 1;
        Assert.Throws<PeerProtocolException>(() => bob.TryOpen(wire, out _, out _));
    }

    [Fact]
    public void AReservedPlaceTakesNoMoreThanTheWindowAndIsSentAsOneFrame()
    {
        using var dialer = new YamuxSession(true, new YamuxOptions { SendBuffer = 1_000_000 }, TimeProvider.System);
        var stream = dialer.TryOpen()!;
        dialer.Output.Consume(dialer.Output.Count);
        var taken = 0;
        while (dialer.Reserve(stream, int.MaxValue) is { IsEmpty: false } space)
        {
            var count = space.Length;
            dialer.Commit(stream, count);
            taken += count;
        }

        Assert.Equal(YamuxOptions.InitialWindow, taken);
        // The largest frame fills a Noise message; the last one is what the window left.
        Assert.Equal(NoiseSession.MaxPlain, dialer.WholeFrames());
        Assert.Equal(5 * 12 + YamuxOptions.InitialWindow, dialer.Output.Count);
    }

    [Fact]
    public void AQueueStartsAtTheSizeItHadAndForgetsThatWhenItIsLittleUsed()
    {
        using var queue = new ByteQueue(1024 * 1024);
        for (var i = 0; i < 200; i++)
            queue.Append(new byte[1024]);
        queue.Consume(queue.Count);
        queue.Append([1]);
        Assert.InRange(Capacity(), 200 * 1024, 512 * 1024);
        for (var i = 0; i < 20; i++)
        {
            queue.Consume(1);
            queue.Append([1]);
        }

        Assert.InRange(Capacity(), 1, 64);

        int Capacity() => MemoryMarshal.TryGetArray(queue.Memory, out var segment) ? segment.Array!.Length : 0;
    }

    [Fact]
    public void AStreamIsAcknowledgedWithTheFirstFrameThatGoesBack()
    {
        var options = new YamuxOptions { AcknowledgesWithFirstFrame = true };
        using var dialer = new YamuxSession(true, options, TimeProvider.System);
        using var listener = new YamuxSession(false, options, TimeProvider.System);
        dialer.TryOpen();
        var bytes = dialer.Output.Data;
        Assert.True(listener.TryReceive(ref bytes, out var opened));
        Assert.Equal(0, listener.Output.Count);
        listener.Write(opened.Stream!, [7]);
        bytes = listener.Output.Data;
        Assert.True(dialer.TryReceive(ref bytes, out var first));
        Assert.Equal(YamuxEventKind.Acknowledged, first.Kind);
        Assert.True(dialer.TryReceive(ref bytes, out var second));
        Assert.Equal((YamuxEventKind.Data, 7), (second.Kind, second.Data[0]));
    }
}
