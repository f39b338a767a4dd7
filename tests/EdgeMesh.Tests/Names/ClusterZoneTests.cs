using System.Collections.Immutable;
using EdgeMesh.Dns.Messages;
using EdgeMesh.Dns.Serving;
using EdgeMesh.Kubernetes;
using EdgeMesh.Kubernetes.Api;
using EdgeMesh.Linux;
using EdgeMesh.Names;
using EdgeMesh.Net;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Tests.Dns;
using Xunit;

namespace EdgeMesh.Tests.Names;

/// <summary>The rows of the Kubernetes DNS specification 1.1.0, and what clients rely on beside them.</summary>
public sealed class ClusterZoneTests
{
    private const string Denied = "NXDOMAIN aa\nauthority: cluster.local. 30 SOA ns.dns.cluster.local. 30";
    private const string Empty = "NOERROR aa\nauthority: cluster.local. 30 SOA ns.dns.cluster.local. 30";

    private readonly ClusterZone _zone = new(new ZoneOptions { Domains = ["cluster.local", "Plant.Example."], Servers = [InetAddress.Parse("169.254.96.16")] });
    private readonly byte[] _response = new byte[DnsLimits.MaxMessage];

    public ClusterZoneTests() => _zone.Take(Facts);

    private static ClusterFacts Facts { get; } = ClusterObjects.Facts(
        Service("web", "10.96.0.10", "http:80", "8443", "dns:53/UDP"),
        Service("dual", "10.96.0.11", "http:80") with { Spec = new ServiceSpec { ClusterIP = "10.96.0.11", ClusterIPs = ["10.96.0.11", "fd00::11"], Ports = [new ServicePort { Name = "http", Port = 80, Protocol = "TCP" }] } },
        Service("db", "None", "sql:5432"),
        Service("none-ready", "None", "sql:5432"),
        Service("pending", "", "http:80"),
        External("out", "www.example.com"),
        External("number", "192.0.2.1"),
        Slice("db-4", "db", "IPv4", ("10.244.1.5", "db-0", true), ("10.244.1.6", "db-1", true), ("10.244.1.7", null, true), ("10.244.1.8", "db-3", false)),
        Slice("db-6", "db", "IPv6", ("fd00:1::5", "db-0", true), ("fd00:1::7", null, true)),
        Slice("none-4", "none-ready", "IPv4", ("10.244.1.9", "x", false)));

