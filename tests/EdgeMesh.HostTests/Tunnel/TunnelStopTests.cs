using System.Diagnostics;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

public sealed class TunnelStopTests(ITestOutputHelper output)
{
    /// <summary>A flow may be silent for a second before a draining agent takes it for ended. The tunnel's own idle time is a minute,
    /// and an agent drains for half of that.</summary>
    private static readonly TimeSpan LongestStop = TimeSpan.FromSeconds(10);

    [Fact]
    public async Task AnAgentWithUdpFlowsInTheTunnelStopsWithinSecondsAndTheOtherNodeClosesThemToo()
    {
        await using var lab = await MeshLab.CreateAsync();
        Services.PublishAll(lab);
        await lab.StartAgentsAsync(lab.Cloud);
        await Services.UntilAnsweredAsync(lab.Edge1, Services.OnCloud, lab.Cloud, TimeSpan.FromSeconds(20));
        for (var i = 0; i < 20; i++)
        {
            using var socket = await lab.Edge1.OpenDatagramsAsync(Services.UdpOnCloud);
            Assert.NotEmpty(await NamespaceLab.ExchangeAsync(socket, "WHO"u8.ToArray()));
        }

        Assert.Equal(20, await lab.Edge1.Agent.MetricAsync("edgemesh_tunnel_streams", "direction=\"out\""));
        var watch = Stopwatch.StartNew();

        Assert.Equal(0, await lab.Edge1.StopAsync(LongestStop));

        output.WriteLine($"The agent ended after {watch.Elapsed.TotalSeconds:F1} s.");
        await Eventually.SeesAsync(
            () => lab.Cloud.Agent.MetricAsync("edgemesh_tunnel_streams", "direction=\"in\""), open => open == 0, TimeSpan.FromSeconds(2), "the endpoint's node has no flow left");
    }
}
