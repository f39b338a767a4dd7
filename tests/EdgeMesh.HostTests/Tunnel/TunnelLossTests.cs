using EdgeMesh.Testing.Lab.Mesh;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

public sealed class TunnelLossTests
{
    /// <summary>EDGEMESH_LONG=1: two minutes and a hundred megabytes.</summary>
    private static bool IsLong { get; } = Environment.GetEnvironmentVariable("EDGEMESH_LONG") == "1";

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

        var (streams, bytes, deadline) = IsLong ? (10, 10 << 20, TimeSpan.FromSeconds(180)) : (4, 2 << 20, TimeSpan.FromSeconds(60));
        await Task.WhenAll(Enumerable.Range(0, streams).Select(async _ =>
        {
            using var socket = await lab.Edge1.ConnectAsync(Services.OnCloud, TimeSpan.FromSeconds(20));
            await Transfer.EchoAsync(socket, bytes, deadline);
        }));

        Assert.Equal(0, await lab.Edge1.Agent.MetricAsync("edgemesh_forwarding_faults_total"));
        await EdgeMesh.Testing.Lab.Eventually.SeesAsync(
            () => lab.Cloud.Agent.MetricAsync("edgemesh_tunnel_streams", "direction=\"in\""), open => open == 0, TimeSpan.FromSeconds(15), "no stream is left open");
    }
}
