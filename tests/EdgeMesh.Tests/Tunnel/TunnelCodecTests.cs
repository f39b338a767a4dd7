using System.Security.Cryptography;
using EdgeMesh.Catalog;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Tunnel;
using EdgeMesh.Tunnel.Discovery;
using EdgeMesh.Tunnel.Proxy;
using EdgeMesh.Tunnel.Sessions;
using Xunit;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Wire;

namespace EdgeMesh.Tests.Tunnel;

/// <summary>Every message that a stranger can send: round trip, cut at each byte, altered, and random.</summary>
public sealed class TunnelCodecTests
{
    private static readonly HelloMessage Hello = new()
    {
        Node = "edge-7.plant",
        Ranges = [AddressRange.Parse("10.244.3.1/24"), AddressRange.Parse("fd00:3::1/64")],
        Addresses = [Multiaddr.Parse("/ip4/192.168.7.2/tcp/20006")],
        ProxyVersions = [2, 1],
        IsRelay = true,
        Instance = ulong.MaxValue,
    };

    private static readonly OpenMessage Open = new(
        TransportProtocol.Udp, new ServicePortName("shop", "web", "dns", TransportProtocol.Udp), InetEndpoint.Parse("10.244.3.9:5353"), InetEndpoint.Parse("[fd00::5]:40000"));

    private static readonly LegacyProxyMessage Connect = new(LegacyProxyType.Connect, TransportProtocol.Tcp, "edge-7", InetEndpoint.Parse("10.244.3.9:80"));

    private static readonly DnsMessage Dns = new()
    {
        IsResponse = true,
        Questions = [MulticastDiscovery.Service],
        Pointers = [(MulticastDiscovery.Service, "abc._p2p._udp.local")],
        Texts = [("abc._p2p._udp.local", "dnsaddr=/ip4/10.0.0.1/tcp/20006"), ("abc._p2p._udp.local", "dnsaddr=/ip6/::1/tcp/20006")],
    };

    [Fact]
    public void WhatIsWrittenIsRead()
    {
        Assert.Equivalent(Hello, HelloMessage.Decode(Hello.Encode()), strict: true);
        Assert.Equal(Open, OpenMessage.Decode(Bytes(Open)));
        Assert.Equal(Connect, LegacyProxyMessage.Decode(Connect.Encode()));
        var refused = new AnswerMessage(AnswerCode.NotListed, "no such endpoint");
        Assert.Equal(refused, AnswerMessage.Decode(refused.Encode()));
        Assert.Equivalent(Dns, DnsMessage.Decode(Dns.Encode()), strict: true);
    }

    [Fact]
    public void AMessageCutAnywhereIsRefusedOrReadWithoutHarm()
    {
        foreach (var (bytes, decode) in All())
        {
            for (var length = 0; length < bytes.Length; length++)
                Survives(decode, bytes.AsSpan(0, length));
        }
    }

    [Fact]
    public void AlteredAndRandomBytesAreRefusedOrReadWithoutHarm()
    {
        var random = new Random(7);
        foreach (var (bytes, decode) in All())
        {
            for (var i = 0; i < 5_000; i++)
            {
                var altered = bytes.ToArray();
                for (var change = 0; change <= i % 4; change++)
                    altered[random.Next(altered.Length)] = (byte)random.Next(256);
                Survives(decode, altered);
                var noise = new byte[random.Next(300)];
                random.NextBytes(noise);
                Survives(decode, noise);
            }
        }
    }

    [Fact]
    public void WhatIsBeyondABoundIsRefused()
    {
        Assert.Throws<PeerProtocolException>(() => HelloMessage.Decode((Hello with { Node = new string('a', 254) }).Encode()));
        Assert.Throws<PeerProtocolException>(() => HelloMessage.Decode((Hello with { Node = "UPPER case\n" }).Encode()));
        Assert.Throws<PeerProtocolException>(() => HelloMessage.Decode(new byte[HelloMessage.MaxLength + 1]));
        Assert.Throws<PeerProtocolException>(() => HelloMessage.Decode((Hello with { ProxyVersions = [.. Enumerable.Range(0, 9)] }).Encode()));
        Assert.Throws<PeerProtocolException>(() => OpenMessage.Decode(Bytes(Open with { Service = Open.Service with { Name = new string('n', 254) } })));
        Assert.Throws<PeerProtocolException>(() => OpenMessage.Decode(Bytes(Open with { Service = Open.Service with { Name = "a\nb" } })));
        Assert.Throws<PeerProtocolException>(() => OpenMessage.Decode(Bytes(Open with { Endpoint = Open.Endpoint with { Port = 0 } })));
        Assert.Throws<PeerProtocolException>(() => LegacyProxyMessage.Decode((Connect with { Endpoint = null }).Encode()));
        Assert.Equal(AnswerCode.Malformed, AnswerMessage.Decode([0x08, 0x63]).Code);
        Assert.Equal("a?b", AnswerMessage.Decode([0x08, 0x01, 0x12, 0x03, (byte)'a', (byte)'\n', (byte)'b']).Text);
    }

    [Fact]
    public void NamesThatPointAtThemselvesEnd()
    {
        // A header with one question whose name is a pointer to itself, and one that jumps back and forth.
        byte[] header = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        Assert.Null(DnsMessage.Decode([.. header, 0xC0, 12, 0, 12, 0, 1]));
        Assert.Null(DnsMessage.Decode([.. header, 0xC0, 14, 0xC0, 12, 0, 12, 0, 1]));
        Assert.Null(DnsMessage.Decode([.. header, 1, (byte)'a', 0xC0, 12, 0, 12, 0, 1]));
        // Compression as it is meant to be: the second name ends in the first.
        var message = DnsMessage.Decode([0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, (byte)'a', 1, (byte)'b', 0, 0, 12, 0, 1, 1, (byte)'c', 0xC0, 14, 0, 12, 0, 1]);
        Assert.Equal(["a.b", "c.b"], message!.Questions);
    }

    private static IEnumerable<(byte[] Bytes, Action<byte[]> Decode)> All() =>
    [
        (Hello.Encode(), b => HelloMessage.Decode(b)),
        (Bytes(Open), b => OpenMessage.Decode(b)),
        (Connect.Encode(), b => LegacyProxyMessage.Decode(b)),
        (new AnswerMessage(AnswerCode.DialFailed, "nobody there").Encode(), b => AnswerMessage.Decode(b)),
        (Dns.Encode(), b => _ = DnsMessage.Decode(b)),
    ];

    /// <summary>The one exception that a peer's bytes may cause.</summary>
    private static void Survives(Action<byte[]> decode, ReadOnlySpan<byte> bytes)
    {
        var copy = bytes.ToArray();
        var thrown = Record.Exception(() => decode(copy));
        Assert.True(thrown is null or PeerProtocolException, $"{thrown} from {Convert.ToHexString(copy)}");
    }

    private static byte[] Bytes(OpenMessage open)
    {
        using var queue = new ByteQueue(4096);
        open.Append(queue);
        Assert.True(Delimited.TryRead(queue.Data, 4096, out var message, out _));
        return message.ToArray();
    }
}
