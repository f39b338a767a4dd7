using System.Globalization;
using System.Text.RegularExpressions;
using EdgeMesh.HostTests.Takeover;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Names;

/// <summary>EDGEMESH_LONG=1 takes over twenty times.</summary>
public sealed partial class NamesTakeoverTests(ITestOutputHelper output)
{
    [Fact]
    public async Task NoQuestionIsLostWhileAgentsTakeOverFromEachOther()
    {
        await using var node = await NamesNode.StartAsync();
        var questions = Path.Combine(node.Lab.Folder, "questions");
        await File.WriteAllTextAsync(questions, "web.demo.svc.cluster.local A\ndb.demo.svc.cluster.local A\nnone.demo.svc.cluster.local A\nwww.example A\n");
        var asking = node.Lab.Start("client", "dnsperf", "-s", NamesNode.Server, "-d", questions, "-l", "300", "-Q", "5000", "-c", "8");
        await Eventually.SeesAsync(async () => await node.Agent.MetricAsync("edgemesh_dns_requests_total"), count => count > 1000, TimeSpan.FromSeconds(20), "questions come");
        var times = LongForm.IsAsked ? 20 : 3;
        for (var i = 0; i < times; i++)
        {
            var before = node.Agent;
            var successor = await node.Lab.StartAgentAsync(node.Options with { Arguments = ["--take-over"], WaitUntilReady = false });
            await before.Process.WaitForExitAsync(Takeovers.Deadline);
            await successor.UntilReadyAsync(Takeovers.Deadline);
            node.Replace(successor);
            await Eventually.SeesAsync(async () => await successor.MetricAsync("edgemesh_dns_requests_total"), count => count > 1000, TimeSpan.FromSeconds(20), "the successor answers");
        }

        (await node.Lab.RunAsync("node", "kill", "-INT", asking.Id.ToString(CultureInfo.InvariantCulture))).Succeeded();
        await asking.WaitForExitAsync(TimeSpan.FromSeconds(20));
        output.WriteLine($"{times} takeovers\n{asking.Log}");
        Assert.Equal("0", Lost().Match(asking.Log).Groups[1].Value);
        Assert.True(int.Parse(Completed().Match(asking.Log).Groups[1].Value, CultureInfo.InvariantCulture) > 1000 * times);
    }

    /// <summary>It hangs when the new one has its place on the node and answers already.</summary>
    [Fact]
    public Task AnOldAgentThatHangsKeepsNoQuestion() => Takeovers.UntilCaughtAsync(async () =>
    {
        await using var node = await NamesNode.StartAsync();
        var changing = Takeovers.WhenClaimAsync(node.Agent, isTaken: true, node.Agent.Pause);
        await node.Lab.StartAgentAsync(node.Options with { Arguments = ["--take-over"], WaitUntilReady = false });
        if (!await changing)
            return false;
        for (var i = 0; i < 50; i++)
        {
            var answer = (await node.DigAsync("client", NamesNode.Server, "web.demo.svc.cluster.local", "A")).ToString();
            Assert.Equal("NOERROR\nA 10.96.10.1", answer);
        }

        return true;
    });

    [GeneratedRegex(@"Queries lost:\s+(\d+)")]
    private static partial Regex Lost();

    [GeneratedRegex(@"Queries completed:\s+(\d+)")]
    private static partial Regex Completed();
}
