using EdgeMesh.Linux.Netlink;
using Microsoft.Extensions.Logging;
using Xunit;

namespace EdgeMesh.Tests.Linux.Netlink;

public sealed class ConntrackUsageTests
{
    [Fact]
    public void CountAndMaximumAreReadAndAMissingFileIsNoFault()
    {
        var folder = Directory.CreateTempSubdirectory("conntrack-usage-");
        try
        {
            Assert.Null(ConntrackUsage.Read(folder.FullName));
            File.WriteAllText(Path.Combine(folder.FullName, "nf_conntrack_count"), "250\n");
            File.WriteAllText(Path.Combine(folder.FullName, "nf_conntrack_max"), "1000\n");
            var usage = ConntrackUsage.Read(folder.FullName);
            Assert.Equal(new ConntrackUsage(250, 1000), usage);
            Assert.Equal(0.25, usage!.Value.Fraction);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void ANearlyFullTableIsSaidOnceAndSoIsRoomAgain()
    {
        var log = new Lines();
        var pressure = new ConntrackPressure(log);

        foreach (var entries in (long[])[100, 899, 900, 950, 1000, 800, 920, 750, 100])
            pressure.Observe(new ConntrackUsage(entries, 1000));

        Assert.Equal([LogLevel.Warning, LogLevel.Information], log.Levels);
        Assert.False(pressure.IsNearlyFull);
    }

    private sealed class Lines : ILogger<ConntrackPressure>
    {
        public List<LogLevel> Levels { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Levels.Add(logLevel);
    }
}
