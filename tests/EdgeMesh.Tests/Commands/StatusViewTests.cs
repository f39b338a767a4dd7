using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Commands;
using EdgeMesh.Testing;
using Spectre.Console;
using Xunit;

namespace EdgeMesh.Tests.Commands;

public sealed class StatusViewTests
{
    private static readonly DateTimeOffset Now = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    private static readonly StatusDocument Document = new()
    {
        Version = "0.1.0",
        Node = new NodeStatus { Name = "edge-7", Edge = true, StartedAt = Now.AddHours(-5), Phase = "running", Notices = ["IPv6 services are left to kube-proxy: the kernel runs without IPv6"] },
        Source = new SourceStatus
        {
            Description = "metaServer http://127.0.0.1:10550",
            Origin = "live",
            AsOf = Now.AddSeconds(-42),
            Kinds = [new SourceKindStatus { Kind = "Service", Synced = true, LastSuccess = Now.AddSeconds(-42) }, new SourceKindStatus { Kind = "Endpoints", Synced = true, Fault = "the watch ended: 503" }],
        },
        Rules = new RulesStatus
        {
            Backend = "iptables-nft",
            Reason = "kube-proxy uses iptables; iptables-nft: kube-proxy's chains are there",
            Enabled = true,
            InForce = true,
            LastSync = Now.AddMinutes(-3),
            LastSyncMilliseconds = 12.5,
            OrderRepairs = 2,
            LastRepair = Now.AddMinutes(-90),
            RecentRepairs = ["IPv4 PREROUTING: the jump was behind KUBE-SERVICES"],
            DirectChanges = 41,
            DirectChangesRefused = 1,
            Jumps =
            [
                new JumpStatus { Family = "IPv4", Hook = "PREROUTING", Chain = "EDGEMESH-PORTALS-CONTAINER", Position = 1, Detail = "first" },
                new JumpStatus { Family = "IPv4", Hook = "OUTPUT", Chain = "EDGEMESH-PORTALS-HOST", Position = 2, Detail = "behind `-j KUBE-SERVICES`" },
            ],
        },
        DataPath = new DataPathStatus
        {
            Listener = "169.254.96.16:20007",
            ActiveConnections = 3,
            TotalConnections = 1_204,
            ActiveFlows = 1,
            TotalFlows = 17,
            Refused = 4,
            Shed = 0,
            DialFailures = 2,
        },
        Services =
        [
            new ServiceStatus
            {
                Name = "shop/web",
                Handled = true,
                Faults = [],
                Ports = [Port("shop/web:http", "10.96.10.1:80", "kernel", "every endpoint is reachable and the kernel can do the policy", 0, 0, "10.244.0.11:8080", "10.244.0.12:8080", "10.244.0.13:8080", "10.244.0.14:8080")],
            },
            new ServiceStatus
            {
                Name = "shop/basket",
                Handled = true,
                Faults = ["port admin has no usable number"],
                Ports = [Port("shop/basket:grpc", "10.96.10.2:50051", "listener", "dataPath is userspace", 3, 1_204, "10.244.0.21:50051")],
            },
            new ServiceStatus { Name = "shop/empty", Handled = true, Faults = [], Ports = [Port("shop/empty:http", "10.96.10.3:80", "refused", "no endpoint is ready", 0, 0)] },
            new ServiceStatus { Name = "kube-system/kube-dns", Handled = false, Reason = "has the label service.edgemesh.kubeedge.io/service-proxy-name", Faults = [], Ports = [] },
        ],
    };

