using System.Diagnostics.Metrics;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Hosting;
using EdgeMesh.Agent.Hosting.Names;
using EdgeMesh.Agent.Hosting.Tunnel;
using EdgeMesh.Forwarding;
using EdgeMesh.Forwarding.Udp;
using EdgeMesh.Linux;
using EdgeMesh.Linux.Netlink;
using EdgeMesh.Net;
using EdgeMesh.Reconciling;
using EdgeMesh.Supervision;
using EdgeMesh.Testing;
using EdgeMesh.Testing.Cluster;
using EdgeMesh.Tunnel;
using EdgeMesh.Tunnel.Identity;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.Tests.Admin;

/// <summary>Instruments are found by name in the whole process, and a process is one agent: while tests beside these make
/// parts of agents of their own, the page would hold theirs too.</summary>
[CollectionDefinition(nameof(OneAgentInTheProcess), DisableParallelization = true)]
public sealed class OneAgentInTheProcess;

[Collection(nameof(OneAgentInTheProcess))]
public sealed class MetricsTests
{
    [Fact]
    public async Task ThePageOfAnAgentIsValidAndHoldsEveryPart()
    {
        using var page = new MetricsPage();
        await using var parts = new AgentInstruments();
        parts.Reconciler.SyncDuration.Record(0.003);
        parts.Reconciler.SyncDuration.Record(40);

        var text = page.Render();

        var parsed = PrometheusPage.Parse(text);
        Assert.Equal("histogram", parsed.Types["edgemesh_sync_proxy_rules_duration_seconds"]);
        Assert.Equal(1, parsed.Series["edgemesh_sync_proxy_rules_duration_seconds_bucket{le=\"0.005\"}"]);
        Assert.Equal(2, parsed.Series["edgemesh_sync_proxy_rules_duration_seconds_bucket{le=\"+Inf\"}"]);
        Assert.Equal("counter", parsed.Types["edgemesh_tcp_connections_total"]);
        Assert.Equal("gauge", parsed.Types["edgemesh_udp_flows_active"]);
        Assert.Contains("edgemesh_tcp_refused_total{reason=\"NoEndpoints\"}", parsed.Series.Keys);
        PrometheusPage.Parse(page.Render());
    }

    [Fact]
    public void WhatTwoPartsHaveByOneNameIsOneGroupUntilBothAreGone()
    {
        using var page = new MetricsPage();
        var (first, second) = (new Meter("EdgeMesh.First"), new Meter("EdgeMesh.Second"));
        first.CreateObservableCounter("edgemesh_shared_total", () => 1L, null, "x");
        second.CreateObservableCounter("edgemesh_shared_total", () => 2L, null, "x");
        Assert.Equal(2, PrometheusPage.Parse(page.Render()).Series["edgemesh_shared_total"]);
        second.Dispose();
        Assert.Equal(1, PrometheusPage.Parse(page.Render()).Series["edgemesh_shared_total"]);
        first.Dispose();
        Assert.DoesNotContain("edgemesh_shared_total", page.Render(), StringComparison.Ordinal);
    }

    [Fact]
    public void APartThatCannotBeReadTakesNoOtherWithIt()
    {
        using var page = new MetricsPage();
        using var meter = new Meter("EdgeMesh.Broken");
        meter.CreateObservableGauge("edgemesh_broken", int () => throw new ObjectDisposedException("the part"), null, "x");
        meter.CreateObservableGauge("edgemesh_whole", () => 3, null, "x");
        var series = PrometheusPage.Parse(page.Render()).Series;
        Assert.Equal(3, series["edgemesh_whole"]);
        Assert.DoesNotContain("edgemesh_broken", series.Keys);
    }

