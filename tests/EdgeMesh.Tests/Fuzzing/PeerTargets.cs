using System.Security.Cryptography;
using EdgeMesh.Catalog;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Linux;
using EdgeMesh.Net;
using EdgeMesh.Testing;
using EdgeMesh.Tunnel;
using EdgeMesh.Tunnel.Discovery;
using EdgeMesh.Tunnel.Proxy;
using EdgeMesh.Tunnel.Sessions;
using System.Security.Cryptography.X509Certificates;
using EdgeMesh.LibP2P;
using EdgeMesh.LibP2P.Addresses;
using EdgeMesh.LibP2P.Cryptography;
using EdgeMesh.LibP2P.Identify;
using EdgeMesh.LibP2P.Noise;
using EdgeMesh.LibP2P.Relay;
using EdgeMesh.LibP2P.Select;
using EdgeMesh.LibP2P.Tls;
using EdgeMesh.LibP2P.Wire;
using EdgeMesh.LibP2P.Yamux;
using static EdgeMesh.Tests.Fuzzing.FuzzTarget;
using PublicKey = EdgeMesh.LibP2P.Cryptography.PublicKey;

namespace EdgeMesh.Tests.Fuzzing;

/// <summary>What comes from the network.</summary>
internal static class PeerTargets
{
    private const string Peer = "12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv";
    private const string OldPeer = "QmfXbAwNjJLXfesgztEHe8HwgVDCMMpZ9Eax1HYq6hn9uE";
    private static readonly Type[] Protocol = [typeof(PeerProtocolException)];
    private static readonly Ed25519KeyPair Identity = Ed25519KeyPair.Create();

    internal static IEnumerable<FuzzTarget> All() => [.. Selections(), .. Messages(), .. Keys(), .. Addresses(), .. Sessions()];

    private static IEnumerable<FuzzTarget> Selections()
    {
        byte[] whole = [.. Token("/multistream/1.0.0"), .. Token("/noise"), .. Token("na"), .. Token("/yamux/1.0.0"), .. Token("ls")];
        byte[][] words = [Token("na"), Token("/noise"), Token("/multistream/1.0.0"), Token("ls"), Token("/tls/1.0.0")];
        yield return new("select-listen", [whole, Token("/multistream/1.0.0")], bytes => Select(bytes, q => ProtocolSelection.Listen(p => p == "/noise", q))) { Declared = Protocol, Words = words };
        yield return new("select-dial", [whole, Token("/multistream/1.0.0")], bytes => Select(bytes, q => ProtocolSelection.Dial(["/noise", "/tls/1.0.0"], q))) { Declared = Protocol, Words = words };
    }

    private static void Select(byte[] bytes, Func<ByteQueue, ProtocolSelection> make)
    {
        using var output = new ByteQueue(1 << 16);
        using var selection = make(output);
        ReadOnlySpan<byte> input = bytes;
        while (!input.IsEmpty && selection.State == SelectionState.Pending)
            selection.Receive(ref input);
        Hold(output.Count <= 8 * 1024, "a few bytes bring many");
    }

