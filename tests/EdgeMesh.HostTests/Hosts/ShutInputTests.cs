using System.Net.Sockets;
using System.Text.Json;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Hosts;

/// <summary>A firewall that shuts the node's own addresses, on which the listener is.</summary>
public sealed class ShutInputTests
{
    [Fact]
    public async Task PodsAreServedARefusalStillComesAtOnceAndTheFirewallIsNamed()
    {
        var empty = new ManifestService { Name = "empty", ClusterIPs = ["10.96.10.6"], Ports = [new ManifestPort("http", 80, 8081)] };
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions { Host = LabHost.Bridge with { Firewall = LabFirewall.InputChain } });
        lab.Manifests.Write(HybridNode.Web);
        lab.Manifests.Write(empty);
        var agent = await lab.StartAgentAsync();

        var answer = await lab.AskAsync("client", HybridNode.WebAddress);
        Assert.Equal((HybridNode.ByAgent, LabAddresses.Client), (answer.Port, answer.Client));
        // kube-proxy's recorded rules refuse it; a refusal of ours would have to come in first.
        var refused = await Assert.ThrowsAsync<SocketException>(() => lab.ConnectAsync("client", "10.96.10.6:80", TimeSpan.FromSeconds(5)));
        Assert.Equal(SocketError.ConnectionRefused, refused.SocketErrorCode);

        using var status = JsonDocument.Parse((await agent.GetAsync("/status")).Body);
        var notices = status.RootElement.GetProperty("node").GetProperty("notices").EnumerateArray().Select(notice => notice.GetString()!);
        Assert.Contains(notices, notice => notice.Contains("on the way in", StringComparison.Ordinal) && notice.Contains("169.254.96.16", StringComparison.Ordinal));
    }
}
