using EdgeMesh.Dns.Caching;
using EdgeMesh.Dns.Forwarding;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using EdgeMesh.Names;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Tests.Dns;
using static EdgeMesh.Tests.Fuzzing.FuzzTarget;

namespace EdgeMesh.Tests.Fuzzing;

/// <summary>What clients and upstreams of the DNS server send.</summary>
internal static class DnsTargets
{
    private static readonly byte[][] Words =
    [
        [0xC0, 0x0C], [0xC0, 0x00], [0, 1, 0, 1], [0, 28, 0, 1], [0, 33, 0, 1], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0], [0, 6, 0, 1], [0, 5, 0, 1],
        DnsText.Name("web.demo.svc.cluster.local"), DnsText.Name("a.example"),
    ];

    internal static IEnumerable<FuzzTarget> All()
    {
        byte[][] queries =
        [
            DnsText.Query("web.demo.svc.cluster.local", RecordType.A), DnsText.Query("_http._tcp.web.demo.svc.cluster.local", RecordType.Srv, edns: 1232),
            DnsText.Query("10-1-2-3.demo.pod.cluster.local", RecordType.A), DnsText.Query("fd00--1.demo.pod.cluster.local", RecordType.Aaaa),
            DnsText.Query("10.0.96.10.in-addr.arpa", RecordType.Ptr), DnsText.Query("10-1-1-1.db.demo.svc.cluster.local", RecordType.A), DnsText.Query("a.example", RecordType.A, edns: 4096),
            DnsText.Query("out.demo.svc.cluster.local", RecordType.A), DnsText.Query("cluster.local", RecordType.Soa), DnsText.Query("dns-version.cluster.local", RecordType.Txt),
        ];
        yield return new("dns-request", queries, new Server().Request) { Words = Words };

        var asked = DnsText.Query("a.example", RecordType.A);
        byte[][] replies =
        [
            DnsText.Reply(asked, ResponseCode.NoError, "60 CNAME b.example", "60 A 192.0.2.1", "60 A 192.0.2.2"), DnsText.Reply(asked, ResponseCode.NameError, "authority:60 SOA 60"),
            DnsText.Truncated(asked), DnsText.Reply(asked, ResponseCode.ServerFailure), DnsText.Reply(asked, ResponseCode.NoError, "60 TYPE65 0001"),
        ];
        yield return new("dns-reply", replies, new Server().Reply) { Words = Words };
        yield return new("dns-stream", [[.. Framed(queries[0]), .. Framed(queries[1])], [0, 0, 0, 1, 9]], bytes =>
        {
            var frames = new StreamFrames(512);
            foreach (var piece in bytes.Chunk(1 + (bytes.Length > 0 ? bytes[^1] : 0)))
            {
                ReadOnlySpan<byte> input = piece;
                while (frames.TryRead(ref input, out var message))
                    Hold(message.Length <= 512, "a message beyond its bound");
                Hold(input.IsEmpty, "bytes were left");
            }
        });
        yield return new("resolv-conf", [Text("nameserver 10.0.0.1\nnameserver fd00::1\nsearch a\n")], bytes => ResolvConf.Parse(System.Text.Encoding.UTF8.GetString(bytes), []))
        { Words = Split("nameserver |\n|::1|%eth0|#", '|') };
        yield return new("upstream", [Text("tls://1.1.1.1#dns.example"), Text("[fd00::1]:53"), Text("8.8.8.8:53")], bytes => UpstreamServer.Parse(System.Text.Encoding.UTF8.GetString(bytes), out _))
        { Words = Split("tls:// # : [ ]", ' ') };
    }

    private static byte[] Framed(byte[] message) => [(byte)(message.Length >> 8), (byte)message.Length, .. message];

    private static void Hold(bool holds, string otherwise)
    {
        if (!holds)
            throw new InvalidOperationException(otherwise);
    }

    /// <summary>A whole server whose upstream answers with what it is fed with.</summary>
    private sealed class Server : IAnswerSink, IUpstreamSockets
    {
        private readonly byte[] _response = new byte[DnsLimits.MaxMessage];
        private readonly DnsServer _server;
        private readonly List<Exchange> _open = [];
        private long _now;

        internal Server()
        {
            var zone = new ClusterZone(new ZoneOptions());
            var headless = ClusterObjects.Service("demo/db", "None", "sql:1");
            zone.Take(ClusterObjects.Facts(ClusterObjects.Service("demo/web", "10.96.0.10", "http:80"), headless, ClusterObjects.Slice("demo/db-1", "demo/db", "sql:1", "10.1.1.1")));
            _server = new DnsServer(new DnsServerOptions { Allows = _ => true, Cache = new AnswerCacheOptions { MaxBytes = 10_000 } }, zone, this, this, () => 7, 1);
            _server.Forwarder.Use(UpstreamTable.ForAll(FakeUpstreams.One, FakeUpstreams.Two));
        }

        internal void Request(byte[] bytes)
        {
            var length = _server.Receive(DnsText.Client, bytes, _response, _now);
            Hold(length <= DnsLimits.LargestUdp, "an answer beyond its bound");
            if (length > 0 && RecordReader.TryOpen(_response.AsSpan(0, length), out var records))
            {
                while (records.TryNext())
                {
                }

                Hold(!records.IsMalformed && records.Position == length, "an answer that cannot be read");
            }

            Pass();
        }

        internal void Reply(byte[] bytes)
        {
            _server.Receive(DnsText.StreamClient, DnsText.Query("a.example", RecordType.A), _response, _now);
            foreach (var exchange in _open.ToArray())
                _server.Forwarder.Received(exchange, bytes, _now);
            Pass();
            Hold(_open.Count < 100 && _server.Cache.Bytes <= 10_000, "growth without a bound");
        }

        public bool TryOpen(Exchange exchange, ReadOnlySpan<byte> message)
        {
            _open.Add(exchange);
            return true;
        }

        public void Close(Exchange exchange) => _open.Remove(exchange);

        public void Answer(in DnsClient client, ReadOnlySpan<byte> message, AnswerSource source)
        {
        }

        private void Pass()
        {
            _now += 500;
            _server.Forwarder.Tick(_now);
        }
    }
}
