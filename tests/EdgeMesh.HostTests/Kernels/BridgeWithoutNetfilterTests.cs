using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Kernels;

/// <summary>Pods on one bridge, on a node that has never loaded br_netfilter, as distributions leave it.</summary>
[Trait(Ring.Name, Ring.OnlyKernels)]
public sealed class BridgeWithoutNetfilterTests
{
    private static readonly (string From, string What)[] _clients = [("client", "a pod"), ("a", "an endpoint, of itself or the other"), ("node", "the node"), ("lan", "a machine of the LAN")];

    [Fact]
    public async Task NothingHasLoadedBridgeNetfilter()
    {
        await using var node = await HybridNode.StartAsync(KubeProxyRules.IptablesNft, HybridNode.Web);

        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);
        Assert.DoesNotContain("br_netfilter", await File.ReadAllTextAsync("/proc/modules", TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft, true)]
    [InlineData(KubeProxyRules.IptablesLegacy, true)]
    [InlineData(KubeProxyRules.Nftables, true)]
    [InlineData(KubeProxyRules.IptablesNft, false)]
    [InlineData(KubeProxyRules.IptablesLegacy, false)]
    [InlineData(KubeProxyRules.Nftables, false)]
    public async Task EveryClientOnTheBridgeAndBesideItReachesAnEndpointOnIt(KubeProxyRules kubeProxy, bool hairpin)
    {
        await using var lab = await NamespaceLab.CreateAsync(new LabOptions
        {
            KubeProxy = kubeProxy,
            Host = LabHost.Bridge with { BridgeNetfilter = false, Hairpin = hairpin },
        });
        lab.Manifests.Write(HybridNode.Web);
        lab.Manifests.Write(HybridNode.Six);
        await lab.StartAgentAsync();

        foreach (var (from, what) in _clients)
        {
            foreach (var address in (string[])[HybridNode.WebAddress, HybridNode.SixAddress])
            {
                // Without hairpin mode a frame does not come back by its port: a pod cannot be its own endpoint, with kube-proxy either.
                var pods = from == "a" && !hairpin ? (string[])["b"] : ["a", "b"];
                await Eventually.SeesAsync(
                    async () =>
                    {
                        var seen = new SortedSet<string>(StringComparer.Ordinal);
                        for (var i = 0; i < 8; i++)
                        {
                            try
                            {
                                var answer = await lab.AskAsync(from, address, TimeSpan.FromSeconds(0.3));
                                Assert.Equal(HybridNode.ByAgent, answer.Port);
                                seen.Add(answer.Pod);
                            }
                            catch (Exception e) when (!hairpin && e is TimeoutException or OperationCanceledException)
                            {
                                // Its own endpoint.
                            }
                        }

                        return string.Join(' ', seen);
                    },
                    seen => pods.All(pod => seen.Contains(pod, StringComparison.Ordinal)),
                    TimeSpan.FromSeconds(10),
                    $"{what} reaches {string.Join(" and ", pods)} at {address}");
            }
        }
    }
}
