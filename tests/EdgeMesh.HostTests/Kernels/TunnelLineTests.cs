using EdgeMesh.HostTests.Tunnel;
using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;
using Xunit;

namespace EdgeMesh.HostTests.Kernels;

/// <summary>A line of the kernel's own emulation (netem) between an edge node's router and the rest.</summary>
[Trait(Ring.Name, Ring.OnlyKernels)]
public sealed class TunnelLineTests(ITestOutputHelper output)
{
    private const int Bytes = 256 << 10;

    [Fact]
    public async Task NothingIsCorruptedOverALineOf100MillisecondsThatLosesEveryTwentiethPacket()
    {
        await using var lab = await Services.StartLabAsync(lab => [lab.Cloud, lab.Relay]);
        // Each way half of the delay and of the loss.
        foreach (var (role, device) in new[] { ("nat-1", "eth0"), ("wan", "to-nat-1") })
            (await lab.RunAsync(role, "tc", "qdisc", "add", "dev", device, "root", "netem", "delay", "50ms", "loss", "2.5%", "limit", "10000")).Succeeded();

        foreach (var (from, target, by) in new[] { (lab.Edge1, Services.OnCloud, lab.Cloud), (lab.Cloud, Services.OnEdge1, lab.Edge1), (lab.Edge1, Services.OnEdge2, lab.Edge2) })
        {
            await Services.UntilAnsweredAsync(from, target, by, TimeSpan.FromSeconds(20));
            var times = await Task.WhenAll(Enumerable.Range(0, 2).Select(async _ =>
            {
                using var socket = await from.ConnectAsync(target, TimeSpan.FromSeconds(20));
                return await Transfer.EchoAsync(socket, Bytes, TimeSpan.FromSeconds(60).Here());
            }));
            output.WriteLine($"{from.Name} to {by.Name}: 2 streams of {Bytes >> 10} KB there and back, unchanged: {times.Max().TotalSeconds:F1} s");
        }

        var dropped = (await lab.RunAsync("nat-1", "tc", "-s", "qdisc", "show", "dev", "eth0")).Succeeded().Output;
        output.WriteLine(dropped);
        Assert.DoesNotContain("(dropped 0,", dropped, StringComparison.Ordinal);
        Assert.Equal(0, await lab.Edge1.Agent.MetricAsync("edgemesh_forwarding_faults_total"));
    }
}