    [Theory]
    [InlineData("dns-version.cluster.local", "TXT", "NOERROR aa\ndns-version.cluster.local. 30 TXT \"1.1.0\"")]
    [InlineData("web.shop.svc.cluster.local", "A", "NOERROR aa\nweb.shop.svc.cluster.local. 30 A 10.96.0.10")]
    [InlineData("WEB.Shop.svc.CLUSTER.local", "A", "NOERROR aa\nWEB.Shop.svc.CLUSTER.local. 30 A 10.96.0.10")]
    [InlineData("web.shop.svc.plant.example", "A", "NOERROR aa\nweb.shop.svc.plant.example. 30 A 10.96.0.10")]
    [InlineData("web.shop.svc.cluster.local", "AAAA", Empty)]
    [InlineData("web.shop.svc.cluster.local", "TXT", Empty)]
    [InlineData("dual.shop.svc.cluster.local", "A", "NOERROR aa\ndual.shop.svc.cluster.local. 30 A 10.96.0.11")]
    [InlineData("dual.shop.svc.cluster.local", "AAAA", "NOERROR aa\ndual.shop.svc.cluster.local. 30 AAAA fd00::11")]
    [InlineData("pending.shop.svc.cluster.local", "A", Empty)]
    [InlineData("_http._tcp.web.shop.svc.cluster.local", "SRV", "NOERROR aa\n_http._tcp.web.shop.svc.cluster.local. 30 SRV 0 100 80 web.shop.svc.cluster.local.\nadditional: web.shop.svc.cluster.local. 30 A 10.96.0.10")]
    [InlineData("_HTTP._TCP.Web.Shop.svc.cluster.local", "SRV", "NOERROR aa\n_HTTP._TCP.Web.Shop.svc.cluster.local. 30 SRV 0 100 80 Web.Shop.svc.cluster.local.\nadditional: Web.Shop.svc.cluster.local. 30 A 10.96.0.10")]
    [InlineData("_dns._udp.web.shop.svc.cluster.local", "SRV", "NOERROR aa\n_dns._udp.web.shop.svc.cluster.local. 30 SRV 0 100 53 web.shop.svc.cluster.local.\nadditional: web.shop.svc.cluster.local. 30 A 10.96.0.10")]
    [InlineData("_dns._tcp.web.shop.svc.cluster.local", "SRV", Denied)]
    [InlineData("_http._tcp.web.shop.svc.cluster.local", "A", Empty)]
    [InlineData("_tcp.web.shop.svc.cluster.local", "A", Empty)]
    [InlineData("_sctp.web.shop.svc.cluster.local", "A", Denied)]
    [InlineData("db-0.db.shop.svc.cluster.local", "A", "NOERROR aa\ndb-0.db.shop.svc.cluster.local. 30 A 10.244.1.5")]
    [InlineData("DB-0.db.shop.svc.cluster.local", "AAAA", "NOERROR aa\nDB-0.db.shop.svc.cluster.local. 30 AAAA fd00:1::5")]
    [InlineData("10-244-1-7.db.shop.svc.cluster.local", "A", "NOERROR aa\n10-244-1-7.db.shop.svc.cluster.local. 30 A 10.244.1.7")]
    [InlineData("fd00-1--7.db.shop.svc.cluster.local", "AAAA", "NOERROR aa\nfd00-1--7.db.shop.svc.cluster.local. 30 AAAA fd00:1::7")]
    [InlineData("10-244-1-7.db.shop.svc.cluster.local", "AAAA", Empty)]
    // One with a host name has no other, and one that is not ready has none.
    [InlineData("10-244-1-5.db.shop.svc.cluster.local", "A", Denied)]
    [InlineData("db-3.db.shop.svc.cluster.local", "A", Denied)]
    [InlineData("10-96-0-10.web.shop.svc.cluster.local", "A", Denied)]
    [InlineData("none-ready.shop.svc.cluster.local", "A", Empty)]
    [InlineData("out.shop.svc.cluster.local", "A", "NOERROR aa\nout.shop.svc.cluster.local. 30 CNAME www.example.com.")]
    [InlineData("out.shop.svc.cluster.local", "TXT", "NOERROR aa\nout.shop.svc.cluster.local. 30 CNAME www.example.com.")]
    [InlineData("number.shop.svc.cluster.local", "A", Empty)]
    [InlineData("10.0.96.10.in-addr.arpa", "PTR", "NOERROR aa\n10.0.96.10.in-addr.arpa. 30 PTR web.shop.svc.cluster.local.")]
    [InlineData("10.0.96.10.in-addr.arpa", "A", "(not ours)")]
    [InlineData("10-1-2-3.shop.pod.cluster.local", "A", "NOERROR aa\n10-1-2-3.shop.pod.cluster.local. 30 A 10.1.2.3")]
    [InlineData("fd00--3.shop.pod.cluster.local", "AAAA", "NOERROR aa\nfd00--3.shop.pod.cluster.local. 30 AAAA fd00::3")]
    [InlineData("10-1-2-3.shop.pod.cluster.local", "AAAA", Empty)]
    [InlineData("10-1-2-3.unknown.pod.cluster.local", "A", Denied)]
    [InlineData("10-1-2-300.shop.pod.cluster.local", "A", Denied)]
    [InlineData("a.10-1-2-3.shop.pod.cluster.local", "A", Denied)]
    [InlineData("nobody.shop.svc.cluster.local", "A", Denied)]
    [InlineData("web.nowhere.svc.cluster.local", "A", Denied)]
    [InlineData("host.example.com.shop.svc.cluster.local", "A", Denied)]
    [InlineData("shop.svc.cluster.local", "A", Empty)]
    [InlineData("shop.pod.cluster.local", "A", Empty)]
    [InlineData("nowhere.svc.cluster.local", "A", Denied)]
    [InlineData("svc.cluster.local", "A", Empty)]
    [InlineData("cluster.local", "A", Empty)]
    [InlineData("cluster.local", "SOA", "NOERROR aa\ncluster.local. 30 SOA ns.dns.cluster.local. 30")]
    [InlineData("cluster.local", "NS", "NOERROR aa\ncluster.local. 30 NS ns.dns.cluster.local.")]
    [InlineData("ns.dns.cluster.local", "A", "NOERROR aa\nns.dns.cluster.local. 30 A 169.254.96.16")]
    [InlineData("other.cluster.local", "A", Denied)]
    [InlineData("mycluster.local", "A", "(not ours)")]
    [InlineData("www.example.com", "A", "(not ours)")]
    [InlineData(".", "NS", "(not ours)")]
    public void EachQuestionHasItsAnswer(string name, string type, string expected) =>
        Assert.Equal(expected, Ask(name, Enum.Parse<RecordType>(type, ignoreCase: true)));

