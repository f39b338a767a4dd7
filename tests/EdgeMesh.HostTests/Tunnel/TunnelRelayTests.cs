using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

/// <summary>A relay goes, and connections work again over another.</summary>
public sealed class TunnelRelayTests
{
    private static readonly TimeSpan AfterADeadRelay = TimeSpan.FromSeconds(10);

    [Fact]
    [Trait(Ring.Name, Ring.Kernels)]
    public async Task ARelayOfAChangedFileIsUsedWithoutARestartAndTakesOverWithinTenSecondsWhenTheFirstIsKilled()
    {
        await using var lab = await Services.StartLabAsync(lab => [lab.Cloud, lab.Relay], known: lab => [lab.Cloud]);
        Assert.Equal("relayed via cloud", await lab.Edge1.SessionToAsync(lab.Edge2));
        foreach (var node in lab.Nodes)
            node.Configure(lab.Cloud, lab.Relay);
        foreach (var edge in (MeshLabNode[])[lab.Edge1, lab.Edge2])
            await Eventually.SeesAsync(() => edge.Agent.MetricAsync("edgemesh_tunnel_relays_connected"), connected => connected == 2, TimeSpan.FromSeconds(10));

        await lab.Cloud.KillAsync();

        await Services.UntilAnsweredAsync(lab.Edge1, Services.OnEdge2, lab.Edge2, AfterADeadRelay);
        Assert.Equal("relayed via relay", await lab.Edge1.SessionToAsync(lab.Edge2));
    }

    [Fact]
    public async Task ARelayThatFallsSilentIsLeftWithinTenSeconds()
    {
        await using var lab = await Services.StartLabAsync(lab => [lab.Cloud, lab.Relay]);
        await Eventually.SeesAsync(() => lab.Edge1.SessionToAsync(lab.Edge2), state => state.StartsWith("relayed via ", StringComparison.Ordinal), TimeSpan.FromSeconds(10));
        var used = await lab.Edge1.SessionToAsync(lab.Edge2) == "relayed via cloud" ? lab.Cloud : lab.Relay;

        // Nothing is refused and nothing is closed: packets just no longer arrive.
        (await lab.RunAsync(used.Name, "iptables-nft", "-t", "raw", "-I", "PREROUTING", "-i", "eth0", "-j", "DROP")).Succeeded();

        await Services.UntilAnsweredAsync(lab.Edge1, Services.OnEdge2, lab.Edge2, AfterADeadRelay);
    }
}
