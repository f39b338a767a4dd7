using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

/// <summary>What breaks, and how soon connections work again.</summary>
public sealed class TunnelRecoveryTests
{
    private static readonly TimeSpan AfterADeadRelay = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan AfterTheLinkIsBack = TimeSpan.FromSeconds(5);

    /// <summary>EDGEMESH_LONG=1: as long as a person would wait for a cable. Shorter is long enough for every time-out of
    /// the tunnel to have run out, and for the longest pause between two attempts.</summary>
    private static TimeSpan LinkIsDown { get; } = TimeSpan.FromSeconds(Environment.GetEnvironmentVariable("EDGEMESH_LONG") == "1" ? 30 : 12);

    [Fact]
    public async Task NewConnectionsWorkWithinTenSecondsWhenTheRelayInUseIsKilled()
    {
        await using var lab = await StartAsync(lab => [lab.Cloud, lab.Relay]);
        await Eventually.SeesAsync(() => lab.Edge1.SessionToAsync(lab.Edge2), state => state.StartsWith("relayed via ", StringComparison.Ordinal), TimeSpan.FromSeconds(10));
        var session = await lab.Edge1.SessionToAsync(lab.Edge2);
        var used = session == "relayed via cloud" ? lab.Cloud : lab.Relay;
        var other = used == lab.Cloud ? lab.Relay : lab.Cloud;

        await used.KillAsync();

        await Services.UntilAnsweredAsync(lab.Edge1, Services.OnEdge2, lab.Edge2, AfterADeadRelay);
        Assert.Equal($"relayed via {other.Name}", await lab.Edge1.SessionToAsync(lab.Edge2));
    }

    [Fact]
    public async Task ARelayThatFallsSilentIsLeftWithinTenSeconds()
    {
        await using var lab = await StartAsync(lab => [lab.Cloud, lab.Relay]);
        await Eventually.SeesAsync(() => lab.Edge1.SessionToAsync(lab.Edge2), state => state.StartsWith("relayed via ", StringComparison.Ordinal), TimeSpan.FromSeconds(10));
        var used = await lab.Edge1.SessionToAsync(lab.Edge2) == "relayed via cloud" ? lab.Cloud : lab.Relay;

        // Nothing is refused and nothing is closed: packets just no longer arrive.
        (await lab.RunAsync(used.Name, "iptables-nft", "-t", "raw", "-I", "PREROUTING", "-i", "eth0", "-j", "DROP")).Succeeded();

        await Services.UntilAnsweredAsync(lab.Edge1, Services.OnEdge2, lab.Edge2, AfterADeadRelay);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task SessionsReturnWithinFiveSecondsOfTheLink(bool silent)
    {
        await using var lab = await StartAsync(lab => [lab.Cloud]);

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

    private static async Task<MeshLab> StartAsync(Func<MeshLab, MeshLabNode[]> relays)
    {
        var lab = await MeshLab.CreateAsync();
        try
        {
            Services.PublishAll(lab);
            await lab.StartAgentsAsync(relays(lab));
            await Services.UntilEverySessionStandsAsync(lab);
            return lab;
        }
        catch
        {
            await lab.DisposeAsync();
            throw;
        }
    }
}
