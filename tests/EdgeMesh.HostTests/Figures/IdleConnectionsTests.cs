using System.Net.Sockets;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Figures;

[Collection(Alone.Name)]
public sealed class IdleConnectionsTests(ITestOutputHelper output)
{
    // 18,000 descriptors in the agent, and as many in this process (clients and pods): a limit of 20,000 is usual, so that
    // ten thousand do not fit, and nine only if UDP is given few.
    private const int Connections = 9_000;

    // Both ends of the pipes that the loops keep, and what an agent has open besides.
    private static readonly int OtherDescriptors = (Environment.ProcessorCount * 2 * 64) + 300;

    private static readonly ParallelOptions ManyAtOnce = new() { MaxDegreeOfParallelism = 200 };

    [Fact]
    public async Task AnIdleConnectionCostsLessThanFourKilobytes()
    {
        var config = NodeSetup.Userspace.Config with { EdgeProxy = ["limits: {maxUdpFlows: 64}"] };
        await using var node = await HybridNode.StartAsync(NodeSetup.Userspace, config, [HybridNode.Web]);
        await node.Lab.AskTimesAsync("client", HybridNode.WebAddress, 200);
        var before = node.Agent.Facts;
        var sockets = new Socket[Connections];
        try
        {
            await Parallel.ForAsync(0, Connections, ManyAtOnce, async (i, _) =>
            {
                sockets[i] = await node.Lab.ConnectAsync("client", HybridNode.WebAddress, TimeSpan.FromSeconds(30));
                await sockets[i].SendAsync("ECHO\n"u8.ToArray());
                // Every tenth has used a pipe before it falls idle.
                await Conversation.EchoAsync(sockets[i], i % 10 == 0 ? new string('x', 100_000) : "hello");
            });
            var open = node.Agent.Facts;
            // Without the pages of program files, which the kernel takes and gives as it likes.
            var bytes = (open.OwnBytes - before.OwnBytes) / Connections;
            output.WriteLine($"{Connections} idle: {bytes} bytes each; {open}; before: {before}");
            Assert.InRange(open.Descriptors, 2 * Connections, (2 * Connections) + OtherDescriptors);
            Assert.InRange(bytes, long.MinValue, 4_095);
        }
        finally
        {
            foreach (var socket in sockets)
                socket?.Dispose();
        }
    }
}
