using System.Diagnostics;
using System.Net.Sockets;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Forwarding;

/// <summary>A service without endpoints refuses by itself: after our rule, kube-proxy's refusal no longer fires.</summary>
public sealed class RefusalTests
{
    [Theory]
    [MemberData(nameof(Setups.All), MemberType = typeof(Setups))]
    public async Task AServiceWithoutEndpointsIsRefusedAtOnceOverTcpAndUdp(KubeProxyRules kubeProxy, RulesIn rules, Through through)
    {
        await using var node = await HybridNode.StartAsync(
            new NodeSetup(kubeProxy, rules, through), HybridNode.Web with { Endpoints = [] }, HybridNode.Dns with { Endpoints = [] });
        // In force with the first heartbeat; until then kube-proxy, whose rules have endpoints, may answer.
        await Eventually.HoldsAsync(async () => await ConnectErrorAsync(node, "node") == SocketError.ConnectionRefused, TimeSpan.FromSeconds(2));

        foreach (var from in (string[])["client", "node"])
        {
            var watch = Stopwatch.StartNew();
            Assert.Equal(SocketError.ConnectionRefused, await ConnectErrorAsync(node, from));
            var refused = await Assert.ThrowsAsync<SocketException>(() => node.Lab.AskUdpAsync(from, HybridNode.DnsAddress, "WHO"u8.ToArray()));
            Assert.Equal(SocketError.ConnectionRefused, refused.SocketErrorCode);
            Assert.InRange(watch.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(1));
        }
    }

    private static async Task<SocketError> ConnectErrorAsync(HybridNode node, string from)
    {
        try
        {
            (await node.Lab.ConnectAsync(from, HybridNode.WebAddress)).Dispose();
            return SocketError.Success;
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode;
        }
    }
}
