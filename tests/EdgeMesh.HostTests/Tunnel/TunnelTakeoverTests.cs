using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

public sealed class TunnelTakeoverTests
{
    [Fact]
    public async Task AnAgentThatTakesOverIsTheSamePeerAndCarriesOnWithinSeconds()
    {
        await using var lab = await Services.StartLabAsync(lab => [lab.Cloud]);
        var before = (await lab.Edge1.StatusAsync()).GetProperty("tunnel").GetProperty("peerId").GetString();

        await lab.Edge1.TakeOverAsync();

        await Services.UntilAnsweredAsync(lab.Edge1, Services.OnEdge2, lab.Edge2, TimeSpan.FromSeconds(5));
        await Services.UntilAnsweredAsync(lab.Cloud, Services.OnEdge1, lab.Edge1, TimeSpan.FromSeconds(5));
        Assert.Equal(before, (await lab.Edge1.StatusAsync()).GetProperty("tunnel").GetProperty("peerId").GetString());
        Assert.Equal(0, await lab.Edge1.StopAsync(TimeSpan.FromSeconds(30)));
        await Eventually.SeesAsync(() => lab.Cloud.SessionToAsync(lab.Edge1), state => state == "connecting", TimeSpan.FromSeconds(10), "the cloud sees that edge-1 has left");
    }
}
