using EdgeMesh.Testing.Lab;
using EdgeMesh.Testing.Lab.Mesh;
using Xunit;

namespace EdgeMesh.HostTests.Tunnel;

public sealed class TunnelKeyTests
{
    private const string OtherKey = "ckFCc+VtTTAirc02fwypm08WCx8bUFwYf1XznJrRkdQ=";
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(15);

    [Fact]
    public async Task AnotherKeyOnOneNodeIsToldOnBothSidesInOneLineAndTheOthersGoOn()
    {
        await using var lab = await MeshLab.CreateAsync();
        Services.PublishAll(lab);
        lab.Edge2.WritePsk(OtherKey);
        await lab.StartAgentsAsync(lab.Cloud);

        await Eventually.HoldsAsync(() => Lines(lab.Edge2, "The peer at 198.51.100.1:20006 is not cloud, or has another key") > 0, Deadline);
        await Eventually.HoldsAsync(() => Lines(lab.Cloud, "A node at 198.51.100.12:") > 0, Deadline);
        await Services.UntilAnsweredAsync(lab.Edge1, Services.OnCloud, lab.Cloud, Deadline);
        await Services.UntilAnsweredAsync(lab.Cloud, Services.OnEdge1, lab.Edge1, Deadline);

        Assert.Equal(1, Lines(lab.Edge2, "The peer at 198.51.100.1:20006 is not cloud"));
        Assert.Equal(1, Lines(lab.Cloud, "A node at 198.51.100.12:"));
        Assert.Equal("connecting", await lab.Cloud.SessionToAsync(lab.Edge2));
        Assert.True(await lab.Cloud.Agent.MetricAsync("edgemesh_tunnel_strangers_refused_total") > 0);
        Assert.DoesNotContain(OtherKey, lab.Edge2.Agent.Log, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AKeyThatOthersMayReadTurnsTheTunnelOffAndTheRestGoesOn()
    {
        await using var lab = await MeshLab.CreateAsync();
        Services.PublishAll(lab);
        var node = lab.Edge1;
        File.SetUnixFileMode(node.PskFile, UnixFileMode.UserRead | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        node.Configure(lab.Cloud);
        await node.StartAsync();

        var (status, said) = await node.Agent.GetAsync("/healthz");
        Assert.Equal(503, status);
        Assert.Contains($"The tunnel is off: The key file {node.PskFile} has mode 0444", said, StringComparison.Ordinal);
        Assert.StartsWith("kernel", (await node.StatusAsync()).GetProperty("services")[0].GetProperty("ports")[0].GetProperty("path").GetString(), StringComparison.Ordinal);
        var check = await lab.RunAsync("edge-1", NamespaceLab.AgentProgram, "config", "check", node.ConfigFile);
        Assert.Equal(0, check.ExitCode);
        Assert.Matches($@"edgemesh-agent\.yaml:\d+:\d+: modules\.edgeTunnel\.psk\.path: the tunnel stays off: .* Run: chmod 600 {node.PskFile}", check.Output);
    }

    private static int Lines(MeshLabNode node, string text) => node.Agent.Log.Split('\n').Count(line => line.Contains(text, StringComparison.Ordinal));
}