    [Fact]
    public void AddressesLeadBackToTheirNames()
    {
        Assert.Equal("NOERROR aa\n11.0.96.10.in-addr.arpa. 30 PTR dual.shop.svc.cluster.local.", Ask("11.0.96.10.in-addr.arpa", RecordType.Ptr));
        var six = string.Join('.', "fd000000000000000000000000000011".Reverse()) + ".IP6.arpa";
        Assert.Equal($"NOERROR aa\n{six}. 30 PTR dual.shop.svc.cluster.local.", Ask(six, RecordType.Ptr));
        Assert.Equal("NOERROR aa\n5.1.244.10.in-addr.arpa. 30 PTR db-0.db.shop.svc.cluster.local.", Ask("5.1.244.10.in-addr.arpa", RecordType.Ptr));
        Assert.Equal("(not ours)", Ask("7.1.244.10.in-addr.arpa", RecordType.Ptr));
        Assert.Equal("(not ours)", Ask("05.1.244.10.in-addr.arpa", RecordType.Ptr));
    }

    [Fact]
    public void AHeadlessServiceIsAllItsReadyEndpoints()
    {
        Assert.Equal(["10.244.1.5", "10.244.1.6", "10.244.1.7"], Addresses("db.shop.svc.cluster.local", RecordType.A).Order());
        Assert.Equal(["fd00:1::5", "fd00:1::7"], Addresses("db.shop.svc.cluster.local", RecordType.Aaaa).Order());
    }

    /// <summary>By its object, by its services, and by both: until the last of them is gone.</summary>
    [Fact]
    public void ANamespaceExistsWithAServiceOrWithoutAny()
    {
        const string name = "10-1-2-3.plain.pod.cluster.local";
        var service = ClusterObjects.Service("plain/web", "10.96.0.90", "http:80");
        Assert.Equal(Denied, Ask("plain.svc.cluster.local", RecordType.A));
        _zone.Take(Facts.With(ClusterObjects.Namespace("Plain")));
        Assert.Equal(Empty, Ask("plain.svc.cluster.local", RecordType.A));
        Assert.StartsWith("NOERROR aa", Ask(name, RecordType.A), StringComparison.Ordinal);
        _zone.Take(Facts.With(ClusterObjects.Namespace("Plain")).With(service));
        _zone.Take(Facts.With(service));
        Assert.StartsWith("NOERROR aa", Ask(name, RecordType.A), StringComparison.Ordinal);
        _zone.Take(Facts);
        Assert.Equal(Denied, Ask(name, RecordType.A));
    }

    [Fact]
    public void AddressesOfOneNameTakeTurns()
    {
        var first = Enumerable.Range(0, 3).Select(turn => Addresses("db.shop.svc.cluster.local", RecordType.A, (uint)turn)[0]);
        Assert.Equal(3, first.Distinct().Count());
    }

