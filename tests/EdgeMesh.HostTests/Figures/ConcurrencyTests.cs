using System.Net.Sockets;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Figures;

[Collection(Alone.Name)]
public sealed class ConcurrencyTests(ITestOutputHelper output)
{
    // Each takes two descriptors in the agent and two in this process (client and pod); a limit of 20,000 is usual.
    private const int Connections = 5_000;

    [Theory]
    [InlineData(KubeProxyRules.IptablesNft)]
    [InlineData(KubeProxyRules.IptablesLegacy)]
    public async Task FiveThousandConnectionsAreOpenAtOnceAndEachCarriesItsOwnBytes(KubeProxyRules rules)
    {
        await using var node = await HybridNode.StartAsync(NodeSetup.Beside(rules, Through.Userspace), HybridNode.Web);
        await node.Lab.AskTimesAsync("client", HybridNode.WebAddress, 10);
        var before = node.Agent.Facts;
        var sockets = new Socket[Connections];
        try
        {
            await Parallel.ForAsync(0, Connections, new ParallelOptions { MaxDegreeOfParallelism = 200 }, async (i, _) =>
            {
                sockets[i] = await node.Lab.ConnectAsync("client", HybridNode.WebAddress, TimeSpan.FromSeconds(30));
                await sockets[i].SendAsync("ECHO\n"u8.ToArray());
                await Conversation.EchoAsync(sockets[i], $"first of {i}");
            });
            var open = node.Agent.Facts;
            output.WriteLine($"{Connections} open: {open}; before: {before}");
            Assert.InRange(open.Descriptors, 2 * Connections, (2 * Connections) + 1_000);

            await Parallel.ForAsync(0, Connections, new ParallelOptions { MaxDegreeOfParallelism = 200 }, async (i, _) => await Conversation.EchoAsync(sockets[i], $"second of {i}"));
        }
        finally
        {
            foreach (var socket in sockets)
                socket?.Dispose();
        }

        await Eventually.SeesAsync(() => node.Agent.Facts, facts => facts.Descriptors <= before.Descriptors + 64, TimeSpan.FromSeconds(10));
        Assert.Equal(HybridNode.ByAgent, (await node.Lab.AskAsync("client", HybridNode.WebAddress)).Port);
    }
}