    private static IEnumerable<FuzzTarget> Messages()
    {
        var identify = new IdentifyMessage
        {
            PublicKey = Identity.PublicKey,
            ListenAddresses = [Multiaddr.Parse("/ip4/10.0.0.1/tcp/20006"), Multiaddr.Parse("/ip6/::1/tcp/1")],
            Protocols = ["/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"],
            ObservedAddress = Multiaddr.Parse("/ip4/192.0.2.1/tcp/4001"),
            ProtocolVersion = "ipfs/0.1.0",
            AgentVersion = "test/1",
        };
        yield return new("identify", [identify.Encode()], bytes => IdentifyMessage.Decode(bytes)) { Declared = Protocol };
        var relay = new RelayMessage { Type = RelayMessageType.Status, Peer = PeerId.Parse(Peer), Status = RelayStatus.Ok, Limit = new RelayLimit { Duration = TimeSpan.FromSeconds(120), Data = 131072 } };
        byte[] reservation = [8, 2, 26, 6, 8, 0xff, 0xff, 0xff, 0xff, 0x7f];
        yield return new("relay", [relay.EncodeHop(), relay.EncodeStop(), reservation], bytes =>
        {
            RelayMessage.DecodeHop(bytes);
            RelayMessage.DecodeStop(bytes);
        });
        var hello = new HelloMessage
        {
            Node = "edge-7.plant",
            Ranges = [AddressRange.Parse("10.244.3.1/24"), AddressRange.Parse("fd00:3::1/64")],
            Addresses = [Multiaddr.Parse("/ip4/192.168.7.2/tcp/20006")],
            ProxyVersions = [2, 1],
            IsRelay = true,
            Instance = ulong.MaxValue,
        };
        yield return new("hello", [hello.Encode()], bytes => HelloMessage.Decode(bytes)) { Declared = Protocol };
        var open = new OpenMessage(TransportProtocol.Udp, new ServicePortName("shop", "web", "dns", TransportProtocol.Udp), InetEndpoint.Parse("10.244.3.9:5353"), InetEndpoint.Parse("[fd00::5]:40000"));
        using var queue = new ByteQueue(4096);
        open.Append(queue);
        var opened = queue.Data.ToArray();
        yield return new("open", [opened, opened[1..]], bytes => OpenMessage.Decode(bytes)) { Declared = Protocol };
        yield return new("answer", [new AnswerMessage(AnswerCode.NotListed, "no such endpoint").Encode()], bytes => AnswerMessage.Decode(bytes)) { Declared = Protocol };
        yield return new("legacy", [new LegacyProxyMessage(LegacyProxyType.Connect, TransportProtocol.Tcp, "edge-7", InetEndpoint.Parse("10.244.3.9:80")).Encode()], bytes => LegacyProxyMessage.Decode(bytes)) { Declared = Protocol };
        var dns = new DnsMessage
        {
            IsResponse = true,
            Questions = [MulticastDiscovery.Service],
            Pointers = [(MulticastDiscovery.Service, "abc._p2p._udp.local")],
            Texts = [("abc._p2p._udp.local", "dnsaddr=/ip4/10.0.0.1/tcp/20006/p2p/12D3KooWE7cSKi1m7EU6e9t2pz4C2TtwsrqmhxBbooj99TnnqLTb"), ("abc._p2p._udp.local", "dnsaddr=/ip6/::1/tcp/20006")],
        };
        var service = WireName.FromText(MulticastDiscovery.Service)!;
        yield return new("dns", [dns.Encode()], bytes =>
        {
            Span<byte> peer = stackalloc byte[PeerId.MaxBytes];
            if (!DnsMessageReader.TryOpen(bytes, service, out var message))
                return;
            while (message.TryNextText(out var text))
                DiscoveredText.TryRead(text, peer, out _, out _);
        }) { LongestInput = 9000, Words = [[0xC0, 0x0C], [0xC0, 0x00], [0, 12, 0, 1], [0, 16, 0, 1]] };
        yield return new("delimited", [[5, 1, 2, 3, 4, 5]], bytes =>
        {
            _ = Delimited.TryRead(bytes, 1024, out _, out var consumed);
            _ = Varint.Read(bytes, out _, out _);
            Hold(consumed <= bytes.Length, "more was taken than there was");
        })
        { Declared = Protocol };
    }

