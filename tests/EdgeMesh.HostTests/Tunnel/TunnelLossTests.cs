using System.Diagnostics;
using EdgeMesh.Testing.Lab.Mesh;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

public sealed class TunnelLossTests(ITestOutputHelper output)
{
    /// <summary>In the long form a hundred megabytes again and again, for two minutes.</summary>
    private static TimeSpan AtLeast { get; } = LongForm.IsAsked ? TimeSpan.FromMinutes(2) : TimeSpan.Zero;

    [Fact]
    public async Task NothingIsCorruptedOverALineThatLosesEveryTwentiethPacketAndTakesItsTime()
    {
        await using var lab = await MeshLab.CreateAsync(delay: TimeSpan.FromMilliseconds(50));
        // On such a line CUBIC takes each loss for a full queue and all but stops; that is TCP's business and not the tunnel's.
        foreach (var role in (string[])["cloud", "edge-1", "pod-1", "pod-2"])
            lab[role].SetSysctl("ipv4/tcp_congestion_control", "bbr");
        Services.PublishAll(lab);
        await lab.StartAgentsAsync(lab.Cloud);
        await Services.UntilAnsweredAsync(lab.Edge1, Services.OnCloud, lab.Cloud, TimeSpan.FromSeconds(20));
        foreach (var device in (string[])["line", "lan0"])
        {
            (await lab.RunAsync("nat-1", "iptables-nft", "-t", "raw", "-A", "PREROUTING", "-i", device,
                "-m", "statistic", "--mode", "random", "--probability", "0.05", "-j", "DROP")).Succeeded();
        }

        var (streams, bytes, deadline) = LongForm.IsAsked ? (10, 10 << 20, TimeSpan.FromSeconds(180)) : (4, 2 << 20, TimeSpan.FromSeconds(60));
        var leaks = Leaks.Watch(lab.Cloud, lab.Edge1);
        var watch = Stopwatch.StartNew();
        do
        {
            var times = await Task.WhenAll(Enumerable.Range(0, streams).Select(async _ =>
            {
                using var socket = await lab.Edge1.ConnectAsync(Services.OnCloud, TimeSpan.FromSeconds(20));
                return await Transfer.EchoAsync(socket, bytes, deadline);
            }));
            output.WriteLine($"{streams} streams of {bytes >> 20} MB there and back, unchanged: {times.Max().TotalSeconds:F1} s");
        }
        while (watch.Elapsed < AtLeast);

        Assert.Equal(0, await lab.Edge1.Agent.MetricAsync("edgemesh_forwarding_faults_total"));
        await leaks.AssertNoneAsync(output);
    }
}
