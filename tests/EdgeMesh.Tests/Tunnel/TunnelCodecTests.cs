using System.Security.Cryptography;
using System.Text;
using EdgeMesh.Catalog;
using EdgeMesh.Dns.Messages;
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

    private static readonly PeerId Peer = PeerId.Parse("12D3KooWE7cSKi1m7EU6e9t2pz4C2TtwsrqmhxBbooj99TnnqLTb");

    private static readonly byte[] Service = WireName.FromText(MulticastDiscovery.Service)!;

    [Fact]
    public void WhatIsWrittenIsRead()
    {
        Assert.Equivalent(Hello, HelloMessage.Decode(Hello.Encode()), strict: true);
        Assert.Equal(Open, OpenMessage.Decode(Bytes(Open)));
        Assert.Equal(Connect, LegacyProxyMessage.Decode(Connect.Encode()));
        var refused = new AnswerMessage(AnswerCode.NotListed, "no such endpoint");
        Assert.Equal(refused, AnswerMessage.Decode(refused.Encode()));
        var (isResponse, isAsked, texts) = Read(Dns.Encode())!.Value;
        Assert.Equal((true, true), (isResponse, isAsked));
        Assert.Equal(Dns.Texts.Select(t => t.Text), texts);
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
        Assert.Null(Read([.. header, 0xC0, 12, 0, 12, 0, 1]));
        Assert.Null(Read([.. header, 0xC0, 14, 0xC0, 12, 0, 12, 0, 1]));
        Assert.Null(Read([.. header, 1, (byte)'a', 0xC0, 12, 0, 12, 0, 1]));
        // Compression as it is meant to be: the second name ends in the first.
        byte[] message = [0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, (byte)'a', 1, (byte)'b', 0, 0, 12, 0, 1, 1, (byte)'c', 0xC0, 14, 0, 12, 0, 1];
        foreach (var (name, isAsked) in new[] { ("a.b", true), ("c.b", true), ("C.B", true), ("b", false), ("x.b", false) })
        {
            Assert.True(DnsMessageReader.TryOpen(message, WireName.FromText(name), out var read));
            Assert.Equal(isAsked, read.IsAsked);
        }
    }

    [Fact]
    public void AnAddressOnTheLanIsReadAsItIsWrittenAndNothingElseIs()
    {
        Span<byte> peer = stackalloc byte[PeerId.MaxBytes];
        Assert.True(DiscoveredText.TryRead(Encoding.ASCII.GetBytes($"dnsaddr=/ip4/192.0.2.7/tcp/20006/p2p/{Peer}"), peer, out var endPoint, out var length));
        Assert.Equal((InetEndpoint.Parse("192.0.2.7:20006"), Convert.ToHexString(Peer.Multihash)), (endPoint, Convert.ToHexString(peer[..length])));
        foreach (var other in new[]
        {
            "", "dnsaddr=", $"/ip4/192.0.2.7/tcp/20006/p2p/{Peer}", "dnsaddr=/ip4/192.0.2.7/tcp/20006", $"dnsaddr=/ip4/192.0.2/tcp/20006/p2p/{Peer}",
            $"dnsaddr=/ip4/192.0.2.700/tcp/20006/p2p/{Peer}", $"dnsaddr=/ip4/192.0.2.7/tcp/70000/p2p/{Peer}", $"dnsaddr=/ip4/192.0.2.7/udp/1/p2p/{Peer}",
            $"dnsaddr=/ip4/192.0.2.7/tcp/1/p2p/{Peer}/p2p-circuit", $"dnsaddr=/ip4/192.0.2.7/tcp/1/p2p/{Peer}1", $"dnsaddr=/ip6/::1/tcp/1/p2p/{Peer}",
            "dnsaddr=/ip4/192.0.2.7/tcp/1/p2p/0OIl", $"dnsaddr=/ip4/192.0.2.7/tcp/1/p2p/{new string('z', 200)}", "dnsaddr=/ip4/192.0.2.7/tcp/1/p2p/",
        })
        {
            Assert.False(DiscoveredText.TryRead(Encoding.ASCII.GetBytes(other), peer, out _, out _), other);
        }
    }

    [Fact]
    public void WhatAnybodySaysOnTheLanIsReadWithoutAnAllocation()
    {
        var random = new Random(7);
        byte[][] said =
        [
            Dns.Encode(),
            new DnsMessage { IsResponse = true, Texts = [.. Enumerable.Repeat(("a._p2p._udp.local", $"dnsaddr=/ip4/192.0.2.7/tcp/20006/p2p/{Peer}"), 40)] }.Encode(),
            .. Enumerable.Range(0, 20).Select(_ => { var noise = new byte[400]; random.NextBytes(noise); return noise; }),
        ];
        ReadAll(said);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 200; i++)
            ReadAll(said);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());

        static void ReadAll(byte[][] said)
        {
            Span<byte> peer = stackalloc byte[PeerId.MaxBytes];
            foreach (var bytes in said)
            {
                if (!DnsMessageReader.TryOpen(bytes, Service, out var message))
                    continue;
                while (message.TryNextText(out var text))
                    DiscoveredText.TryRead(text, peer, out _, out _);
            }
        }
    }

    private static (bool IsResponse, bool IsAsked, IEnumerable<string> Texts)? Read(byte[] bytes)
    {
        if (!DnsMessageReader.TryOpen(bytes, Service, out var message))
            return null;
        var texts = new List<string>();
        while (message.TryNextText(out var text))
            texts.Add(Encoding.ASCII.GetString(text));
        return (message.IsResponse, message.IsAsked, texts);
    }

    private static IEnumerable<(byte[] Bytes, Action<byte[]> Decode)> All() =>
    [
        (Hello.Encode(), b => HelloMessage.Decode(b)),
        (Bytes(Open), b => OpenMessage.Decode(b)),
        (Connect.Encode(), b => LegacyProxyMessage.Decode(b)),
        (new AnswerMessage(AnswerCode.DialFailed, "nobody there").Encode(), b => AnswerMessage.Decode(b)),
        (Dns.Encode(), b => Read(b)),
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