    private static readonly StatusDocument Tunnelled = Document with
    {
        Tunnel = new TunnelStatus
        {
            PeerId = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq",
            Listening = ["0.0.0.0:20006"],
            Relays =
            [
                new TunnelRelayStatus { Name = "cloud-1", Connected = true, RoundTripMilliseconds = 12.34, ReservedUntil = Now.AddHours(1) },
                new TunnelRelayStatus { Name = "cloud-2", Connected = false, Fault = "198.51.100.2:20006 does not answer" },
            ],
            Nodes =
            [
                new TunnelNodeStatus { Name = "cloud-1", PeerId = "12D3KooWA", State = "direct", Address = "198.51.100.1:20006", RoundTripMilliseconds = 12.34, AgeSeconds = 95, Streams = 2, Ranges = [new TunnelRangeStatus { Range = "10.244.1.1/24", State = "direct", Reason = "cloud-1 answers at 10.244.1.1:20006", RoundTripMilliseconds = 12.5 }] },
                new TunnelNodeStatus { Name = "edge-9", PeerId = "12D3KooWB", State = "relayed", Relay = "cloud-1", RoundTripMilliseconds = 31, AgeSeconds = 754.2, Streams = 7, Ranges = [new TunnelRangeStatus { Range = "172.17.0.1/16", State = "unverified", Reason = "somebody else answers at 172.17.0.1:20006" }] },
                new TunnelNodeStatus { Name = "edge-4", PeerId = "12D3KooWC", State = "connecting", Streams = 0, Ranges = [], Fault = "no relay knows it" },
            ],
            StreamsIn = 3,
            StreamsOut = 9,
            RefusedIn = 1,
            RefusedOut = 0,
            StrangersRefused = 5,
        },
        Services =
        [
            Document.Services[0] with
            {
                Ports =
                [
                    Document.Services[0].Ports[0] with
                    {
                        Path = "listener",
                        Reason = "2 of 4 endpoints on edge-9 through the tunnel",
                        Ways =
                        [
                            new EndpointWayStatus { Endpoint = "10.244.0.11:8080", Node = "edge-7", Way = "local", Reason = "runs on this node" },
                            new EndpointWayStatus { Endpoint = "10.244.0.12:8080", Way = "direct", Reason = "nobody says on which node it runs" },
                            new EndpointWayStatus { Endpoint = "10.244.0.13:8080", Node = "edge-9", Way = "tunnel", Reason = "relayed via cloud-1; somebody else answers at 172.17.0.1:20006", RoundTripMilliseconds = 31 },
                        ],
                    },
                ],
            },
        ],
    };

    [Theory]
    [InlineData(100)]
    [InlineData(200)]
    public void APersonReadsItAtAnyWidth(int width) => AssertGolden($"status-{width}.txt", Show(Document, width));

    [Fact]
    public void ACertificateThatEndsIsShownBesideItsSource()
    {
        const string Notice = "The CA certificate for metaServer http://127.0.0.1:10550 ends at 2026-11-27 12:00 UTC";
        Assert.Contains(Notice, Show(Document with { Source = Document.Source with { Notices = [Notice] } }, 200), StringComparison.Ordinal);
        Assert.DoesNotContain("certificate", Show(Document, 200), StringComparison.Ordinal);
    }

    [Fact]
    public void WithATunnelItShowsHowEachNodeAndEachEndpointIsReached() => AssertGolden("status-tunnel.txt", Show(Tunnelled, 200));

    [Fact]
    public void WhereNothingIsEnabledItSaysSoAndShowsNoJump()
    {
        var text = Show(Document with { Rules = Document.Rules with { Enabled = false, InForce = false, OrderRepairs = 0, RecentRepairs = [] }, Services = [] }, 100);
        Assert.Contains("modules.edgeProxy.enable is false", text, StringComparison.Ordinal);
        Assert.DoesNotContain("PREROUTING", text, StringComparison.Ordinal);
    }

    [Fact]
    public void TheFieldsOfTheJsonAreThoseOfTheDocument()
    {
        var json = System.Text.Json.JsonSerializer.Serialize(Tunnelled with { Services = Document.Services.AddRange(Tunnelled.Services) }, StatusJson.Default.StatusDocument);
        AssertGolden("status.json", json + "\n");
        var described = File.ReadAllText(Repository.PathOf("docs/status.md"));
        foreach (var field in json.Split('"').Where((_, i) => i % 2 == 1).Where(text => json.Contains($"\"{text}\":", StringComparison.Ordinal)).Distinct())
            Assert.Contains(field, described, StringComparison.Ordinal);
    }

    private static ServicePortStatus Port(string name, string address, string path, string reason, long active, long total, params string[] endpoints) => new()
    {
        Name = name,
        Protocol = "tcp",
        Address = address,
        Kind = "clusterIP",
        Path = path,
        Reason = reason,
        Endpoints = [.. endpoints],
        Balancing = "none",
        ActiveConnections = active,
        TotalConnections = total,
    };

    private static string Show(StatusDocument document, int width)
    {
        var output = new StringWriter();
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(output), Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors });
        console.Profile.Width = width;
        StatusView.Write(console, document, Now);
        return string.Join('\n', output.ToString().ReplaceLineEndings("\n").Split('\n').Select(line => line.TrimEnd()));
    }

    /// <summary>EDGEMESH_GOLDEN=write writes the files anew; read the difference before it is committed.</summary>
    private static void AssertGolden(string name, string text)
    {
        var path = Repository.PathOf($"tests/EdgeMesh.Tests/Commands/golden/{name}");
        if (Environment.GetEnvironmentVariable("EDGEMESH_GOLDEN") == "write")
            File.WriteAllText(path, text);
        Assert.Equal(File.ReadAllText(path), text);
    }
}
