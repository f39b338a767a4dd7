using System.Net;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Identify;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Relay;
using EdgeMesh.LibP2P.Wire;
using Xunit;

namespace EdgeMesh.Tests.LibP2P;

public sealed class CodecTests
{
    private const string Ed25519Peer = "12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv";
    private const string HashedPeer = "QmfXbAwNjJLXfesgztEHe8HwgVDCMMpZ9Eax1HYq6hn9uE";

    [Theory]
    [InlineData(0ul, "00")]
    [InlineData(127ul, "7F")]
    [InlineData(128ul, "8001")]
    [InlineData(300ul, "AC02")]
    [InlineData(16384ul, "808001")]
    [InlineData(ulong.MaxValue, "FFFFFFFFFFFFFFFFFF01")]
    public void AVarintIsReadAsItWasWritten(ulong value, string hex)
    {
        var bytes = new byte[Varint.MaxLength];
        var length = Varint.Write(bytes, value);
        Assert.Equal(hex, Convert.ToHexString(bytes.AsSpan(0, length)));
        Assert.Equal(length, Varint.Length(value));
        Assert.Equal(VarintResult.Read, Varint.Read(bytes, out var read, out var consumed));
        Assert.Equal((value, length), (read, consumed));
        for (var i = 0; i < length; i++)
            Assert.Equal(VarintResult.Incomplete, Varint.Read(bytes.AsSpan(0, i), out _, out _));
    }

    [Theory]
    [InlineData("FFFFFFFFFFFFFFFFFF02")]
    [InlineData("FFFFFFFFFFFFFFFFFFFF01")]
    public void AVarintBeyond64BitsIsRefused(string hex) =>
        Assert.Equal(VarintResult.TooLong, Varint.Read(Convert.FromHexString(hex), out _, out _));

    [Theory]
    [InlineData("/ip4/127.0.0.1/tcp/20006", "047f000001064e26")]
    [InlineData("/ip6/fd0e::1/udp/53/quic-v1", "29fd0e000000000000000000000000000191020035cd03")]
    [InlineData("/dns4/relay.example/tcp/443/wss/p2p/" + Ed25519Peer, "360d72656c61792e6578616d706c650601bbde03a50326002408011220a77f1d92fedb59dddaea5a1c4abd1ac2fbde7d7b879ed364501809923d7c11b9")]
    [InlineData("/ip4/10.0.0.1/tcp/1/p2p/" + HashedPeer + "/p2p-circuit/p2p/" + Ed25519Peer, "040a000001060001a503221220ff6411214402e7c0b3dd3b1095b53b4eb2202f7fd3e84df88268a531b0a61a1da202a50326002408011220a77f1d92fedb59dddaea5a1c4abd1ac2fbde7d7b879ed364501809923d7c11b9")]
    public void AnAddressHasTheBytesThatOtherImplementationsGiveIt(string text, string hex)
    {
        var address = Multiaddr.Parse(text);
        Assert.Equal(hex, Convert.ToHexStringLower(address.Bytes));
        Assert.True(Multiaddr.TryDecode(Convert.FromHexString(hex), out var decoded));
        Assert.Equal(text, decoded.ToString());
        Assert.Equal(address, decoded);
    }

    [Theory]
    [InlineData("")]
    [InlineData("ip4/1.2.3.4")]
    [InlineData("/")]
    [InlineData("/ip4")]
    [InlineData("/ip4/1.2.3")]
    [InlineData("/ip4/::1")]
    [InlineData("/ip6/fe80::1%eth0")]
    [InlineData("/tcp/65536")]
    [InlineData("/p2p/Qm")]
    [InlineData("/dns4//tcp/1")]
    [InlineData("/nothing/1")]
    public void TextThatIsNoAddressIsRefused(string text) => Assert.False(Multiaddr.TryParse(text, out _));

    [Fact]
    public void AnAddressOfMoreComponentsThanAnyoneNeedsIsRefused()
    {
        Assert.False(Multiaddr.TryParse(string.Concat(Enumerable.Repeat("/ws", 17)), out _));
        Assert.False(Multiaddr.TryDecode([.. Enumerable.Repeat(new byte[] { 0xDD, 0x03 }, 17).SelectMany(b => b)], out _));
        Assert.True(Multiaddr.TryParse(string.Concat(Enumerable.Repeat("/ws", 16)), out _));
    }

