using System.Diagnostics.Metrics;
using EdgeMesh.Agent.Admin;
using EdgeMesh.Agent.Hosting;
using EdgeMesh.Testing;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace EdgeMesh.Tests.Admin;

/// <summary>Names come from manifests, APIs and peers; a terminal, a log and a scraper read them.</summary>
[Collection(nameof(OneAgentInTheProcess))]
public sealed class PlainTextTests
{
    private const string Hostile = "a\u001b[2J\0\r\u202eb\"\\\n# c";

    [Fact]
    public void ALineOfTheLogStaysOneLineAndCommandsNoTerminal()
    {
        using var written = new StringWriter();
        var entry = new LogEntry<string>(
            LogLevel.Warning, "EdgeMesh.X", new EventId(7), Hostile, new InvalidOperationException(Hostile), (state, _) => state);
        new PlainLogFormatter(new ManualTime()).Write(entry, scopeProvider: null, written);
        var line = written.ToString();
        Assert.Equal(line.Length - 1, line.IndexOf('\n', StringComparison.Ordinal));
        Assert.DoesNotContain(line[..^1], char.IsControl);
        Assert.Contains("EdgeMesh.X[7] a\\x1b[2J\\x00 \\u202eb\"\\ # c", line, StringComparison.Ordinal);
    }

    [Fact]
    public void ALabelOfAMetricEndsNeitherItsQuotesNorItsLine()
    {
        using var page = new MetricsPage();
        using var meter = new Meter("EdgeMesh.PlainText");
        meter.CreateObservableCounter("plain_text_total", () => new Measurement<long>(3, new KeyValuePair<string, object?>("name", Hostile)));
        var line = Assert.Single(page.Render().Split('\n'), line => line.StartsWith("plain_text_total", StringComparison.Ordinal));
        Assert.Equal("""plain_text_total{name="a\\x1b[2J\\x00\\r\\u202eb\"\\\n# c"} 3""", line);
    }
}