    private static IEnumerable<FuzzTarget> Keys()
    {
        yield return new("noise-payload", [NoisePayload.Create(Identity, new byte[32], ["/yamux/1.0.0"]).Encode()], bytes => NoisePayload.Decode(bytes).Vouches(new byte[32])) { Declared = Protocol };
        using var rsa = RSA.Create(2048);
        using var ec = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        // Keys on curves that no library knows by name: one of them ended the link to a node for good.
        var curves = Directory.GetFiles(Repository.PathOf("tests/fixtures/fuzz/public-key"), "*.spki").Order(StringComparer.Ordinal).Select(f => Key(3, File.ReadAllBytes(f)));
        var odd = ec.ExportSubjectPublicKeyInfo();
        // 1.2.840.10045.3.1.7 -> ...3.1.99
        odd[22] = 99;
        var signature = ec.SignData("data"u8.ToArray(), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
        yield return new(
            "public-key",
            [Identity.PublicKey.ToProtobuf(), Key(0, rsa.ExportSubjectPublicKeyInfo()), Key(3, ec.ExportSubjectPublicKeyInfo()), Key(3, odd), Key(2, [2, .. new byte[32]]), .. curves],
            bytes =>
            {
                if (!PublicKey.TryParse(bytes, out var key))
                    return;
                PeerId.FromPublicKey(key);
                _ = key.Verify("data"u8, new byte[64]);
                _ = key.Verify("data"u8, signature);
            });
        using var own = PeerCertificate.Create(Identity, TimeProvider.System);
        yield return new("certificate", [own.RawData], bytes =>
        {
            X509Certificate2 certificate;
            try
            {
                certificate = X509CertificateLoader.LoadCertificate(bytes);
            }
            catch (CryptographicException)
            {
                // TLS has not got so far.
                return;
            }

            using (certificate)
                PeerCertificate.Verify(certificate, TimeProvider.System);
        })
        { Declared = Protocol };
    }

    private static IEnumerable<FuzzTarget> Addresses()
    {
        string[] texts = [$"/ip4/10.0.0.1/tcp/1/p2p/{OldPeer}/p2p-circuit/p2p/{Peer}", "/dns4/relay.example/tcp/443/wss", "/ip6/fd0e::1/udp/53/quic-v1"];
        yield return new("multiaddr-binary", [.. texts.Select(t => Multiaddr.Parse(t).Bytes.ToArray())], bytes =>
        {
            if (!Multiaddr.TryDecode(bytes, out var address))
                return;
            _ = address.TryGetTcpEndPoint(out _);
            Hold(address is { IsRelayed: true } or { Peer: null or not null }, "an address can be asked");
            Hold(!Multiaddr.TryParse(address.ToString(), out var again) || again.Equals(address), "its text is another address");
        });
        yield return new("multiaddr-text", [.. texts.Select(Text), Text("bafzaajaiaejcbj37dwjp5w2z3xnouwq4jk6rvqx33z6xxb462nsfagajsi6xyenz")], bytes =>
        {
            var text = System.Text.Encoding.UTF8.GetString(bytes);
            _ = PeerId.TryParse(text, out _);
            _ = AddressRange.TryParse(text, out _);
            if (Multiaddr.TryParse(text, out var address))
                Hold(Multiaddr.TryDecode(address.Bytes, out var again) && again.Equals(address), "its bytes are another address");
        })
        { Words = Split("/ip4/ /p2p/ /dns/ /unix/ /quic-v1 /webtransport/certhash/", ' ') };
    }

    private static IEnumerable<FuzzTarget> Sessions()
    {
        byte[][] frames = [.. Frames()];
        yield return new("yamux", frames, Yamux) { Declared = Protocol, Words = frames, LongestInput = 20_000 };
        using var queue = new ByteQueue(1 << 20);
        using var dialer = new NoiseSession(true, Identity, new NoiseTerms(), ["/yamux/1.0.0"], queue);
        byte[] flow = [.. queue.Data, 0, 100, .. new byte[100]];
        yield return new("noise-handshake", [flow], bytes =>
        {
            using var output = new ByteQueue(1 << 20);
            using var plain = new ByteQueue(1 << 20);
            using var session = new NoiseSession(false, Identity, new NoiseTerms(), ["/yamux/1.0.0"], output);
            ReadOnlySpan<byte> input = bytes;
            session.Receive(ref input, plain);
        })
        { Declared = Protocol, LongestInput = 2000 };
    }

    /// <summary>A listener that opens streams too; never more streams or data than were allowed.</summary>
    private static void Yamux(byte[] bytes)
    {
        using var session = new YamuxSession(false, new YamuxOptions { MaxInboundStreams = 8, SendBuffer = 4096, MaxWindow = 1 << 20, MaxWindowGrowth = 1 << 20 }, TimeProvider.System);
        session.Write(session.TryOpen()!, [1, 2, 3]);
        session.Ping();
        var input = bytes.ToArray().AsSpan();
        long data = 0;
        for (var n = 1; session.TryReceive(ref input, out var happened); n++)
        {
            var stream = happened.Stream!;
            switch (happened.Kind)
            {
                case YamuxEventKind.Data:
                    data += happened.Data.Length;
                    if (n % 3 != 0)
                        session.Consumed(stream, happened.Data.Length);
                    if (n % 5 == 0 && !stream.IsGone)
                        session.Write(stream, [9, 9]);
                    break;
                case YamuxEventKind.Opened when n % 4 == 0:
                    session.Reset(stream);
                    break;
                case YamuxEventKind.Ended when n % 2 == 0:
                    session.CloseWrite(stream);
                    break;
                case YamuxEventKind.Writable:
                    session.Write(stream, new byte[3000]);
                    break;
            }

            Hold(session.StreamCount <= 10, "more streams stand than may");
            Hold(data <= bytes.Length, "more data came than was sent");
            if (n % 7 == 0)
                session.Output.Consume(session.Output.Count);
        }

        session.WholeFrames();
    }

    private static IEnumerable<byte[]> Frames()
    {
        yield return Frame(YamuxType.Data, YamuxFlags.Syn, 1, 3, [1, 2, 3]);
        yield return Frame(YamuxType.WindowUpdate, YamuxFlags.Syn, 1, 0);
        yield return Frame(YamuxType.WindowUpdate, YamuxFlags.None, 1, 0xFFFFFFFF);
        yield return Frame(YamuxType.WindowUpdate, YamuxFlags.None, 1, 0x7FFFFFFF);
        yield return Frame(YamuxType.Data, YamuxFlags.Fin, 1, 0);
        yield return Frame(YamuxType.Data, YamuxFlags.Rst, 1, 0);
        yield return Frame(YamuxType.WindowUpdate, YamuxFlags.Ack, 2, 0);
        yield return Frame(YamuxType.Data, YamuxFlags.None, 2, 5, [1, 2, 3, 4, 5]);
        yield return Frame(YamuxType.Data, YamuxFlags.Ack, 2, 2, [1, 2]);
        yield return Frame(YamuxType.Ping, YamuxFlags.Syn, 0, 7);
        yield return Frame(YamuxType.Ping, YamuxFlags.Ack, 0, 0);
        yield return Frame(YamuxType.GoAway, YamuxFlags.None, 0, 0);
    }

    private static byte[] Frame(YamuxType type, YamuxFlags flags, uint stream, uint length, byte[]? body = null)
    {
        var header = new byte[12];
        new YamuxFrame(type, flags, stream, length).Write(header);
        return [.. header, .. body ?? []];
    }

    private static byte[] Key(byte type, byte[] data)
    {
        var length = new List<byte>();
        var left = data.Length;
        for (; left >= 0x80; left >>= 7)
            length.Add((byte)(left | 0x80));
        return [8, type, 0x12, .. length, (byte)left, .. data];
    }

    private static byte[] Token(string text) => [(byte)(text.Length + 1), .. Text(text), (byte)'\n'];

    private static void Hold(bool holds, string what)
    {
        if (!holds)
            throw new InvalidOperationException(what);
    }
}
