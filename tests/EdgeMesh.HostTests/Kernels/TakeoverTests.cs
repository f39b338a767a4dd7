using EdgeMesh.HostTests.Takeover;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Kernels;

/// <summary>Agents that take over from each other while clients ask one connection after the other; the figures of it are measured elsewhere.</summary>
[Trait(Ring.Name, Ring.OnlyKernels)]
public sealed class TakeoverTests
{
    [Theory]
    [InlineData("iptables", "userspace")]
    [InlineData("nftables", "userspace")]
    [InlineData("iptables", "kernel")]
    [InlineData("nftables", "kernel")]
    public async Task NoConnectionFailsWhileOneAgentTakesOverFromAnother(string backend, string dataPath)
    {
        var options = Takeovers.Options(backend, dataPath);
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, options, [HybridNode.Web]);
        await node.UntilAnsweredAsync("client", HybridNode.WebAddress, HybridNode.ByAgent);
        using var open = await node.Lab.ConnectAsync("client", HybridNode.WebAddress);
        await open.SendAsync("ECHO\n"u8.ToArray());
        await Conversation.EchoAsync(open, "before");
        using var enough = new CancellationTokenSource();
        var clients = ((string[])["client", "node"]).Select(from => node.AskUntilAsync(from, enough.Token)).ToArray();

        await Takeovers.TakeOverAsync(node, options);

        await Conversation.EchoAsync(open, "after");
        await enough.CancelAsync();
        foreach (var ports in await Task.WhenAll(clients))
            Assert.Equal([HybridNode.ByAgent], ports.Distinct());
    }
}
