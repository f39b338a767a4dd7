using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

/// <summary>A link goes and comes back.</summary>
public sealed class TunnelLinkTests
{
    private static readonly TimeSpan AfterTheLinkIsBack = TimeSpan.FromSeconds(5);

    /// <summary>EDGEMESH_LONG=1: as long as a person would wait for a cable. Shorter is long enough for every time-out of
    /// the tunnel to have run out, and for the longest pause between two attempts.</summary>
    private static TimeSpan LinkIsDown { get; } = TimeSpan.FromSeconds(Environment.GetEnvironmentVariable("EDGEMESH_LONG") == "1" ? 30 : 12);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task SessionsReturnWithinFiveSecondsOfTheLink(bool silent)
    {
        await using var lab = await Services.StartLabAsync(lab => [lab.Cloud]);

        if (silent)
            (await lab.RunAsync("nat-1", "iptables-nft", "-t", "raw", "-I", "PREROUTING", "-j", "DROP")).Succeeded();
        else
            await lab.IpAsync("nat-1", "link set eth0 down");
        await Eventually.StaysAsync(() => lab.Edge1.Agent.GetAsync("/livez"), seen => seen.Status == 200, LinkIsDown);
        await Assert.ThrowsAnyAsync<Exception>(() => lab.Edge1.AskAsync(Services.OnCloud, TimeSpan.FromSeconds(1)));
        if (silent)
            (await lab.RunAsync("nat-1", "iptables-nft", "-t", "raw", "-D", "PREROUTING", "1")).Succeeded();
        else
            await lab.IpAsync("nat-1", "link set eth0 up");

        await Task.WhenAll(
            Services.UntilAnsweredAsync(lab.Edge1, Services.OnCloud, lab.Cloud, AfterTheLinkIsBack),
            Services.UntilAnsweredAsync(lab.Cloud, Services.OnEdge1, lab.Edge1, AfterTheLinkIsBack),
            Services.UntilAnsweredAsync(lab.Edge1, Services.OnEdge2, lab.Edge2, AfterTheLinkIsBack));
    }
}