    [Fact]
    public void AnAddressTellsItsEndpointAndItsPeer()
    {
        var address = Multiaddr.Parse($"/ip6/fd0e::1/tcp/20006/p2p/{Ed25519Peer}");
        Assert.True(address.TryGetTcpEndPoint(out var endPoint));
        Assert.Equal(new IPEndPoint(IPAddress.Parse("fd0e::1"), 20006), endPoint);
        Assert.Equal(Ed25519Peer, address.Peer!.ToString());
        Assert.False(address.IsRelayed);
        Assert.True(address.Append("/p2p-circuit").IsRelayed);
        Assert.Equal("/ip4/10.1.2.3/tcp/7", Multiaddr.FromEndPoint(new IPEndPoint(IPAddress.Parse("::ffff:10.1.2.3"), 7)).ToString());
    }

    [Theory]
    [InlineData(Ed25519Peer, "bafzaajaiaejcbj37dwjp5w2z3xnouwq4jk6rvqx33z6xxb462nsfagajsi6xyenz")]
    [InlineData(HashedPeer, "bafzbeih7mqiscrac47alhxj3cck3ko2owiqc676t5bg7ratiuuy3bjq2du")]
    public void APeerIdIsReadFromBothOfItsTexts(string base58, string cid)
    {
        Assert.Equal(base58, PeerId.Parse(base58).ToString());
        Assert.Equal(PeerId.Parse(base58), PeerId.Parse(cid));
    }

    [Theory]
    [InlineData("")]
    [InlineData("12D3KooW0")]
    [InlineData("b")]
    [InlineData("bafzaajaiaejcbj37")]
    [InlineData("1111")]
    public void TextThatIsNoPeerIdIsRefused(string text)
    {
        Assert.False(PeerId.TryParse(text, out _));
        Assert.Throws<FormatException>(() => PeerId.Parse(text));
    }

    [Fact]
    public void APeerIdIsMadeOfThePublicKeyAndGivesItBack()
    {
        // The key pair of libp2p's peer-ids specification.
        using var identity = Ed25519KeyPair.FromSeed(Convert.FromHexString("7e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d"));
        Assert.Equal("080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e", Convert.ToHexStringLower(identity.PublicKey.ToProtobuf()));
        Assert.Equal("12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq", identity.PeerId.ToString());
        Assert.True(identity.PeerId.TryGetPublicKey(out var key));
        Assert.Equal(identity.PublicKey.Data, key.Data);
        Assert.False(PeerId.Parse(HashedPeer).TryGetPublicKey(out _));
    }

    [Fact]
    public void AnIdentifyMessageIsReadAsItWasWritten()
    {
        using var identity = Ed25519KeyPair.Create();
        var message = Identify(identity);
        var read = IdentifyMessage.Decode(message.Encode());
        Assert.Equal(message.ListenAddresses, read.ListenAddresses);
        Assert.Equal(message.Protocols, read.Protocols);
        Assert.Equal(message.ObservedAddress, read.ObservedAddress);
        Assert.Equal((message.ProtocolVersion, message.AgentVersion), (read.ProtocolVersion, read.AgentVersion));
        Assert.Equal(identity.PeerId, PeerId.FromPublicKey(read.PublicKey!));
    }