    [Fact]
    public void LabelValuesAndHelpAreEscaped()
    {
        using var page = new MetricsPage();
        using var meter = new Meter("EdgeMesh.Escapes");
        meter.CreateObservableGauge("edgemesh_escapes", () => new Measurement<int>(1, new KeyValuePair<string, object?>("text", "a\\b\"c\nd")), null, "a\\b\nc");

        var text = page.Render();

        PrometheusPage.Parse(text);
        Assert.Contains("""edgemesh_escapes{text="a\\b\"c\nd"} 1""", text, StringComparison.Ordinal);
        Assert.Contains("""# HELP edgemesh_escapes a\\b\nc""", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task EveryMetricIsInTheDocumentAndTheDocumentHoldsNoOther()
    {
        var names = new SortedSet<string>(StringComparer.Ordinal);
        using var listener = new MeterListener { InstrumentPublished = (instrument, _) => names.Add(FamilyOf(instrument)) };
        await using (new AgentInstruments())
            listener.Start();
        names.RemoveWhere(name => !name.StartsWith("edgemesh_", StringComparison.Ordinal) || name == "edgemesh_escapes");

        var document = File.ReadAllLines(Repository.PathOf("docs/metrics.md"))
            .Where(line => line.StartsWith("| `edgemesh_", StringComparison.Ordinal)).Select(line => line.Split('`')[1]);
        Assert.Equal(names, document.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void AHistogramThatSomebodyElseKeepsIsReadByItsParts()
    {
        using var meter = new Meter("EdgeMesh.Parts");
        KeyValuePair<string, object?> to = new("to", "a");
        meter.CreateObservableCounter("edgemesh_parts_seconds_bucket", () => (Measurement<long>[])[new(1, to, new("le", "0.5")), new(3, to, new("le", "+Inf"))], MetricFamily.HistogramPart, "Parts.");
        meter.CreateObservableCounter("edgemesh_parts_seconds_sum", () => new Measurement<double>(2.5, to), MetricFamily.HistogramPart, "Parts.");
        meter.CreateObservableCounter("edgemesh_parts_seconds_count", () => new Measurement<long>(3, to), MetricFamily.HistogramPart, "Parts.");
        using var page = new MetricsPage();
        Assert.Contains(
            "# HELP edgemesh_parts_seconds Parts.\n# TYPE edgemesh_parts_seconds histogram\nedgemesh_parts_seconds_bucket{to=\"a\",le=\"0.5\"} 1\n"
            + "edgemesh_parts_seconds_bucket{to=\"a\",le=\"+Inf\"} 3\nedgemesh_parts_seconds_sum{to=\"a\"} 2.5\nedgemesh_parts_seconds_count{to=\"a\"} 3\n",
            page.Render(), StringComparison.Ordinal);
    }

    private static string FamilyOf(Instrument instrument) =>
        MetricFamily.KindOf(instrument) is { } kind ? instrument.Name[..^MetricFamily.SuffixOf(instrument, kind).Length] : instrument.Name;

    [Theory]
    [InlineData("edgemesh_a_total 1\n", "outside its metric's group")]
    [InlineData("# TYPE edgemesh_a_total counter\nedgemesh_a_total 1\n", "HELP of the same metric")]
    [InlineData("# HELP edgemesh_a_total x\n# TYPE edgemesh_a_total counter\nedgemesh_a_total 1\nedgemesh_a_total 1\n", "a series is there twice")]
    [InlineData("# HELP edgemesh_a x\n# TYPE edgemesh_a counter\nedgemesh_a 1\n", "ends with _total")]
    [InlineData("# HELP edgemesh_a x\n# TYPE edgemesh_a gauge\nedgemesh_a{b=\"c} 1\n", "neither")]
    [InlineData("# HELP edgemesh_a x\n# TYPE edgemesh_a gauge\nedgemesh_a 1", "must end")]
    public void TheReaderOfTheseTestsIsStrict(string page, string says) =>
        Assert.Contains(says, Assert.Throws<FormatException>(() => PrometheusPage.Parse(page)).Message, StringComparison.Ordinal);

    /// <summary>Every instrument that an agent has.</summary>
    private sealed class AgentInstruments : IAsyncDisposable
    {
        private readonly TcpForwarder _tcp = new(
            new ForwarderOptions { Listeners = [], LoopCount = 1 }, () => RouteTable.Empty, null, NullLoggerFactory.Instance, TimeProvider.System);

        private readonly UdpForwarder _udp = UdpForwarder.Start(
            new UdpForwarderOptions
            {
                Listeners = [InetEndpoint.Parse("127.0.0.1:0")],
                Mark = 0,
                OriginalDestination = (in InetEndpoint _, in InetEndpoint _, out InetEndpoint original, out int errno) =>
                {
                    (original, errno) = (default, 0);
                    return ConntrackAnswer.NotTracked;
                },
            },
            RouteTable.Empty, TimeProvider.System, NullLogger<UdpForwarder>.Instance);

        private readonly ForwardingMetrics _forwarding;
        private readonly MeshNode _mesh = new(
            new MeshOptions { NodeName = "me", Keys = PresharedKeys.Parse("q1Zt0mXw7Lr4Yc9Vb2Ns6Kd8Hf3Jg5Ta1Pe0Uo7Iz4w=", "the key"), Listen = [], DialMark = 0 },
            NullLoggerFactory.Instance, TimeProvider.System);

        private readonly TunnelMetrics _tunnel;
        private readonly SourceMetrics _source = new(new ScriptedSource(), TimeProvider.System);

        private readonly FaultMetrics _faults = new(Failed());

        private readonly NamesMetrics _names = new(() => null);

        private readonly DirectChanges _direct = new((_, _) => 0, NullLogger<DirectChanges>.Instance);

        public AgentInstruments()
        {
            _forwarding = new ForwardingMetrics(_tcp, _udp);
            _tunnel = new TunnelMetrics(_mesh);
        }

        private static Supervisor Failed()
        {
            var supervisor = new Supervisor(NullLogger<Supervisor>.Instance, TimeProvider.System);
            supervisor.Report("a-loop", new InvalidDataException("odd"));
            return supervisor;
        }

        public ReconcilerMetrics Reconciler { get; } = new(() => ReconcilerState.Initial);

        public async ValueTask DisposeAsync()
        {
            _names.Dispose();
            Reconciler.Dispose();
            _direct.Dispose();
            _source.Dispose();
            _faults.Dispose();
            _forwarding.Dispose();
            _tunnel.Dispose();
            await _mesh.DisposeAsync();
            await _udp.DisposeAsync();
            await _tcp.DisposeAsync();
        }
    }
}
