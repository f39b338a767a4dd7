using System.Security.Cryptography;
using System.Text;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Connections;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Wire;
using Xunit;

namespace EdgeMesh.Tests.LibP2P;

public sealed class NoiseTests : IDisposable
{
    private static readonly string[] Muxers = ["/yamux/1.0.0"];

    private readonly Ed25519KeyPair _alice = Ed25519KeyPair.Create();
    private readonly Ed25519KeyPair _bob = Ed25519KeyPair.Create();

    /// <summary>Messages of the vectors: payload and ciphertext, by turns, the first three of them the handshake.</summary>
    private sealed record Vector(string Prologue, string InitiatorStatic, string InitiatorEphemeral, string ResponderStatic, string ResponderEphemeral, string? Hash, string[] Messages);

    // From the test vectors of cacophony and of snow.
    private static readonly Vector[] Vectors =
    [
        new("4a6f686e2047616c74", "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1", "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
            "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893", "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
            "c8e5f64e846193be2a834104c2a009868d6c9f3bd3c186299888b488b2f1f58e",
            [
                "4c756477696720766f6e204d69736573", "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e204d69736573",
                "4d757272617920526f746862617264", "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f14480884381cbad1f276e038c48378ffce2b65285e08d6b68aaa3629a5a8639392490e5b9bd5269c2f1e4f488ed8831161f19b7815528f8982ffe09be9b5c412f8a0db50f8814c7194e83f23dbd8d162c9326ad",
                "462e20412e20486179656b", "c7195ffacac1307ff99046f219750fc47693e23c3cb08b89c2af808b444850a80ae475b9df0f169ae80a89be0865b57f58c9fea0d4ec82a286427402f113e4b6ae769a1d95941d49b25030",
                "4361726c204d656e676572", "96763ed773f8e47bb3712f0e29b3060ffc956ffc146cee53d5e1df",
                "4a65616e2d426170746973746520536179", "3e40f15f6f3a46ae446b253bf8b1d9ffb6ed9b174d272328ff91a7e2e5c79c07f5",
                "457567656e2042f6686d20766f6e2042617765726b", "eb3f3515110702e047a6c9da4478b6ead94873c11c0f2d710ddb3f09fce024b3a58502ae3f",
            ]),
        new("5468657265206973206e6f20726967687420616e642077726f6e672e2054686572652773206f6e6c792066756e20616e6420626f72696e672e",
            "7dec208517a3b81a2861d7a71266d5d6dc944c5a8816634a86fe63198a0148ee", "a32daf21e93c0131495ce1d903181fde81cc46937daaeb990bae7c992709421e",
            "4d0aed5098e3b4ef20357e9f686ce66204c792b358da2e475017d6c485304881", "4eece0f195d026db035ff987597c429d3ad3bcc2944df37d649528951b2a27c5", null,
            [
                "d03c489139e645d0711a3c9e810d776b46a84912463fafa87b884eebf242dc34", "f9fa868ba97ab8a2686deccfaad5a484ee10a5bb85e3d1dce015a84797f92818d03c489139e645d0711a3c9e810d776b46a84912463fafa87b884eebf242dc34",
                "d8190a92f7dc0c93dbea9118ba8055751fb7c6590c416ffbd419964132b99a85", "8c4e6fdb7d09d501a86f7eca5c234522751706ed409182c05cdf5f827d4dae47b81c6c5f43b025692c24391eefee725c17d8cb0fbe3e4abb8aedf42c4fd2592d4ea48ac08989d6ae8b4adae08b2c34087c808c7aa55a63c02b0fab9e930612336bd43eaea04d3c670a0a146691aa9cc9d357872320dc735dbc48580cffb553db",
                "77891b19dcb92ef7c055b672c4a5aa7fdf1c84146b8b303459022729473ce254", "933ca6b5ed60df3df66121f0ab49a09e49efa45c613a86a3cecbf4c535cef2f83f72b42837b18e3572f2fdc2b74c331e2368a545cef54bdca081678ab0e9dd5348122459e0c034c851984d88ce610963d43cde6cfe73a67fbd5a63e8bfca96d0",
                "d7efdf988072881941db045a42882433817555128fbf5663e56081712ec7d212", "54ef0ff0629e1aaa7685a2806ab111cba76b52331f2642276736f415868eacb69ab2577f3bda0cbf72f879685f6ed25f",
                "dd7bf01a588bafb52c6cfba952e5d8fe35cc2b3f92b4730ae2474615157345ce", "356be70f110306d5c699bb834bb9d58d909e325924dfbec972e406e6f294dc63e1daebefe8a62a334facc8048ab4ad66",
            ]),
    ];

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void TheHandshakeSaysByteForByteWhatThePublishedVectorsSay(int index)
    {
        var vector = Vectors[index];
        using var initiator = Handshake(true, vector.InitiatorStatic, vector.InitiatorEphemeral, vector.Prologue);
        using var responder = Handshake(false, vector.ResponderStatic, vector.ResponderEphemeral, vector.Prologue);
        var message = new byte[512];
        var payload = new byte[512];
        for (var i = 0; i < 3; i++)
        {
            var (sender, receiver) = i % 2 == 0 ? (initiator, responder) : (responder, initiator);
            var length = sender.Write(Convert.FromHexString(vector.Messages[2 * i]), message);
            Assert.Equal(vector.Messages[2 * i + 1], Convert.ToHexStringLower(message.AsSpan(0, length)));
            var read = receiver.Read(message.AsSpan(0, length), payload);
            Assert.Equal(vector.Messages[2 * i], Convert.ToHexStringLower(payload.AsSpan(0, read)));
        }

        Assert.Equal(initiator.Hash, responder.Hash);
        if (vector.Hash is not null)
            Assert.Equal(vector.Hash, Convert.ToHexStringLower(initiator.Hash));

        var (ours, theirs) = (initiator.Split(), responder.Split());
        for (var i = 3; i < vector.Messages.Length / 2; i++)
        {
            var (send, receive) = i % 2 == 0 ? (ours.Send, theirs.Receive) : (theirs.Send, ours.Receive);
            var plain = Convert.FromHexString(vector.Messages[2 * i]);
            var sent = new byte[plain.Length + NoiseCipher.TagSize];
            send.Encrypt([], plain, sent);
            Assert.Equal(vector.Messages[2 * i + 1], Convert.ToHexStringLower(sent));
            Assert.True(receive.TryDecrypt([], sent, payload));
            Assert.Equal(plain, payload[..plain.Length]);
        }
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(0, 32)]
    [InlineData(1, 0)]
    [InlineData(64, 32)]
    [InlineData(1000, 7)]
    [InlineData(NoiseSession.MaxPlain, 0)]
    public void TheCipherIsTheOneOfTheFrameworkAndAnAlteredMessageLeavesNothing(int length, int associatedLength)
    {
        var (key, associated, plain) = (RandomNumberGenerator.GetBytes(32), RandomNumberGenerator.GetBytes(associatedLength), RandomNumberGenerator.GetBytes(length));
        using var reference = new ChaCha20Poly1305(key);
        using var send = new NoiseCipher(key);
        using var receive = new NoiseCipher(key);
        for (byte i = 0; i < 3; i++)
        {
            var (expected, tag) = (new byte[length], new byte[NoiseCipher.TagSize]);
            byte[] nonce = [0, 0, 0, 0, i, 0, 0, 0, 0, 0, 0, 0];
            reference.Encrypt(nonce, plain, expected, tag, associated);
            var message = new byte[length + NoiseCipher.TagSize];
            plain.CopyTo(message, 0);
            send.Encrypt(associated, message.AsSpan(0, length), message);
            Assert.Equal([.. expected, .. tag], message);
            if (i < 2)
            {
                Assert.True(receive.TryDecrypt(associated, message, message.AsSpan(0, length)));
                Assert.Equal(plain, message[..length]);
                continue;
            }

            message[Random.Shared.Next(message.Length)] ^= 1;
            var opened = new byte[length];
            Assert.False(receive.TryDecrypt(associated, message, opened));
            Assert.Equal(new byte[length], opened);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    [InlineData(100_000)]
    public void TwoPeersLearnWhoTheyAreHoweverTheBytesAreCut(int piece)
    {
        var (alice, bob) = Pair(_bob.PeerId, null);
        using (alice)
        using (bob)
        {
            Exchange(alice, bob, piece);
            Assert.Equal(_bob.PeerId, alice.RemotePeer);
            Assert.Equal(_alice.PeerId, bob.RemotePeer);
            Assert.Equal(("/yamux/1.0.0", "/yamux/1.0.0"), (alice.Muxer, bob.Muxer));

            var text = new byte[200_000];
            new Random(1).NextBytes(text);
            alice.Send(text);
            using var plain = new ByteQueue(300_000);
            Feed(alice.Output, bob, plain, piece);
            Assert.True(plain.Data.SequenceEqual(text));
        }
    }

    [Fact]
    public void APeerThatIsNotTheExpectedOneIsRefused()
    {
        using var carol = Ed25519KeyPair.Create();
        var (alice, bob) = Pair(carol.PeerId, null);
        using (alice)
        using (bob)
        {
            var refused = Assert.Throws<UnexpectedPeerException>(() => Exchange(alice, bob, 1000));
            Assert.Contains(carol.PeerId.ToString(), refused.Message, StringComparison.Ordinal);
            Assert.False(alice.IsEstablished);
        }
    }

    [Fact]
    public void NothingIsTakenFromAMessageThatWasAltered()
    {
        for (var altered = 2; altered < 60; altered += 3)
        {
            var (alice, bob) = Pair(null, null);
            using (alice)
            using (bob)
            using (var plain = new ByteQueue(100_000))
            {
                Exchange(alice, bob, 1000);
                alice.Send(Encoding.ASCII.GetBytes("twenty bytes of text and twenty more"));
                var message = alice.Output.Data.ToArray();
                if (altered >= message.Length)
                    return;
                message[altered] ^= 0x80;
                Assert.Throws<PeerProtocolException>(() => Receive(bob, message, plain));
                Assert.Equal(0, plain.Count);
            }
        }
    }

    [Fact]
    public void AnyChangedByteOfTheHandshakeEndsIt()
    {
        // What the first two messages are long; every byte of them is covered by the keys or by the hash.
        for (var altered = 0; altered < 300; altered += 7)
        {
            var (alice, bob) = Pair(null, null);
            using (alice)
            using (bob)
            using (var plain = new ByteQueue(100_000))
            {
                Receive(bob, Drain(alice.Output), plain);
                var answer = Drain(bob.Output);
                if (altered >= answer.Length)
                    return;
                answer[altered] ^= 0x01;
                try
                {
                    Receive(alice, answer, plain);
                }
                catch (PeerProtocolException)
                {
                    continue;
                }

                // A changed length makes it wait for bytes that do not come.
                Assert.False(alice.IsEstablished);
                Assert.True(altered < 2);
            }
        }
    }

    [Fact]
    public void NoiseFromTheNetworkEndsTheHandshakeAndNothingElse()
    {
        var random = new Random(7);
        for (var round = 0; round < 500; round++)
        {
            var (alice, bob) = Pair(null, null);
            using (alice)
            using (bob)
            using (var plain = new ByteQueue(100_000))
            {
                var noise = new byte[random.Next(400)];
                random.NextBytes(noise);
                if (noise.Length > 1)
                    noise[0] = (byte)random.Next(2);
                foreach (var session in new[] { alice, bob })
                {
                    try
                    {
                        Receive(session, noise, plain);
                    }
                    catch (PeerProtocolException)
                    {
                        // Refused.
                    }

                    Assert.False(session.IsEstablished);
                }
            }
        }
    }

    [Fact]
    public void AFullReaderLeavesBytesInTheInputUntilThereIsRoom()
    {
        var (alice, bob) = Pair(null, null);
        using (alice)
        using (bob)
        using (var plain = new ByteQueue(NoiseSession.MaxPlain))
        {
            Exchange(alice, bob, 1000);
            alice.Send(new byte[NoiseSession.MaxPlain]);
            alice.Send(new byte[10]);
            ReadOnlySpan<byte> input = Drain(alice.Output);
            bob.Receive(ref input, plain);
            Assert.Equal(NoiseSession.MaxPlain, plain.Count);
            Assert.Equal(10 + NoiseSession.Overhead, input.Length);
            plain.Consume(plain.Count);
            bob.Receive(ref input, plain);
            Assert.Equal((10, 0), (plain.Count, input.Length));
        }
    }

    public void Dispose()
    {
        _alice.Dispose();
        _bob.Dispose();
    }

    private static NoiseHandshake Handshake(bool initiator, string staticKey, string ephemeral, string prologue) => new(
        initiator,
        X25519KeyPair.FromPrivateKey(Convert.FromHexString(staticKey)),
        X25519KeyPair.FromPrivateKey(Convert.FromHexString(ephemeral)),
        Convert.FromHexString(prologue));

    private (NoiseSession Alice, NoiseSession Bob) Pair(PeerId? aliceExpects, PeerId? bobExpects) => (
        new NoiseSession(true, _alice, new NoiseTerms { Expected = aliceExpects }, Muxers, new ByteQueue(1_000_000)),
        new NoiseSession(false, _bob, new NoiseTerms { Expected = bobExpects }, Muxers, new ByteQueue(1_000_000)));

    private static void Exchange(NoiseSession alice, NoiseSession bob, int piece)
    {
        using var plain = new ByteQueue(100_000);
        for (var round = 0; round < 4; round++)
        {
            Feed(alice.Output, bob, plain, piece);
            Feed(bob.Output, alice, plain, piece);
        }

        Assert.True(alice.IsEstablished);
        Assert.True(bob.IsEstablished);
        Assert.Equal(0, plain.Count);
    }

    private static void Feed(ByteQueue from, NoiseSession to, ByteQueue plain, int piece)
    {
        while (from.Count > 0)
        {
            var part = from.Data[..Math.Min(piece, from.Count)].ToArray();
            from.Consume(part.Length);
            Receive(to, part, plain);
        }
    }

    private static void Receive(NoiseSession session, ReadOnlySpan<byte> bytes, ByteQueue plain)
    {
        session.Receive(ref bytes, plain);
        Assert.True(bytes.IsEmpty);
    }

    private static byte[] Drain(ByteQueue queue)
    {
        var bytes = queue.Data.ToArray();
        queue.Consume(bytes.Length);
        return bytes;
    }
}
