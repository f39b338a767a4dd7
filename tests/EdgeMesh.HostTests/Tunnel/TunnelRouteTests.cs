using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

public sealed class TunnelRouteTests
{
    [Fact]
    public async Task AServiceMovesToTheDirectPathWhenARouteOpensAndBackWhenItIsLost()
    {
        await using var lab = await MeshLab.CreateAsync();
        Services.PublishAll(lab);
        await lab.StartAgentsAsync(lab.Cloud);
        await Services.UntilAnsweredAsync(lab.Edge1, Services.OnEdge2, lab.Edge2, TimeSpan.FromSeconds(20));
        Assert.StartsWith("listener tunnel: relayed via cloud;", await lab.Edge1.WayOfAsync("tcp-edge-2"), StringComparison.Ordinal);
        using var before = await lab.Edge1.ConnectAsync(Services.OnEdge2);
        await NamespaceLab.AskAsync(before, "HOLD");

        await lab.OpenRouteBetweenLansAsync();

        var way = await Eventually.SeesAsync(
            () => lab.Edge1.WayOfAsync("tcp-edge-2"), seen => seen.StartsWith("kernel direct: ", StringComparison.Ordinal), TimeSpan.FromSeconds(20));
        var direct = await lab.Edge1.AskAsync(Services.OnEdge2);
        // Only without a proxy between them does the endpoint see the client itself.
        Assert.Equal(("edge-2", lab.Edge1.PodAddress), (direct.Pod, direct.Client));
        Assert.True(way.Length > "kernel direct: ".Length, "the reason is missing");
        Assert.Equal("direct", await Eventually.SeesAsync(() => lab.Edge1.SessionToAsync(lab.Edge2), state => state == "direct", TimeSpan.FromSeconds(15)));
        Assert.False(before.Poll(0, System.Net.Sockets.SelectMode.SelectRead), "the connection that stood was broken off");

        await lab.CloseRouteBetweenLansAsync();

        await Eventually.SeesAsync(
            () => lab.Edge1.WayOfAsync("tcp-edge-2"), seen => seen.StartsWith("listener tunnel: ", StringComparison.Ordinal), TimeSpan.FromSeconds(10));
        await Services.UntilAnsweredAsync(lab.Edge1, Services.OnEdge2, lab.Edge2, TimeSpan.FromSeconds(10));
    }
}
