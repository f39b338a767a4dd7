using System.Text.RegularExpressions;
using EdgeMesh.Testing;
using Xunit;

namespace EdgeMesh.Tests.Supervision;

/// <summary>The clock of a node without a battery begins in 1970 and is put right at some moment; others run years ahead. So waits,
/// ages and expiries are counted on the monotonic clock, and what asks for the date is listed here, with its reason.</summary>
public sealed partial class WallClockTests
{
    private static readonly (string File, int Times, string Why)[] Allowed =
    [
        ("EdgeMesh.Agent/Commands/StatusHandler.cs", 1, "shows the ages of a document that the same machine made a moment ago"),
        ("EdgeMesh.Agent/Hosting/PlainLogFormatter.cs", 1, "the date of a line of the log"),
        ("EdgeMesh.Agent/Hosting/StatusBuilder.cs", 2, "dates for people, told backwards from the monotonic clock; when a certificate ends"),
        ("EdgeMesh.Kubernetes/Access/ApiAccess.cs", 1, "certificates count between two dates; CertificateClock knows a clock that is certainly behind"),
        ("EdgeMesh.Kubernetes/Access/ExecPlugin.cs", 1, "an expiry comes as a date, and is made a duration at once that is bounded below; the server's 401 is what decides"),
        ("EdgeMesh.Kubernetes/ApiServerSource.cs", 2, "of when the facts are, for people and the cache; when a certificate ends"),
        ("EdgeMesh.Kubernetes/CachedSource.cs", 1, "of when the facts are, for people"),
        ("EdgeMesh.Kubernetes/Manifests/ManifestFolder.cs", 2, "compared with dates of files, which the same clock wrote; one of the future settles too"),
        ("EdgeMesh.Kubernetes/ManifestSource.cs", 1, "of when the facts are, for people"),
        ("EdgeMesh.Kubernetes/Watching/ApiClient.cs", 1, "Retry-After may be a date; the wait is capped"),
        ("EdgeMesh.Kubernetes/Watching/KindStatus.cs", 2, "since when nobody answers and of when the facts are, for people"),
        ("EdgeMesh.LibP2P/Relay/RelayClient.cs", 1, "relays of other makes tell a date; RelayReservation.Lasts bounds it"),
        ("EdgeMesh.LibP2P/Relay/RelayServer.cs", 1, "the protocol wants a date beside the duration"),
        ("EdgeMesh.LibP2P/Tls/PeerCertificate.cs", 2, "certificates count between two dates"),
        ("EdgeMesh/Reconciling/Reconciler.cs", 3, "when rules were last written, repaired, or refused, for people; the age of a fault is FaultBegan"),
        ("EdgeMesh/Tunnel/Sessions/RelaySet.cs", 1, "shown on status; the wait is a duration"),
    ];

    [Fact]
    public void TheDateIsAskedForOnlyWhereADateIsWanted()
    {
        var found = Files().Select(file => (file.Name, Times: file.Lines.Sum(line => Asks().Count(line)))).Where(file => file.Times > 0).ToList();
        Assert.Empty(found.Where(f => !Allowed.Any(a => a.File == f.Name && a.Times == f.Times))
            .Select(f => $"{f.Name} asks for the date {f.Times} times: count ages and waits with TimeProvider.GetTimestamp, or say here why a date is wanted"));
        // A list that speaks of what is gone would let its like in again.
        Assert.Empty(Allowed.Where(a => found.All(f => f.Name != a.File)).Select(a => $"{a.File} does not ask any more"));
    }

    [Theory]
    [InlineData("time.GetUtcNow()")]
    [InlineData("time.GetLocalNow()")]
    [InlineData("DateTime.UtcNow")]
    [InlineData("DateTimeOffset.Now")]
    [InlineData("DateTime.Today")]
    [InlineData("Stopwatch.StartNew(); DateTimeOffset.UtcNow")]
    public void EveryWayToAskIsSeen(string code) => Assert.Matches(Asks(), code);

    private static IEnumerable<(string Name, IEnumerable<string> Lines)> Files()
    {
        var source = Repository.PathOf("src");
        return Directory.EnumerateFiles(source, "*.cs", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
            .Select(file => (Name: Path.GetRelativePath(source, file), Path: file))
            .Where(file => !file.Name.Split('/').Any(part => part is "obj" or "bin"))
            .Select(file => (file.Name, File.ReadLines(file.Path).Where(line => !line.TrimStart().StartsWith("//", StringComparison.Ordinal))));
    }

    [GeneratedRegex(@"\bGet(Utc|Local)Now\(|\bDateTime(Offset)?\.(Utc)?(Now|Today)\b")]
    private static partial Regex Asks();
}