    [Fact]
    public void RelayMessagesAreReadAsTheyWereWritten()
    {
        var peer = PeerId.Parse(Ed25519Peer);
        var message = new RelayMessage
        {
            Type = RelayMessageType.Status,
            Peer = peer,
            Status = RelayStatus.Ok,
            Limit = new RelayLimit { Duration = TimeSpan.FromSeconds(120), Data = 131072 },
            Reservation = new RelayReservation { Expires = DateTimeOffset.FromUnixTimeSeconds(1_800_000_000), Addresses = [Multiaddr.Parse("/ip4/10.0.0.1/tcp/1")] },
        };
        foreach (var read in new[] { RelayMessage.DecodeHop(message.EncodeHop()), RelayMessage.DecodeStop(message.EncodeStop()) })
        {
            Assert.Equal((message.Type, message.Peer, message.Status, message.Limit), (read!.Type, read.Peer, read.Status, read.Limit));
        }

        var reservation = RelayMessage.DecodeHop(message.EncodeHop())!.Reservation!;
        Assert.Equal(message.Reservation.Expires, reservation.Expires);
        Assert.Equal(message.Reservation.Addresses, reservation.Addresses);
        Assert.Null(RelayMessage.DecodeStop(message.EncodeStop())!.Reservation);

        Assert.Equal("0801", Convert.ToHexString(new RelayMessage { Type = RelayMessageType.Connect }.EncodeHop()));
        Assert.Equal("0800", Convert.ToHexString(new RelayMessage { Type = RelayMessageType.Connect }.EncodeStop()));
    }

    /// <summary>Every decoder, on every prefix of a good message, on changed bytes, and on noise: it reads or refuses, and
    /// nothing else ever happens.</summary>
    [Fact]
    public void NoDecoderFailsInAnyOtherWayThanByRefusing()
    {
        using var identity = Ed25519KeyPair.Create();
        var seeds = new[]
        {
            Identify(identity).Encode(),
            NoisePayload.Create(identity, new byte[32], ["/yamux/1.0.0"]).Encode(),
            new RelayMessage
            {
                Type = RelayMessageType.Status,
                Peer = identity.PeerId,
                Limit = new RelayLimit { Data = 1, Duration = TimeSpan.FromSeconds(1) },
                Reservation = new RelayReservation { Expires = DateTimeOffset.UnixEpoch, Addresses = [Multiaddr.Parse("/ip4/1.2.3.4/tcp/5")] },
            }.EncodeHop(),
            identity.PublicKey.ToProtobuf(),
            Multiaddr.Parse($"/ip4/10.0.0.1/tcp/1/p2p/{HashedPeer}/p2p-circuit/p2p/{Ed25519Peer}").Bytes.ToArray(),
            [0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0x00],
            [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
        };
        var random = new Random(20006);
        foreach (var seed in seeds)
        {
            for (var length = 0; length <= seed.Length; length++)
                DecodeAll(seed.AsSpan(0, length));
            for (var round = 0; round < 3000; round++)
            {
                var changed = seed.ToArray();
                for (var i = random.Next(1, 4); i > 0; i--)
                    changed[random.Next(changed.Length)] = (byte)random.Next(256);
                DecodeAll(changed);
            }
        }

        for (var round = 0; round < 5000; round++)
        {
            var noise = new byte[random.Next(64)];
            random.NextBytes(noise);
            DecodeAll(noise);
        }
    }

    private static void DecodeAll(ReadOnlySpan<byte> bytes)
    {
        Multiaddr.TryDecode(bytes, out _);
        PeerId.TryFromMultihash(bytes, out _);
        _ = PublicKey.TryParse(bytes, out _);
        RelayMessage.DecodeHop(bytes);
        RelayMessage.DecodeStop(bytes);
        _ = Multiaddr.TryParse(System.Text.Encoding.Latin1.GetString(bytes), out _);
        _ = PeerId.TryParse(System.Text.Encoding.Latin1.GetString(bytes), out _);
        try
        {
            IdentifyMessage.Decode(bytes);
        }
        catch (PeerProtocolException)
        {
            // Refused.
        }

        try
        {
            NoisePayload.Decode(bytes);
        }
        catch (PeerProtocolException)
        {
            // Refused.
        }
    }

    private static IdentifyMessage Identify(Ed25519KeyPair identity) => new()
    {
        PublicKey = identity.PublicKey,
        ListenAddresses = [Multiaddr.Parse("/ip4/10.0.0.1/tcp/20006"), Multiaddr.Parse("/ip6/::1/tcp/1")],
        Protocols = ["/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"],
        ObservedAddress = Multiaddr.Parse("/ip4/192.0.2.1/tcp/4001"),
        ProtocolVersion = "ipfs/0.1.0",
        AgentVersion = "test/1",
    };
}
