using System.Globalization;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using EdgeMesh.Testing.Lab;
using Xunit;

namespace EdgeMesh.HostTests.Names;

/// <summary>Pods that ask for too much: others get their answers, and their connections.</summary>
[Collection(Alone.Name)]
public sealed partial class HostileClientsTests(ITestOutputHelper output)
{
    private const int Idle = 10_000;
    private const double MostGrowth = 20e6;

    [Fact]
    public async Task TenThousandIdleTcpClientsKeepNobodyFromAsking()
    {
        await using var node = await NamesNode.StartAsync();
        Assert.Equal("NOERROR", (await node.DigAsync("a", NamesNode.Server, "+tcp", "web.demo.svc.cluster.local", "A")).Code);
        var before = node.Agent.Facts.ResidentBytes;
        var idle = new List<Socket>(Idle);
        try
        {
            for (var i = 0; i < Idle; i++)
                idle.Add(await node.Lab.ConnectAsync("client", $"{NamesNode.Server}:53"));

            for (var i = 0; i < 20; i++)
            {
                foreach (var way in (string[])["+tcp", "+notcp"])
                    Assert.Equal("NOERROR\nA 10.96.10.1", (await node.DigAsync("a", NamesNode.Server, way, "web.demo.svc.cluster.local", "A")).ToString());
            }

            // The pod itself too: its oldest idle connection gives way.
            Assert.Equal("NOERROR", (await node.DigAsync("client", NamesNode.Server, "+tcp", "web.demo.svc.cluster.local", "A")).Code);
            var grown = node.Agent.Facts.ResidentBytes - before;
            output.WriteLine($"{Idle} idle TCP clients of one pod: the agent grew by {grown / 1e6:0.0} MB");
            Assert.InRange(grown, -before, MostGrowth);
        }
        finally
        {
            idle.ForEach(socket => socket.Dispose());
        }
    }

    [Fact]
    public async Task AFloodOfQuestionsFailsNoConnectionAndConnectionsLoseNoQuestion()
    {
        await using var node = await NamesNode.StartAsync();
        node.Lab.Manifests.Write(HybridNode.Web);
        await Eventually.SeesAsync(() => node.Lab.AskAsync("client", HybridNode.WebAddress), answer => answer.Port == HybridNode.ByAgent, TimeSpan.FromSeconds(20), "the service is served");
        var questions = Path.Combine(node.Lab.Folder, "questions");
        await File.WriteAllTextAsync(questions, "web.demo.svc.cluster.local A\nnone.demo.svc.cluster.local A\nwww.example A\n");

        await using var clients = AskingClients.Start(node.Lab, HybridNode.WebAddress, "a", "client");
        var flood = (await node.Lab.RunAsync("client", "dnsperf", "-s", NamesNode.Server, "-d", questions, "-l", "5", "-c", "8", "-q", "500")).Succeeded();
        var duringFlood = clients.Answers;
        var few = (await node.Lab.RunAsync("a", "dnsperf", "-s", NamesNode.Server, "-d", questions, "-l", "5", "-Q", "1000")).Succeeded();
        var answers = await clients.AllAnsweredAsync(HybridNode.ByAgent);

        output.WriteLine($"{Number(Completed(), flood)} questions in 5 s as fast as they came, {duringFlood} connections meanwhile; {Number(Completed(), few)} at 1,000 a second, {Number(Lost(), few)} lost, {answers - duringFlood} connections meanwhile");
        Assert.NotEqual(0, duringFlood);
        Assert.Equal(0, Number(Lost(), few));
    }

    private static int Number(Regex what, CommandResult result) => int.Parse(what.Match(result.Output).Groups[1].Value, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"Queries lost:\s+(\d+)")]
    private static partial Regex Lost();

    [GeneratedRegex(@"Queries completed:\s+(\d+)")]
    private static partial Regex Completed();
}