    [Fact]
    public void SrvOfAHeadlessServiceNamesEachEndpoint()
    {
        var lines = Ask("_sql._tcp.db.shop.svc.cluster.local", RecordType.Srv).Split('\n');
        Assert.Equal(
            [
                "_sql._tcp.db.shop.svc.cluster.local. 30 SRV 0 100 5432 10-244-1-7.db.shop.svc.cluster.local.",
                "_sql._tcp.db.shop.svc.cluster.local. 30 SRV 0 100 5432 db-0.db.shop.svc.cluster.local.",
                "_sql._tcp.db.shop.svc.cluster.local. 30 SRV 0 100 5432 db-0.db.shop.svc.cluster.local.",
                "_sql._tcp.db.shop.svc.cluster.local. 30 SRV 0 100 5432 db-1.db.shop.svc.cluster.local.",
                "_sql._tcp.db.shop.svc.cluster.local. 30 SRV 0 100 5432 fd00-1--7.db.shop.svc.cluster.local.",
            ],
            lines.Where(l => l.Contains(" SRV ", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
        Assert.Contains("additional: db-0.db.shop.svc.cluster.local. 30 AAAA fd00:1::5", lines);
        Assert.Contains("additional: 10-244-1-7.db.shop.svc.cluster.local. 30 A 10.244.1.7", lines);
        Assert.Equal(5, lines.Count(l => l.StartsWith("additional", StringComparison.Ordinal)));
    }

    [Fact]
    public void SrvOfAServiceIsAllItsPorts()
    {
        var ports = Ask("web.shop.svc.cluster.local", RecordType.Srv).Split('\n').Where(l => l.Contains(" SRV ", StringComparison.Ordinal)).Select(l => l.Split(' ')[5]);
        Assert.Equal(["53", "80", "8443"], ports.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void BeforeFactsAreThereNothingIsDenied()
    {
        var zone = new ClusterZone(new ZoneOptions());
        Assert.Equal("SERVFAIL aa", Ask(zone, "web.shop.svc.cluster.local", RecordType.A));
        Assert.Equal("(not ours)", Ask(zone, "10.0.96.10.in-addr.arpa", RecordType.Ptr));
    }

    [Fact]
    public void WhatDoesNotFitIsLeftOutAndSaid()
    {
        var many = Enumerable.Range(0, 100).Select(i => ($"10.244.9.{i}", (string?)null, true)).ToArray();
        _zone.Take(Facts.With(Service("many", "None", "sql:1")).With(Slice("many-1", "many", "IPv4", many)));
        var text = Ask("many.shop.svc.cluster.local", RecordType.A, limit: 512);
        Assert.StartsWith("NOERROR aa tc\n", text, StringComparison.Ordinal);
        Assert.InRange(text.Split('\n').Length, 20, 40);
        Assert.Equal(101, Ask("many.shop.svc.cluster.local", RecordType.A).Split('\n').Length);
        Assert.StartsWith("NOERROR aa tc\n", Ask("_sql._tcp.many.shop.svc.cluster.local", RecordType.Srv, limit: 1232), StringComparison.Ordinal);
    }

    [Fact]
    public void V1EndpointsSpeakWhereThereIsNoSlice()
    {
        var endpoints = new Endpoints
        {
            Metadata = new ObjectMeta { Name = "old", Namespace = "shop" },
            Subsets = [new EndpointSubset { Addresses = [new SubsetAddress { Ip = "10.1.1.1", Hostname = "old-0" }], NotReadyAddresses = [new SubsetAddress { Ip = "10.1.1.2" }], Ports = [new EndpointPort { Name = "sql", Port = 5432 }] }],
        };
        _zone.Take(Facts.With(Service("old", "None", "sql:5432")).With(endpoints));
        Assert.Equal(["10.1.1.1"], Addresses("old.shop.svc.cluster.local", RecordType.A));
        Assert.Equal(["10.1.1.1"], Addresses("old-0.old.shop.svc.cluster.local", RecordType.A));
    }

    /// <summary>The label by which services are left to kube-proxy, and the one that Kubernetes puts on slices of headless services.</summary>
    [Fact]
    public void NamesAreNotFilteredByTheLabelsOfProxies()
    {
        var slice = Slice("left-1", "left", "IPv4", ("10.1.1.1", null, true));
        _zone.Take(Facts
            .With(Service("left", "None", "sql:5432").Labelled("service.kubernetes.io/service-proxy-name", "other"))
            .With(slice with { Metadata = slice.Metadata.With("service.kubernetes.io/headless", "") }));
        Assert.Equal(["10.1.1.1"], Addresses("left.shop.svc.cluster.local", RecordType.A));
    }

    [Fact]
    public void ChangesAreFollowedOneByOne()
    {
        Assert.Equal(0, _zone.Take(Facts));
        Assert.Equal(1, _zone.Take(Facts.With(Service("web", "10.96.0.99", "http:80"))));
        Assert.Equal(["10.96.0.99"], Addresses("web.shop.svc.cluster.local", RecordType.A));
        Assert.Equal("(not ours)", Ask("10.0.96.10.in-addr.arpa", RecordType.Ptr));
        Assert.Contains("web.shop", Ask("99.0.96.10.in-addr.arpa", RecordType.Ptr), StringComparison.Ordinal);

        _zone.Take(Facts.With(Slice("db-4", "db", "IPv4", ("10.244.1.5", "renamed", true))));
        Assert.Equal(["10.244.1.5"], Addresses("db.shop.svc.cluster.local", RecordType.A));
        Assert.Contains("renamed.db.shop", Ask("5.1.244.10.in-addr.arpa", RecordType.Ptr), StringComparison.Ordinal);
        Assert.Equal("(not ours)", Ask("6.1.244.10.in-addr.arpa", RecordType.Ptr));

        _zone.Take(Facts with { Services = Facts.Services.Remove(new ObjectName("shop", "web")) });
        Assert.Equal(Denied, Ask("web.shop.svc.cluster.local", RecordType.A));
        _zone.Take(Facts with { Services = ImmutableDictionary<ObjectName, Service>.Empty });
        Assert.Equal(Denied, Ask("shop.svc.cluster.local", RecordType.A));
        Assert.Equal(0, _zone.ServiceCount);
    }

    [Fact]
    public void AnAddressOfTwoServicesHasBothNames()
    {
        var facts = Facts.With(Service("db2", "None", "sql:1")).With(Slice("db2-1", "db2", "IPv4", ("10.244.1.5", "other", true)));
        _zone.Take(facts);
        Assert.Equal(3, Ask("5.1.244.10.in-addr.arpa", RecordType.Ptr).Split('\n').Length);
        _zone.Take(facts with { Services = facts.Services.Remove(new ObjectName("shop", "db2")) });
        Assert.Equal("NOERROR aa\n5.1.244.10.in-addr.arpa. 30 PTR db-0.db.shop.svc.cluster.local.", Ask("5.1.244.10.in-addr.arpa", RecordType.Ptr));
    }

    [Fact]
    public void AnswersAllocateNothing()
    {
        (string Name, RecordType Type)[] questions =
        [
            ("web.shop.svc.cluster.local", RecordType.A), ("web.shop.svc.cluster.local", RecordType.Aaaa), ("www.example.com.shop.svc.cluster.local", RecordType.A),
            ("_sql._tcp.db.shop.svc.cluster.local", RecordType.Srv), ("db.shop.svc.cluster.local", RecordType.A), ("10-244-1-7.db.shop.svc.cluster.local", RecordType.A),
            ("10.0.96.10.in-addr.arpa", RecordType.Ptr), ("10-1-2-3.shop.pod.cluster.local", RecordType.A), ("out.shop.svc.cluster.local", RecordType.A),
        ];
        var queries = questions.Select(q => DnsText.Query(q.Name, q.Type, edns: 1232)).ToArray();
        for (var i = 0; i < 200; i++)
            AnswerAll();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
            AnswerAll();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void AnswerAll()
        {
            Span<byte> alias = stackalloc byte[DnsLimits.MaxName];
            foreach (var query in queries)
            {
                DnsQuery.Read(query, out var read);
                var writer = MessageWriter.Answer(read, _response, 0);
                Assert.True(_zone.Answer(read, 1, ref writer, alias, out _) != ZoneResult.NotOurs);
            }
        }
    }

    private string[] Addresses(string name, RecordType type, uint turn = 0) =>
        [.. Ask(name, type, turn: turn).Split('\n')[1..].Where(l => !l.StartsWith("authority", StringComparison.Ordinal)).Select(l => l.Split(' ')[^1])];

    private string Ask(string name, RecordType type, int limit = DnsLimits.MaxMessage, uint turn = 0) => Ask(_zone, name, type, limit, turn);

    private string Ask(ClusterZone zone, string name, RecordType type, int limit = DnsLimits.MaxMessage, uint turn = 0)
    {
        DnsQuery.Read(DnsText.Query(name, type), out var query);
        var writer = MessageWriter.Answer(query, _response.AsSpan(0, limit), 0);
        var result = zone.Answer(query, turn, ref writer, new byte[DnsLimits.MaxName], out _);
        return result == ZoneResult.NotOurs ? "(not ours)" : DnsText.Show(_response, writer.Finish());
    }

    private static Service Service(string name, string clusterIP, params ReadOnlySpan<string> ports) => ClusterObjects.Service("shop/" + name, clusterIP, ports);

    private static Service External(string name, string target) =>
        new() { Metadata = new ObjectMeta { Name = name, Namespace = "shop" }, Spec = new ServiceSpec { Type = "ExternalName", ExternalName = target } };

    private static EndpointSlice Slice(string name, string service, string family, params (string Address, string? Host, bool Ready)[] endpoints) => new()
    {
        Metadata = new ObjectMeta { Name = name, Namespace = "shop" }.With("kubernetes.io/service-name", service),
        AddressType = family,
        Ports = [new EndpointPort { Name = "sql", Port = 5432, Protocol = "TCP" }],
        Endpoints = [.. endpoints.Select(e => new Endpoint { Addresses = [e.Address], Hostname = e.Host, Conditions = new EndpointConditions { Ready = e.Ready } })],
    };
}
