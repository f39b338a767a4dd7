using System.Diagnostics;
using EdgeMesh.Testing.ApiServer;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.ApiSource;

/// <summary>An API server that was away is asked again within two seconds of its return.</summary>
public sealed class OutageTests(ITestOutputHelper output)
{
    /// <summary>Two seconds, and a machine that has other things to do.</summary>
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(4);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnApiServerThatReturnsIsAskedAtOnce(bool silent)
    {
        await using var node = await ClusterNode.StartAsync(AccessKind.Token, HybridNode.Web);
        // Packets to it vanish, as when its machine or the way to it is off: nobody refuses.
        string[] vanish = ["-p", "tcp", "--dport", $"{NamespaceLab.ApiServerPort}", "-j", "DROP"];
        if (silent)
            await InsideAsync(["-A", "INPUT", .. vanish]);
        await node.StopApiAsync();
        await node.UntilFaultAsync(silent ? "cannot connect to" : "Connection refused");

        await node.StartApiAsync();
        node.Api.Put(HybridNode.Np);
        var watch = Stopwatch.StartNew();
        if (silent)
            await InsideAsync(["-D", "INPUT", .. vanish]);
        await node.Node.UntilRuleAsync("demo/np:http", stands: true, Soon);
        output.WriteLine($"in force {watch.Elapsed.TotalSeconds:0.00} s after the return");

        async Task InsideAsync(string[] rule) => (await node.Lab.RunAsync("outside", "iptables-nft", rule)).Succeeded();
    }
}
