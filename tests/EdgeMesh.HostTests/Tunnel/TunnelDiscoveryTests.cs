using System.Globalization;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;
using EdgeMesh.Tunnel.Identity;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

/// <summary>Multicast DNS believes whoever speaks, so it is given forged answers: in the names of nodes that exist and of others, as from
/// every machine of the LAN, with addresses that nobody may be made to dial, malformed, large, and 10,000 a second.</summary>
[Collection(Alone.Name)]
public sealed class TunnelDiscoveryTests(ITestOutputHelper output)
{
    private const string OnRelay = "10.96.0.14:8080";
    private const int PacketsPerSecond = 10_000;
    private const int Sources = 40;
    private const double MostDialsPerSecond = 20;
    private const double MostOfACore = 0.05;
    private const long MostBytes = 4 << 20;

    /// <summary>Other programs of this machine make each of this one's turns dearer.</summary>
    private const double Noise = 1.5;

    private static readonly TimeSpan Flood = TimeSpan.FromSeconds(LongForm.IsAsked ? 60 : 6);

    private static string Program([System.Runtime.CompilerServices.CallerFilePath] string file = "") => Path.Combine(Path.GetDirectoryName(file)!, "mdns_attack.py");

    [Fact]
    public async Task ForgedAnswersMakeNobodyDialWhatIsNotOnTheLanNorOftenAndARealNodeIsFoundAmongThem()
    {
        await using var lab = await MeshLab.CreateAsync();
        lab.Publish("tcp-relay", "10.96.0.14", 8080, "TCP", lab.Relay);
        // Neither knows the other's address: they stand on one LAN.
        lab.Cloud.Configure();
        lab.Relay.Configure();
        await lab.Cloud.StartAsync();
        var victim = lab.Cloud.Agent;
        await CountDialsAsync(lab);
        var keys = PresharedKeys.Parse(await File.ReadAllTextAsync(lab.Cloud.PskFile, TestContext.Current.CancellationToken), "the lab's key");
        // The LAN's own range, in which nobody but the attackers and the two nodes answers.
        var sources = string.Join(',', Enumerable.Range(0, Sources).Select(i => $"198.51.100.{100 + i}").Concat(["203.0.113.9", "127.0.0.1", "169.254.169.254", lab.Cloud.Address]));
        await lab.IpAsync("wan", "addr add 198.51.100.100/24 dev wan0");
        var before = victim.Facts;

        await using var flood = new LabProcess(
            lab["wan"].Name, "/usr/bin/python3",
            [Program(), "198.51.100.254", Flood.TotalSeconds.ToString(CultureInfo.InvariantCulture), $"{PacketsPerSecond}", $"{keys.PeersNamed(lab.Relay.Name)[0]}", $"{keys.PeersNamed(lab.Cloud.Name)[0]}", sources], null);
        await Eventually.HoldsAsync(() => flood.Log.Contains("flooding", StringComparison.Ordinal), TimeSpan.FromSeconds(20));
        await lab.Relay.StartAsync();
        var watch = System.Diagnostics.Stopwatch.StartNew();
        await flood.WaitForExitAsync(Flood + TimeSpan.FromSeconds(20));
        var after = victim.Facts;
        await Services.UntilAnsweredAsync(lab.Cloud, OnRelay, lab.Relay, TimeSpan.FromSeconds(60));
        var found = watch.Elapsed;
        var (allowed, forbidden) = await DialsAsync(lab);
        output.WriteLine($"{flood.Log.Trim()} forged packets in {Flood.TotalSeconds} s: {allowed} dials to the LAN, {forbidden} to what is forbidden; {(after.OwnBytes - before.OwnBytes) / 1048576.0:F1} MB more, {(after.ProcessorTime - before.ProcessorTime).TotalSeconds / Flood.TotalSeconds:P1} of a core; the real node answered {found.TotalSeconds:F1} s after its start");

        Assert.Equal(0, forbidden);
        // Some at once, and the rest at their pace; a dial that nobody answers is a handful of packets.
        Assert.InRange(allowed, 1, 4 * (64 + MostDialsPerSecond * found.TotalSeconds));
        Assert.InRange(after.OwnBytes - before.OwnBytes, long.MinValue, (long)(MostBytes * Noise));
        Assert.InRange((after.ProcessorTime - before.ProcessorTime).TotalSeconds / Flood.TotalSeconds, 0, MostOfACore * Noise);
        Assert.Equal(0, await victim.MetricAsync("edgemesh_faults_total"));
        Assert.Equal(200, (await victim.GetAsync("/healthz")).Status);
        Assert.Equal("direct", await lab.Cloud.SessionToAsync(lab.Relay));
    }

    /// <summary>First packets of the agent's own TCP connections: to the LAN, at any port since a node chooses its own, and to
    /// what the forged answers name besides. The real node, once it has proved that it is one, may name addresses of its own elsewhere.</summary>
    private static async Task CountDialsAsync(MeshLab lab)
    {
        string[] own = ["-p", "tcp", "--syn", "-m", "mark", "--mark", "0x1000"];
        foreach (var rule in new string[][]
        {
            ["-d", lab.Cloud.Address, "-m", "comment", "--comment", "dial-forbidden"],
            ["-d", "198.51.100.0/24", "-m", "comment", "--comment", "dial-lan"],
            ["-d", "127.0.0.0/8,169.254.0.0/16,203.0.113.9,224.0.0.0/4,255.255.255.255,0.0.0.0", "-m", "comment", "--comment", "dial-forbidden"],
        })
        {
            (await lab.RunAsync("cloud", "iptables-nft", ["-t", "raw", "-A", "OUTPUT", .. own, .. rule, "-j", "ACCEPT"])).Succeeded();
        }
    }

    private static async Task<(long Lan, long Forbidden)> DialsAsync(MeshLab lab)
    {
        var listing = (await lab.RunAsync("cloud", "iptables-nft", "-t", "raw", "-nvxL", "OUTPUT")).Succeeded().Output.Split('\n');
        long Sum(string comment) => listing.Where(line => line.Contains(comment, StringComparison.Ordinal))
            .Sum(line => long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[0], CultureInfo.InvariantCulture));
        return (Sum("dial-lan"), Sum("dial-forbidden"));
    }
}
